"""The application: the routes behind the guard, and what becomes of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Route

from clipcli.browse.answers import (
    FAILED,
    NOT_FOUND,
    WRONG_METHOD,
    Refusal,
    as_refusal,
    by_hand,
    in_words,
    refusal_response,
)
from clipcli.browse.guard import Door, Guard
from clipcli.browse.page_files import PageFiles
from clipcli.browse.picture_routes import PictureRoutes
from clipcli.browse.search_routes import SearchRoutes
from clipcli.errors import ClipError
from clipcli.render.crash import keep_details
from clipcli.render.notes import say

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from clipcli.browse.parts import Parts

__all__ = ["application"]

_VIEWS = ("map", "duplicates", "library")  # of the page, as its address names them: /?view=map


def application(parts: Parts, door: Door, page: PageFiles | None = None) -> ASGIApp:
    """Everything that is served, for one library."""
    page = page or PageFiles()
    inner = Starlette(
        routes=[
            Route("/", page.index),
            Route("/page/{name}", page.named),
            *(Route(f"/{view}", _to_view) for view in _VIEWS),
            *SearchRoutes(parts).routes(),
            *PictureRoutes(parts).routes(),
        ],
        exception_handlers={
            Refusal: _refused,
            ClipError: _complained,
            HTTPException: _unknown,
            Exception: _crashed,
        },
    )
    inner.router.redirect_slashes = False  # an address is right or it is not
    return Guard(inner, door)


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature is Starlette's
    assert isinstance(error, Refusal)
    return refusal_response(error)


async def _complained(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, ClipError)
    return refusal_response(as_refusal(error))


async def _to_view(request: Request) -> Response:
    """Somebody has typed the name of a view behind the address."""
    return RedirectResponse(f"/?view={request.url.path.strip('/')}", status_code=303)


async def _unknown(request: Request, error: Exception) -> Response:
    wrong_method = isinstance(error, HTTPException) and error.status_code == WRONG_METHOD[0]
    if wrong_method:
        return refusal_response(Refusal(*WRONG_METHOD, "this address is not asked for in this way"))
    if by_hand(request.url.path, request.headers.get("accept", "")):
        return in_words(Refusal(*NOT_FOUND, f"there is nothing at this address; the page is at {request.base_url}"))
    return refusal_response(Refusal(*NOT_FOUND, "there is nothing at this address"))


async def _crashed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """The details are for a file of the person's own, not for whoever asked."""
    kept = keep_details(error)
    summary = f"unexpected {type(error).__name__}"
    say(f"clip: {summary}" + (f" (details are in {kept})" if kept else ""))
    return refusal_response(Refusal(*FAILED, summary))
