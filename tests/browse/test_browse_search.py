"""What the page finds is what `clip search` finds; and whatever it sends, it gets a result or a reason."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from clipcli.browse import searching
from clipcli.browse.page_files import PageFiles
from clipcli.library.filters import Filters, chosen_ids
from clipcli.library.search import find
from clipcli.library.store import Library
from tests.browse.conftest import Stage, code_of, serving
from tests.tiny_bundle import COLOURS

ALL = len(COLOURS) + 6


def search(client: TestClient, **asked: Any) -> dict[str, Any]:
    response = client.post("/api/search", json=asked)
    assert response.status_code == 200, response.text
    return dict(response.json())


def names(answered: dict[str, Any]) -> list[str]:
    return [str(name) for name in answered["names"]]


@pytest.mark.parametrize("text", ["red", "a blue thing", "rot"])
def test_words_find_what_clip_search_finds(text: str, client: TestClient, stage: Stage) -> None:
    answered = search(client, terms=[{"text": text}])
    with Library.open(stage.library) as library:
        expected = find(library, stage.model.encode_texts([text])[0], identity=stage.model.identity, k=None)
    assert answered["ids"] == [hit.image_id for hit in expected.hits]
    assert answered["scores"] == pytest.approx([hit.score for hit in expected.hits], abs=1e-6)
    assert (answered["total"], answered["searched"], answered["considered"]) == (ALL, ALL, ALL)
    assert answered["best"] == pytest.approx(expected.best, abs=1e-6)
    assert answered["scored"] is True


def test_the_columns_belong_together(client: TestClient) -> None:
    answered = search(client, terms=[{"text": "red"}], count=3)
    assert names(answered)[0] == "red.jpg"
    assert answered["ratios"][0] == round(60 / 40, 3)
    assert answered["dates"][0] == "2010-06-01T12:00:00"
    assert answered["tagged"] == [0, 0, 0]
    assert {len(answered[column]) for column in ("ids", "scores", "ratios", "names", "dates", "tagged")} == {3}


def test_sums_and_differences_and_weights(client: TestClient, stage: Stage) -> None:
    red = stage.id_of("colours/red.jpg")
    assert names(search(client, terms=[{"id": red}]))[0] == "red.jpg"
    both = [{"text": "red"}, {"text": "green", "weight": 0.01}]
    assert names(search(client, terms=both))[0] == "red.jpg"
    assert names(search(client, terms=[{"text": "red", "weight": -1}]))[-1] == "red.jpg"
    assert code_of(client.post("/api/search", json={"terms": [{"text": "red"}, {"text": "red", "weight": -1}]})) == (
        400,
        "bad-request",
    )


def test_what_was_asked_with_can_be_left_out(client: TestClient, stage: Stage) -> None:
    red = stage.id_of("colours/red.jpg")
    answered = search(client, terms=[{"id": red}], leave_out_terms=True)
    assert red not in answered["ids"]
    assert answered["total"] == ALL - 1
    similar = client.get(f"/api/picture/{red}/similar?count=2").json()
    assert similar["ids"] == answered["ids"][:2]
    without = search(client, terms=[{"text": "red"}], without=[red])
    assert red not in without["ids"]
    assert red not in search(client, without=[red])["ids"]


def test_no_terms_are_all_pictures_by_date(client: TestClient) -> None:
    answered = search(client)
    assert answered["scored"] is False
    assert answered["scores"] is None
    assert answered["total"] == ALL
    dates = [date for date in answered["dates"] if date is not None]
    assert dates == sorted(dates, reverse=True)
    assert names(search(client, order="oldest"))[0] == f"{next(iter(COLOURS))}.jpg"
    by_name = names(search(client, order="name"))
    assert by_name == [*sorted(f"{name}.jpg" for name in COLOURS), *(f"{number}.png" for number in range(6))]


def test_any_order_goes_with_any_query(client: TestClient) -> None:
    scored = search(client, terms=[{"text": "red"}])
    newest = search(client, terms=[{"text": "red"}], order="newest")
    assert newest["ids"] == search(client)["ids"]
    assert dict(zip(newest["ids"], newest["scores"], strict=True)) == pytest.approx(
        dict(zip(scored["ids"], scored["scores"], strict=True)), abs=3e-6
    )


def test_filters_are_those_of_clip_search(client: TestClient, stage: Stage) -> None:
    folder = os.fsdecode(stage.photos / "patterns")
    assert search(client, filters={"in": [folder]})["total"] == 6
    assert search(client, terms=[{"text": "red"}], filters={"in": [folder]})["considered"] == 6
    assert search(client, filters={"format_is": ["png"]})["total"] == 6
    assert search(client, filters={"camera": ["camera 1"]})["total"] == len(COLOURS) // 2
    assert search(client, filters={"since": "2011", "until": "2012"})["total"] == 2
    assert search(client, filters={"min_size": "61x1"})["total"] == len(COLOURS) - 1
    assert search(client, filters={"tag": ["nothing"]})["total"] == 0
    assert search(client, filters={"tag": [], "since": "", "in": []})["total"] == ALL
    assert code_of(client.post("/api/search", json={"filters": {"in": ["/no/such"]}})) == (404, "not-found")


def test_limits_of_scores(client: TestClient) -> None:
    every = search(client, terms=[{"text": "red"}])
    limit = (every["scores"][2] + every["scores"][3]) / 2
    assert search(client, terms=[{"text": "red"}], threshold=limit)["ids"] == every["ids"][:3]
    ordered = search(client, terms=[{"text": "red"}], threshold=limit, order="newest")
    assert sorted(ordered["ids"]) == sorted(every["ids"][:3])
    far = search(client, terms=[{"text": "red"}], min_sigma=50)
    assert far["total"] == 0
    assert far["best_sigma"] < 50


def test_more_of_a_search_is_asked_by_its_token(client: TestClient) -> None:
    answered = search(client, terms=[{"text": "red"}], count=4)
    token = answered["search"]
    rest = client.get(f"/api/search/{token}?from=4&count=2000").json()
    whole = search(client, terms=[{"text": "red"}])
    assert answered["ids"] + rest["ids"] == whole["ids"]
    assert answered["scores"] + rest["scores"] == whole["scores"]
    assert (rest["from"], rest["total"]) == (4, ALL)
    assert client.get(f"/api/search/{token}?from=99").json()["ids"] == []
    assert client.get(f"/api/search/{token}/ids").json()["ids"] == whole["ids"]
    assert client.get(f"/api/search/{token}/ids?from=2&to=5").json()["ids"] == whole["ids"][2:5]
    assert client.get(f"/api/search/{token}/ids?from=5&to=2").json()["ids"] == []


@pytest.mark.parametrize("terms", [[{"text": "red"}], []])
def test_everything_at_once_in_binary(terms: list[dict[str, str]], client: TestClient) -> None:
    answered = search(client, terms=terms)
    data = client.get(f"/api/search/{answered['search']}/columns").content
    count = len(data) // 8
    assert count == ALL
    assert np.frombuffer(data, "<u4", count).tolist() == answered["ids"]
    assert np.frombuffer(data, "<u2", count, 4 * count).tolist() == [round(1000 * r) for r in answered["ratios"]]
    scores = np.frombuffer(data, "<i2", count, 6 * count)
    expected = [-32768] * count if not terms else [round(10_000 * score) for score in answered["scores"]]
    assert np.abs(scores - np.array(expected)).max() <= 1
    assert len(client.get(f"/api/search/{answered['search']}/columns?from=10").content) == 8 * (ALL - 10)


def test_names_of_some(client: TestClient, stage: Stage) -> None:
    ids = [stage.id_of("patterns/3.png"), 999_999, stage.id_of("colours/red.jpg")]
    answered = client.post("/api/names", json={"ids": ids}).json()
    assert answered["ids"] == ids
    assert answered["names"] == ["3.png", "", "red.jpg"]


def test_a_forgotten_search_says_so(client: TestClient) -> None:
    for path in ("", "?from=3", "/columns", "/ids"):
        assert code_of(client.get(f"/api/search/never-was{path}")) == (410, "gone")
    first = search(client)["search"]
    for number in range(searching._KEPT):
        search(client, terms=[{"text": f"text {number}"}])
    assert code_of(client.get(f"/api/search/{first}")) == (410, "gone")


BAD_REQUESTS: list[Any] = [
    {"term": []},
    {"terms": "red"},
    {"terms": [{}]},
    {"terms": [{"text": "red", "id": 1}]},
    {"terms": [{"text": ""}]},
    {"terms": [{"text": "   "}]},
    {"terms": [{"text": 5}]},
    {"terms": [{"text": "x" * 2001}]},
    {"terms": [{"text": "red", "weight": 0}]},
    {"terms": [{"text": "red", "weight": 101}]},
    {"terms": [{"text": "red", "weight": True}]},
    {"terms": [{"text": "red", "weight": "1"}]},
    {"terms": [{"id": 0}]},
    {"terms": [{"id": -1}]},
    {"terms": [{"id": 2**63}]},
    {"terms": [{"id": 1.5}]},
    {"terms": [{"text": "red", "path": "/etc/passwd"}]},
    {"terms": [{"text": "red"}] * 17},
    {"filters": []},
    {"filters": {"where": "1"}},
    {"filters": {"in": "folder"}},
    {"filters": {"in": ["relative"]}},
    {"filters": {"in": ["/\0"]}},
    {"filters": {"in": ["/\ud800"]}},
    {"filters": {"since": "yesterday"}},
    {"filters": {"near": "here"}},
    {"filters": {"near": "nan,0,1"}},
    {"filters": {"min_size": "big"}},
    {"filters": {"format_is": ["svg"]}},
    {"filters": {"camera": [" "]}},
    {"filters": {"tag": ["x"] * 101}},
    {"threshold": 2},
    {"min_sigma": 0},
    {"min_sigma": -1},
    {"order": "random"},
    {"count": 0},
    {"count": 2001},
    {"count": 10**30},
    {"without": [1] * 1001},
    {"without": ["1"]},
    {"leave_out_terms": 1},
]


@pytest.mark.parametrize("content", BAD_REQUESTS, ids=lambda content: json.dumps(content)[:60])
def test_what_makes_no_sense_is_refused(content: Any, client: TestClient) -> None:
    body = json.dumps(content)
    response = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert code_of(response) == (400, "bad-request")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 200_000, b'{"count":' + b"9" * 10_000 + b"}", b'{"threshold":NaN}',
     b'{"threshold":1e999}', b'{"min_sigma":Infinity}', b"null"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes, client: TestClient) -> None:
    response = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert code_of(response) == (400, "bad-request")


def test_pictures_and_uploads_that_are_not_there(client: TestClient) -> None:
    assert code_of(client.post("/api/search", json={"terms": [{"id": 999_999}]})) == (404, "not-found")
    assert code_of(client.post("/api/search", json={"terms": [{"upload": "x"}]})) == (410, "gone")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD_NAMES = ("terms", "filters", "threshold", "min_sigma", "order", "count", "without", "in", "text", "id", "tag")


@given(content=st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=5), anything, max_size=5))
def test_whatever_is_sent_gets_a_result_or_a_reason(content: dict[str, Any], client: TestClient) -> None:
    body = json.dumps(content)
    response = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    if response.status_code != 200:
        assert code_of(response) in {(400, "bad-request"), (404, "not-found"), (410, "gone")}


@given(text=st.text(min_size=1, max_size=60))
def test_any_text_is_a_query(text: str, client: TestClient) -> None:
    body = json.dumps({"terms": [{"text": text}]})
    response = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200 or (not " ".join(text.split()) and code_of(response) == (400, "bad-request"))


def test_an_empty_library_says_what_to_do(empty_stage: Stage, page: PageFiles) -> None:
    with serving(empty_stage, page) as client:
        assert search(client)["total"] == 0
        assert code_of(client.post("/api/search", json={"terms": [{"text": "red"}]})) == (409, "no-model")
        state = client.get("/api/state").json()
        assert (state["model"], state["library"]["pictures"]) == (None, 0)


def test_what_passes_a_filter_is_remembered_until_something_changes(
    own_stage: Stage, page: PageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Filters] = []

    def counted(library: Library, filters: Filters) -> Any:
        asked.append(filters)
        return chosen_ids(library, filters)

    monkeypatch.setattr(searching, "chosen_ids", counted)
    with serving(own_stage, page) as client:
        for text in ("r", "re", "red"):
            assert search(client, terms=[{"text": text}], filters={"format_is": ["png"]})["considered"] == 6
        assert len(asked) == 1
        (own_stage.photos / "patterns" / "5.png").unlink()
        own_stage.embed()
        assert search(client, filters={"format_is": ["png"]})["total"] == 5
        assert len(asked) == 2
