"""The map: the same library gives the same map, likes lie together, and words name what lies there."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from clipcli.browse import embedding_map
from clipcli.browse.answers import Refusal
from clipcli.browse.cluster_names import EVERYDAY, name_clusters
from clipcli.browse.embedding_map import Clusters, draw_map
from clipcli.browse.jobs import Job, Jobs, Tell
from clipcli.errors import MissingExtraError
from tests.browse.conftest import code_of, finished


def tell(done: int, total: int) -> None:
    assert 0 <= done <= total


def heaps(count: int = 3, *, each: int = 60, dimension: int = 16) -> NDArray[np.float32]:
    """(count * each, D): unit vectors around `count` directions, heap after heap."""
    random = np.random.default_rng(0)
    rows = np.repeat(np.eye(dimension)[:count], each, axis=0) + random.normal(0, 0.05, (count * each, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_likes_lie_together() -> None:
    rows = heaps()
    ids = np.arange(len(rows), dtype=np.int64) + 10
    result, clusters = draw_map(ids, rows, "pca", tell)
    assert (result["total"], result["ids"], result["method"]) == (180, ids.tolist(), "pca")
    places = np.column_stack([result["x"], result["y"]]).astype(float)
    assert places.min() >= 0
    assert places.max() <= 10_000
    heap = np.repeat([0, 1, 2], 60)
    middles = np.stack([places[heap == number].mean(axis=0) for number in range(3)])
    assert (((places[:, None] - middles) ** 2).sum(axis=2).argmin(axis=1) == heap).all()
    near = np.array(result["cluster"])
    for number in range(near.max() + 1):
        assert len(set(heap[near == number])) == 1  # no cluster takes from two heaps
    assert [one["count"] for one in result["clusters"]] == sorted(np.bincount(near), reverse=True)
    assert clusters.counts.tolist() == np.bincount(near).tolist()
    assert all(
        ids[near == one["cluster"]].tolist().count(each) == 1 for one in result["clusters"] for each in one["examples"]
    )


def test_the_same_vectors_give_the_same_map() -> None:
    rows = heaps()
    ids = np.arange(len(rows), dtype=np.int64)
    assert draw_map(ids, rows, "pca", tell)[0] == draw_map(ids, rows.copy(), "pca", tell)[0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
@pytest.mark.parametrize("equal", [False, True])
def test_few_pictures_and_equal_ones(count: int, equal: bool) -> None:
    rows = heaps(1, each=30)[:count]
    if equal and count:
        rows[:] = rows[0]
    result, clusters = draw_map(np.arange(count, dtype=np.int64), rows, "pca", tell)
    assert len(result["x"]) == len(result["cluster"]) == count
    assert sum(one["count"] for one in result["clusters"]) == count
    assert len(clusters.means) == len(result["clusters"])


def test_one_dimension_and_damaged_vectors() -> None:
    flat = np.array([[1.0], [-1.0], [1.0]], dtype=np.float32)
    assert len(draw_map(np.arange(3, dtype=np.int64), flat, "pca", tell)[0]["y"]) == 3
    rows = heaps(1)
    rows[7] = np.nan
    assert 7 not in draw_map(np.arange(60, dtype=np.int64), rows, "pca", tell)[0]["ids"]


def test_more_than_can_be_drawn_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "_MOST_POINTS", 50)
    result, _ = draw_map(np.arange(180, dtype=np.int64), heaps(), "pca", tell)
    assert (result["total"], len(result["ids"]), result["ids"][0], result["ids"][-1]) == (180, 50, 0, 179)


def test_umap_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[map\]'"):
        draw_map(np.arange(180, dtype=np.int64), heaps(), "umap", tell)


def test_umap_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class UMAP:
        def __init__(self, **settings: Any) -> None:
            assert settings["random_state"] == 0

        def fit_transform(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
            return rows[:, :2] * 40

    module = types.ModuleType("umap")
    vars(module)["UMAP"] = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    result, _ = draw_map(np.arange(180, dtype=np.int64), heaps(), "umap", tell)
    assert result["method"] == "umap"
    assert max(result["x"]) == 10_000


class Words:
    """In place of a model: a number is one of the axes, and whatever else points anywhere, the same way every time."""

    def words(self, words: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._vector(word) for word in words])

    def everyday(self, words: Sequence[str]) -> NDArray[np.float32]:
        return self.words(words)

    @staticmethod
    def _vector(word: str) -> NDArray[np.float32]:
        vector = np.random.default_rng(list(word.encode())).normal(size=16)
        if word.isdigit():
            vector = 4 * np.eye(16)[int(word)] + 0.1 * vector
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def named(words: Sequence[str]) -> tuple[list[list[str]], list[int]]:
    """The names of the clusters of three heaps, best first, and which heap each cluster lies in."""
    _, clusters = draw_map(np.arange(180, dtype=np.int64), heaps(), "pca", tell)
    found = name_clusters(clusters, words, Words())
    for one in found:
        leads = [label["lead"] for label in one["labels"]]
        assert leads == sorted(leads, reverse=True)
        assert len(leads) <= 3
    return [[label["word"] for label in one["labels"]] for one in found], [
        int(np.argmax(mean[:3])) for mean in clusters.means
    ]


def test_words_name_what_they_fit_better_than_the_rest() -> None:
    names, heap_of = named(["any", "0", "1", "2", "9"])
    assert [one[0] for one in names] == [str(number) for number in heap_of]


def test_a_cluster_that_no_word_fits_has_no_name() -> None:
    names, heap_of = named(["1"])
    assert [bool(one) for one in names] == [number == 1 for number in heap_of]
    for words in (["7", "8", "9"], ["7"], [str(number) for number in range(5, 16)]):
        assert named(words)[0] == [[]] * len(heap_of), words


def test_words_that_are_like_any_other_name_nothing() -> None:
    """Of a hundred words that mean nothing here, one always lies nearest; that is no reason to use it."""
    names, _ = named([f"nothing {number}" for number in range(100)])
    assert sum(map(bool, names)) <= 1


class FewWords(Words):
    """Everyday words point anywhere, a person's where the test says."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def words(self, words: Sequence[str]) -> NDArray[np.float32]:
        return self._vectors[: len(words)]

    def everyday(self, words: Sequence[str]) -> NDArray[np.float32]:
        return super().words(words)


