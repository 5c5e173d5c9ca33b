"""Requests about single pictures, selections, and jobs: facts, thumbnails, tags, export, duplicates, the map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from clipcli.browse import pictures
from clipcli.browse.answers import BAD, NOT_A_PICTURE, NOT_FOUND, Refusal, answer, read_json
from clipcli.browse.asked import Fields, page_of, read_filters
from clipcli.browse.cluster_names import name_clusters
from clipcli.browse.duplicate_review import decided, groups_of
from clipcli.browse.embedding_map import METHODS, Clusters, draw_map
from clipcli.browse.exports import Export, export
from clipcli.browse.thumbs import SIZES
from clipcli.errors import ImageError
from clipcli.library.filters import chosen_ids
from clipcli.library.tags import add_tags, checked_label, count_labels, remove_tags

if TYPE_CHECKING:
    from starlette.requests import Request

    from clipcli.browse.jobs import Job, Tell
    from clipcli.browse.parts import Parts

__all__ = ["PictureRoutes"]

_CHUNK_BYTES = 512 << 10
_MOST_LABELS = 100
_MOST_WORDS = 500
_LONGEST_WORD = 100
_LONGEST_WAIT_S = 20


class PictureRoutes:
    """Endpoints; each answers within its lane's threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._questions = parts.lanes.questions

    def routes(self) -> list[Route]:
        return [
            Route("/api/picture/{id:int}", self.facts),
            Route("/api/picture/{id:int}/full", self.full),
            Route("/api/thumb/{id:int}", self.thumb),
            Route("/api/tags", self.tags),
            Route("/api/tags", self.change_tags, methods=["POST"]),
            Route("/api/export", self.export, methods=["POST"]),
            Route("/api/duplicates", self.duplicates, methods=["POST"]),
            Route("/api/duplicates/decide", self.decide, methods=["POST"]),
            Route("/api/map", self.map, methods=["POST"]),
            Route("/api/map/labels", self.map_labels, methods=["POST"]),
            Route("/api/jobs/{token}", self.job),
            Route("/api/jobs/{token}", self.stop_job, methods=["DELETE"]),
        ]

    async def facts(self, request: Request) -> Response:
        def described() -> dict[str, object]:
            with self._parts.access.reading() as library:
                return pictures.describe(library, _id(request), self._parts.vectors.model)

        return answer(await self._questions.run(described))

    async def thumb(self, request: Request) -> Response:
        size = page_of(request.query_params, "size", 320, max(SIZES))
        if size not in SIZES:
            raise Refusal(*BAD, f"size is one of {', '.join(map(str, SIZES))}")
        number, given = _id(request), request.headers.get("if-none-match", "")

        def looked_up() -> tuple[pictures.Place, bytes | None]:
            place = self._place(number)
            asked_again = _thumb_tag(place, size) in given
            return place, b"" if asked_again else self._parts.thumbs.known(place.digest, size)

        place, data = await self._questions.run(looked_up)
        headers = {"ETag": _thumb_tag(place, size), "Cache-Control": "private, max-age=600"}
        if headers["ETag"] in given:
            return Response(status_code=304, headers=headers)
        if data is None:  # only what has to be made waits for other pictures
            try:
                data = await self._parts.lanes.pictures.run(self._parts.thumbs.get, place.digest, place.path, size)
            except ImageError as error:
                raise Refusal(*(NOT_FOUND if error.reason == "missing" else NOT_A_PICTURE), str(error)) from error
        return Response(data, headers=headers, media_type="image/jpeg")

    async def full(self, request: Request) -> Response:
        original = request.query_params.get("original") == "1"
        place = await self._questions.run(self._place, _id(request))
        shown = await self._parts.lanes.pictures.run(
            lambda: pictures.viewable(place, self._parts.makers, original=original)
        )
        headers = {"Content-Length": str(shown.size), "Content-Disposition": "inline"}
        return StreamingResponse(self._streamed(shown), headers=headers, media_type=shown.media_type)

    async def _streamed(self, shown: pictures.Viewable) -> AsyncIterator[bytes]:
        """A piece at a time, as the browser takes them: what is in memory does not depend on the file."""
        left = shown.size
        try:
            while left > 0:
                part = await self._questions.run(shown.file.read, min(_CHUNK_BYTES, left))
                if not part:
                    return
                left -= len(part)
                yield part
        finally:
            shown.file.close()

    async def tags(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        def counted() -> list[dict[str, Any]]:
            with self._parts.access.reading() as library:
                found = count_labels(library)
            return [{"name": one.label, "count": one.pictures, "by_person": one.by_hand} for one in found]

        return answer({"tags": await self._questions.run(counted)})

    async def change_tags(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        ids, add, remove = fields.ids("ids"), fields.texts("add"), fields.texts("remove")
        fields.done()
        if not ids or not (add or remove) or len(add) + len(remove) > _MOST_LABELS:
            raise Refusal(*BAD, "ids and labels to add or to remove are wanted")
        labels = [checked_label(label) for label in add]

        def changed() -> dict[str, int]:
            with self._parts.access.writing() as library:
                removed = sum(remove_tags(library, ids, label) for label in remove)
                added = sum(add_tags(library, ids, label) for label in labels)
            return {"added": added, "removed": removed, "change": self._parts.vectors.refresh()}

        return answer(await self._questions.run(changed))

    async def export(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        ids, form, token = fields.ids("ids"), fields.text("format"), fields.text("search", longest=64)
        fields.done()
        found = None if token is None else self._parts.searches.known(token)

        def written() -> Export:
            scores: dict[int, float] = {}
            if found is not None:
                known, cosines = found.part(0, found.total)
                if cosines is not None:
                    scores = dict(zip(known.tolist(), cosines.tolist(), strict=True))
            with self._parts.access.reading() as library:
                return export(library, ids, scores, form or "")

        made = await self._questions.run(written)
        headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "Clip-Left-Out": str(made.left_out)}
        return Response(made.data, headers=headers, media_type=made.media_type)

    async def duplicates(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        threshold, filters = fields.number("threshold"), read_filters(fields.inner("filters"))
        fields.done()
        parts = self._parts

        def work(tell: Tell) -> tuple[dict[str, Any], None]:
            return groups_of(parts.access, parts.vectors.model, threshold, filters, tell), None

        key = ("duplicates", threshold, filters, await self._questions.run(parts.access.version))
        return answer(parts.jobs.start(key, work).described())

    async def decide(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        ids, distinct = fields.ids("ids", most=200), fields.truth("distinct")
        fields.done()

        def done() -> dict[str, int]:
            pairs = decided(self._parts.access, ids, distinct=distinct)
            return {"pairs": pairs, "change": self._parts.vectors.refresh()}

        return answer(await self._questions.run(done))

    async def map(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        method, filters = fields.text("method") or "pca", read_filters(fields.inner("filters"))
        fields.done()
        if method not in METHODS:
            raise Refusal(*BAD, f"method is one of {', '.join(METHODS)}")
        parts = self._parts
        snapshot = await self._questions.run(parts.vectors.current)

        def work(tell: Tell) -> tuple[dict[str, Any], Clusters]:
            ids, rows = snapshot.ids, snapshot.rows
            if filters is not None:
                import numpy as np

                with parts.access.reading() as library:
                    places = np.flatnonzero(np.isin(ids, chosen_ids(library, filters), assume_unique=True))
                ids, rows = ids[places], rows[places]
            return draw_map(ids, rows, method, tell)

        return answer(parts.jobs.start(("map", method, filters, snapshot.stored.state), work).described())

    async def map_labels(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        token = fields.text("job", longest=64) or ""
        given = fields.texts("words", most=_MOST_WORDS, longest=_LONGEST_WORD)
        fields.done()
        words = list(dict.fromkeys(" ".join(word.encode("utf-8", "replace").decode().split()) for word in given))
        words = [word for word in words if word]
        clusters = self._parts.jobs.known(token).kept
        if not isinstance(clusters, Clusters) or not words:
            raise Refusal(*BAD, "a map that is done and at least one word are wanted")
        encoding = (await self._questions.run(self._parts.vectors.current)).encoding
        return answer({"clusters": await self._questions.run(name_clusters, clusters, words, encoding)})

    async def job(self, request: Request) -> Response:
        wait = page_of(request.query_params, "wait", 0, _LONGEST_WAIT_S)
        job = self._parts.jobs.known(request.path_params["token"])
        return answer(await _awaited(job, wait))

    async def stop_job(self, request: Request) -> Response:
        self._parts.jobs.stop(request.path_params["token"])
        return answer({})

    def _place(self, image_id: int) -> pictures.Place:
        with self._parts.access.reading() as library:
            return pictures.place_of(library, image_id)


async def _awaited(job: Job, wait_s: int) -> dict[str, Any]:
    """The job when it has finished, or when the time is up; looked at now and then, so that no thread waits for it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while not job.finished.is_set() and loop.time() < until:
        await asyncio.sleep(0.05)
    return job.described()


def _thumb_tag(place: pictures.Place, size: int) -> str:
    return f'"{place.digest[:32]}-{size}"'


def _id(request: Request) -> int:
    number = int(request.path_params["id"])
    if number >= 2**63:
        raise Refusal(*NOT_FOUND, "the library has no picture with this id")
    return number
