"""Answers in JSON, refusals in one shape, and request bodies that are read within limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from clipcli.errors import (
    ClipError,
    ImageError,
    LibraryLockedError,
    MissingExtraError,
    NoSpaceError,
    NotFoundError,
    UsageError,
)

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = [
    "BAD",
    "BUSY",
    "GONE",
    "NOT_A_PICTURE",
    "NOT_FOUND",
    "NO_MODEL",
    "NO_TOKEN",
    "REFUSED",
    "TOO_LARGE",
    "WRONG_METHOD",
    "Refusal",
    "answer",
    "as_refusal",
    "by_hand",
    "in_words",
    "read_body",
    "read_json",
    "refusal_response",
]

BAD = (400, "bad-request")
REFUSED = (403, "refused")
NO_TOKEN = (403, "no-token")
NOT_FOUND = (404, "not-found")
WRONG_METHOD = (405, "wrong-method")
NO_MODEL = (409, "no-model")
GONE = (410, "gone")
TOO_LARGE = (413, "too-large")
NOT_A_PICTURE = (415, "not-a-picture")
LOCKED = (423, "locked")
FAILED = (500, "failed")
MISSING_EXTRA = (501, "missing-extra")
BUSY = (503, "busy")
NO_SPACE = (507, "no-space")

_JSON_BYTES = 4 << 20
_BODY_TIMEOUT_S = 60.0
_LET_PASS_S = 3.0


class Refusal(Exception):
    """A request that gets no answer but a reason: the HTTP status, a stable word for the page, a line for a person."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def as_refusal(error: ClipError) -> Refusal:
    """What a library function complained about, for the page."""
    for kind, (status, code) in (
        (UsageError, BAD),
        (ImageError, NOT_A_PICTURE),
        (NotFoundError, NOT_FOUND),
        (LibraryLockedError, LOCKED),
        (NoSpaceError, NO_SPACE),
        (MissingExtraError, MISSING_EXTRA),
    ):
        if isinstance(error, kind):
            return Refusal(status, code, str(error))
    return Refusal(*FAILED, str(error))


def answer(content: object, status: int = 200) -> Response:
    """JSON. Halves of characters, which file names may have, are written as escapes."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Response(text.encode("ascii"), status_code=status, media_type="application/json")


def refusal_response(refusal: Refusal) -> Response:
    response = answer({"error": {"code": refusal.code, "message": str(refusal)}}, refusal.status)
    if refusal.status == BUSY[0]:
        response.headers["Retry-After"] = "1"
    if refusal.status == TOO_LARGE[0]:
        response.headers["Connection"] = "close"  # the rest of what is being sent is not wanted
    return response


def by_hand(path: str, accept: str) -> bool:
    """Whether a person has come by this address, who can do nothing with JSON: no part of the page asks for HTML."""
    return "text/html" in accept and not path.startswith(("/api/", "/page/"))


def in_words(refusal: Refusal) -> Response:
    """For a person who has come by an address, where there is no page yet to show it on."""
    return PlainTextResponse(f"clip browse: {refusal}\n", status_code=refusal.status)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted as it comes in. Raises Refusal for one that is too large or never ends."""
    declared = request.headers.get("content-length", "0")
    size = int(declared[:20]) if declared.isdigit() else limit + 1
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            if size <= limit:
                size = 0
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        break
                    parts.append(part)
        if size > limit:
            parts.clear()
            await _let_pass(request)
            raise Refusal(*TOO_LARGE, f"more than the {limit >> 20} MB that are taken")
    except TimeoutError:
        raise Refusal(*BAD, "what was sent did not come to an end") from None
    except ClientDisconnect:
        raise Refusal(*BAD, "the connection was closed") from None
    return b"".join(parts)


async def _let_pass(request: Request) -> None:
    """Take and forget what still comes, for a moment: a connection that is closed on the way shows no answer."""
    with contextlib.suppress(TimeoutError, RuntimeError):
        async with asyncio.timeout(_LET_PASS_S):
            async for _ in request.stream():
                pass


async def read_json(request: Request) -> dict[str, Any]:
    """An object. A form of another web page cannot send this content type without being asked about it first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(*BAD, "the content type has to be application/json")
    body = await read_body(request, _JSON_BYTES)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(*BAD, "this is no JSON") from None
    if not isinstance(content, dict):
        raise Refusal(*BAD, "a JSON object is wanted")
    return content
