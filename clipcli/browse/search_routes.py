"""Requests that look for pictures: state, folders, searches, uploads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from clipcli.browse.answers import BUSY, NOT_A_PICTURE, Refusal, answer, read_body, read_json
from clipcli.browse.asked import MOST_AT_ONCE, MOST_IDS, Asked, AskedTerm, Fields, page_of, read_search
from clipcli.browse.columns import binary_columns, columns_of
from clipcli.browse.uploads import UPLOAD_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request

    from clipcli.browse.parts import Parts
    from clipcli.browse.searching import Found

__all__ = ["SearchRoutes"]

_UPLOADS_AT_ONCE = 2  # bodies in memory
_UPLOADS_WAITING = 8
_UPLOAD_TYPES = ("application/octet-stream", "image/")


class SearchRoutes:
    """Endpoints; each answers within its lane's threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._questions = parts.lanes.questions
        self._bodies = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        self._waiting = 0

    def routes(self) -> list[Route]:
        return [
            Route("/api/state", self.state),
            Route("/api/run", self.run),
            Route("/api/folders", self.folders),
            Route("/api/search", self.search, methods=["POST"]),
            Route("/api/search/{token}", self.more),
            Route("/api/search/{token}/columns", self.columns),
            Route("/api/search/{token}/ids", self.ids),
            Route("/api/names", self.names, methods=["POST"]),
            Route("/api/picture/{id:int}/similar", self.similar),
            Route("/api/upload", self.upload, methods=["POST"]),
            Route("/api/upload/{token}/thumb", self.upload_thumb),
        ]

    async def state(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        return answer(await self._questions.run(self._parts.state.state))

    async def run(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        return answer(await self._questions.run(self._parts.state.run))

    async def folders(self, request: Request) -> Response:
        found = await self._questions.run(self._parts.state.folders, request.query_params.get("in"))
        return answer({"folders": found})

    async def search(self, request: Request) -> Response:
        began = time.perf_counter()
        content = await read_json(request)
        return answer(await self._questions.run(lambda: self._searched(read_search(content), began)))

    async def similar(self, request: Request) -> Response:
        began = time.perf_counter()
        asked = Asked(
            terms=(AskedTerm(weight=1.0, id=request.path_params["id"]),),
            leave_out_terms=True,
            count=max(1, page_of(request.query_params, "count", 24, MOST_AT_ONCE)),
        )
        return answer(await self._questions.run(self._searched, asked, began))

    async def more(self, request: Request) -> Response:
        start = page_of(request.query_params, "from", 0, 10**9 - 1)
        count = page_of(request.query_params, "count", 200, MOST_AT_ONCE)
        found = self._parts.searches.known(request.path_params["token"])
        part = await self._questions.run(self._part, found, start, count)
        return answer({"search": found.token, "total": found.total, "from": start, **part})

    async def columns(self, request: Request) -> Response:
        start = page_of(request.query_params, "from", 0, 10**9 - 1)
        found = self._parts.searches.known(request.path_params["token"])

        def packed() -> bytes:
            with self._parts.access.reading() as library:
                return binary_columns(library, found, start)

        return Response(await self._questions.run(packed), media_type="application/octet-stream")

    async def ids(self, request: Request) -> Response:
        start = page_of(request.query_params, "from", 0, 10**9 - 1)
        found = self._parts.searches.known(request.path_params["token"])
        end = page_of(request.query_params, "to", min(found.total, start + MOST_IDS), 10**9 - 1)
        count = max(0, min(end - start, MOST_IDS))
        ids, _ = await self._questions.run(found.part, start, count)
        return answer({"ids": ids.tolist()})

    async def names(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        ids = fields.ids("ids", most=MOST_AT_ONCE)
        fields.done()

        def named() -> dict[str, list[object]]:
            with self._parts.access.reading() as library:
                return columns_of(library, ids)

        return answer(await self._questions.run(named))

    async def upload(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").lower().startswith(_UPLOAD_TYPES):
            raise Refusal(*NOT_A_PICTURE, "the content type has to be application/octet-stream or image/…")
        if self._waiting >= _UPLOADS_WAITING:
            raise Refusal(*BUSY, "too many pictures at once; drop one at a time")
        self._waiting += 1
        try:
            async with self._bodies:
                body = await read_body(request, UPLOAD_BYTES)
                taken = await self._parts.lanes.pictures.run(self._parts.uploads.take, body)
        finally:
            self._waiting -= 1
        return answer(
            {
                "upload": taken.token,
                "width": taken.width,
                "height": taken.height,
                "format": taken.format,
                "same_as": list(taken.same_as),
                "thumb": f"/api/upload/{taken.token}/thumb",
            }
        )

    async def upload_thumb(self, request: Request) -> Response:
        known = self._parts.uploads.known(request.path_params["token"])
        return Response(known.thumb, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    def _searched(self, asked: Asked, began: float) -> dict[str, Any]:
        found = self._parts.searches.search(asked)
        part = self._part(found, 0, asked.count)
        return {
            "search": found.token,
            "total": found.total,
            "searched": found.searched,
            "considered": found.considered,
            "best": None if found.best is None else round(found.best, 6),
            "best_sigma": None if found.best_sigma is None else round(found.best_sigma, 3),
            "took_ms": round((time.perf_counter() - began) * 1000, 1),
            "scored": bool(asked.terms),
            "change": self._parts.vectors.look(),
            "from": 0,
            **part,
        }

    def _part(self, found: Found, start: int, count: int) -> dict[str, Any]:
        ids, scores = found.part(start, count)
        with self._parts.access.reading() as library:
            columns = columns_of(library, ids.tolist())
        return {**columns, "scores": None if scores is None else [round(score, 6) for score in scores.tolist()]}