def test_a_word_that_is_only_less_unlike_a_cluster_than_the_others_are_is_no_name() -> None:
    clusters = Clusters(means=np.eye(16)[:2], counts=np.array([5, 5]))
    away, near = -0.1 * np.eye(16)[0] - 0.99 * np.eye(16)[1], 0.9 * np.eye(16)[0] - 0.4 * np.eye(16)[1]
    vectors = np.stack([away, near]).astype(np.float32)
    (first, second) = name_clusters(clusters, ["away", "near"], FewWords(vectors))
    assert [label["word"] for label in first["labels"]] == ["near"]
    assert second["labels"] == []
    leads = vectors[:, 0] - vectors[:, 1]
    usual = np.stack([Words._vector(word) for word in EVERYDAY]) @ np.array([1, -1] + 14 * [0])
    assert (leads - usual.mean() > 2 * usual.std()).all()  # by its lead alone either would be one


def test_the_everyday_words_are_many_and_different() -> None:
    assert len(set(EVERYDAY)) == len(EVERYDAY) >= 40


def test_the_page_asks_for_a_map_and_names(client: TestClient) -> None:
    done = finished(client, client.post("/api/map", json={"method": "pca"}).json())
    assert done["state"] == "done"
    assert len(done["result"]["ids"]) == 12
    assert client.post("/api/map", json={"method": "pca"}).json()["job"] == done["job"]  # not computed again
    labelled = client.post("/api/map/labels", json={"job": done["job"], "words": ["red", " red ", "blue", ""]}).json()
    words = {label["word"] for cluster in labelled["clusters"] for label in cluster["labels"]}
    assert words <= {"red", "blue"}
    some = finished(client, client.post("/api/map", json={"filters": {"format_is": ["png"]}}).json())
    assert len(some["result"]["ids"]) == 6
    for content in ({"method": "t-sne"}, {"method": 1}, {"words": []}):
        assert code_of(client.post("/api/map", json=content)) == (400, "bad-request")
    for content in (
        {"job": done["job"], "words": []},
        {"job": done["job"], "words": ["x" * 101]},
        {"job": done["job"], "words": ["x"] * 501},
    ):
        assert code_of(client.post("/api/map/labels", json=content)) == (400, "bad-request")
    assert code_of(client.post("/api/map/labels", json={"job": "none", "words": ["x"]})) == (410, "gone")


def waited(job: Job) -> Job:
    assert job.finished.wait(10)
    return job


def test_a_job_that_is_stopped_stops_and_frees_the_next() -> None:
    jobs = Jobs()

    def endless(tell: Tell) -> tuple[dict[str, Any], None]:
        while True:
            tell(1, 2)
            time.sleep(0.001)

    def quick(tell: Tell) -> tuple[dict[str, Any], str]:
        return {"x": 1}, "kept"

    first = jobs.start("endless", endless)
    assert jobs.start("endless", endless) is first
    second = jobs.start("quick", quick)
    assert second.described()["state"] == "running"
    jobs.stop(first.token)
    assert waited(first).described()["error"] == {"code": "gone", "message": "stopped"}
    assert waited(second).described()["result"] == {"x": 1}
    assert second.kept == "kept"
    with pytest.raises(Refusal):
        jobs.known(first.token)
    jobs.close()


def test_jobs_that_fail_say_why_and_may_be_asked_again() -> None:
    jobs = Jobs()

    def failing(tell: Tell) -> tuple[dict[str, Any], None]:
        raise MissingExtraError("map", "a map")

    def crashing(tell: Tell) -> tuple[dict[str, Any], None]:
        raise ZeroDivisionError

    def hungry(tell: Tell) -> tuple[dict[str, Any], None]:
        raise MemoryError

    first = waited(jobs.start("failing", failing))
    assert first.described()["error"]["code"] == "missing-extra"
    assert jobs.start("failing", failing) is not first
    assert waited(jobs.start("crashing", crashing)).described()["error"]["message"] == "unexpected ZeroDivisionError"
    assert waited(jobs.start("hungry", hungry)).described()["error"]["message"] == "not enough memory for this"
    jobs.close()


def test_there_is_room_for_a_few_jobs_only() -> None:
    jobs = Jobs()

    def endless(tell: Tell) -> tuple[dict[str, Any], None]:
        while True:
            tell(1, 2)
            time.sleep(0.001)

    started = [jobs.start(number, endless) for number in range(8)]
    with pytest.raises(Refusal, match="too much"):
        jobs.start("one more", endless)
    jobs.stop(started[0].token)
    jobs.start("one more", endless)
    jobs.close()


def test_a_job_is_stopped_by_a_request(client: TestClient) -> None:
    job = client.post("/api/duplicates", json={"threshold": 0.9}).json()
    assert client.delete(f"/api/jobs/{job['job']}").json() == {}
    assert code_of(client.get(f"/api/jobs/{job['job']}")) == (410, "gone")
    for wait in ("21", "-1", "x"):
        assert code_of(client.get(f"/api/jobs/x?wait={wait}"))[0] == 400
