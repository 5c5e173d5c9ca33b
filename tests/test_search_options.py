"""`clip search` with sums and differences, filters, cut-offs and facts, against the library of six colours."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.commands.query import Query, Term, query_vector, read_query
from clipcli.errors import NotFoundError, UsageError
from clipcli.library.store import Library
from clipcli.photos.decode import open_image
from tests.test_search import Search, bundle, library, own_library, own_photos, photos, records, search, stems
from tests.tiny_bundle import COLOURS
from tests.tiny_library import make_tiny_library

__all__ = ["bundle", "library", "own_library", "own_photos", "photos", "search"]  # fixtures

NDJSON = ("--format", "ndjson")


@pytest.fixture(scope="module")
def vectors(photos: Path, bundle: Path) -> dict[str, NDArray[np.float32]]:
    """Of each picture, and of each colour's name after `word:`."""
    model = Model.load(bundle)
    found = {}
    for name in COLOURS:
        found[name] = model.encode_images(to_pixels(open_image(photos / f"{name}.png"), model.spec.preprocess)[None])[0]
        found[f"word:{name}"] = model.encode_texts([name])[0]
    return found


def ids_of(library: Path) -> dict[str, int]:
    with sqlite3.connect(library) as connection:
        found = {Path(path).stem: number for number, path in connection.execute("SELECT id, path FROM images")}
    connection.close()
    return found


@pytest.fixture
def facts_library(own_library: Path) -> Path:
    """Six colours with facts to filter by."""
    facts: dict[str, tuple[Any, ...]] = {
        "red": ("2021-07-04T10:00:00", "exif", "Canon EOS 5D", 48.86, 2.35, 4000, 3000),
        "green": ("2021-08-04T10:00:00+02:00", "exif", "NIKON D90", 48.85, 2.30, 1920, 1080),
        "blue": ("2022-07-04T10:00:00", "xmp", None, None, None, 100, 50),
    }
    with sqlite3.connect(own_library) as connection:
        for name, values in facts.items():
            connection.execute(
                "UPDATE images SET taken_at = ?, taken_from = ?, camera = ?, latitude = ?, longitude = ?, width = ?, "
                "height = ? WHERE path = ?",
                (*values, f"{name}.png"),
            )
        connection.execute("UPDATE images SET taken_at = NULL, taken_from = NULL WHERE taken_from = 'file'")
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'warm' FROM images WHERE path IN ('red.png')")
    connection.close()
    return own_library


def test_sums_and_differences_are_cosines(
    search: Search, photos: Path, library: Path, vectors: dict[str, NDArray[np.float32]]
) -> None:
    number = ids_of(library)["green"]
    given = ["yellow", "--like", photos / "red.png", "--plus", f"2:{photos / 'blue.png'}"]
    given += ["--plus", f".5:id:{number}", "--minus", "0.25:white", "--minus", "black"]
    total = (
        vectors["word:yellow"].astype(np.float64) + vectors["red"] + 2 * vectors["blue"] + 0.5 * vectors["green"]
        - 0.25 * vectors["word:white"] - vectors["word:black"]
    )  # fmt: skip
    for record in records(search(*given, "-k", "0", *NDJSON)):
        expected = float(total @ vectors[Path(record["path"]).stem] / np.linalg.norm(total))
        assert record["score"] == pytest.approx(expected, abs=2e-6)


def test_what_is_taken_away_goes_down(search: Search) -> None:
    plain = {Path(r["path"]).stem: r["score"] for r in records(search("red", "--plus", "blue", *NDJSON))}
    less = {
        Path(r["path"]).stem: r["score"] for r in records(search("red", "--plus", "blue", "--minus", "red", *NDJSON))
    }
    assert less["red"] < plain["red"]
    assert max(less, key=less.__getitem__) == "blue"


class LongContext:
    """A tokenizer for which no text is too long."""

    context_length = 77

    def full_lengths(self, texts: list[str]) -> list[int]:
        return [3 for _ in texts]


class Axes:
    """A model whose vectors are known: each phrase has an axis of its own."""

    NAMES = ("a", "b", "c", "d")
    tokenizer = LongContext()

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        return np.eye(4, dtype=np.float32)[[self.NAMES.index(text) for text in texts]]


@given(
    weights=st.lists(st.tuples(st.sampled_from(Axes.NAMES), st.integers(1, 400), st.booleans()), min_size=1, max_size=6)
)
def test_arithmetic_is_that_of_plain_numbers(weights: list[tuple[str, int, bool]]) -> None:
    plus = [f"{weight / 100}:{name}" for name, weight, positive in weights if positive]
    minus = [f"{weight / 100}:{name}" for name, weight, positive in weights if not positive]
    total = [sum((w if positive else -w) for name, w, positive in weights if name == axis) for axis in Axes.NAMES]
    query = read_query([], [], plus, minus)
    if not any(total):
        with pytest.raises(UsageError, match="add up to nothing"):
            query_vector(Axes(), query)  # type: ignore[arg-type]
        return
    vector = query_vector(Axes(), query)  # type: ignore[arg-type]
    length = math.sqrt(sum(part * part for part in total))
    assert vector.tolist() == pytest.approx([part / length for part in total], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("fruit", Term(what="fruit")),
        ("2:fruit", Term(what="fruit", weight=2)),
        (".5:two  words", Term(what="two words", weight=0.5)),
        ("id:12", Term(what=12)),
        ("3.:id:12", Term(what=12, weight=3)),
        ("id:twelve", Term(what="id:twelve")),
        ("at: noon", Term(what="at: noon")),
        ("1:12:30 train", Term(what="12:30 train")),
        ("a.png", Term(what=Path("a.png"))),
        ("2:./a", Term(what=Path("./a"), weight=2)),
    ],
)
def test_terms(text: str, term: Term, in_folder: Path, photos: Path) -> None:
    for name in ("a.png", "a"):
        (in_folder / name).write_bytes((photos / "red.png").read_bytes())
    assert read_query([], [], [text], []).terms == (term,)
    away = Term(what=term.what, weight=-term.weight)
    assert read_query(["x y"], [], [], [text]).terms == (Term(what="x y"), away)


@pytest.mark.parametrize("text", ["0:red", "-1:red", "", "2:", " ", "2: "])
def test_terms_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        read_query([], [], [text], [])


def test_files_that_are_not_there(in_folder: Path) -> None:
    for text in ("./gone", "gone.jpg", "~/gone", "/gone"):
        with pytest.raises(NotFoundError, match="no such file"):
            read_query([], [], [], [text])
    with pytest.raises(UsageError, match="is a folder"):
        read_query([], [], ["./"], [])


def test_a_query_is_shown_as_it_was_meant() -> None:
    query = Query(terms=(Term(what="red"), Term(what=Path("p.jpg"), weight=2), Term(what=7, weight=-0.5)))
    assert str(query) == '"red" + 2 × p.jpg - 0.5 × id:7'
    assert str(Query(terms=(Term(what="x", weight=-1),))) == '- "x"'


def test_a_picture_of_the_library_as_the_query(search: Search, library: Path) -> None:
    number = ids_of(library)["blue"]
    first = records(search(f"id:{number}", *NDJSON))[0]
    assert (first["image_id"], first["score"]) == (number, pytest.approx(1, abs=1e-6))
    unknown = search("id:999")
    assert (unknown.exit_code, unknown.stderr) == (4, "clip: the library has no picture with the id 999\n")


def test_a_picture_without_a_usable_vector(search: Search, own_library: Path) -> None:
    numbers = ids_of(own_library)
    with Library.open(own_library, write=True) as opened, opened.write() as connection:
        connection.execute("DELETE FROM embeddings WHERE image_id = ?", (numbers["red"],))
        connection.execute("UPDATE embeddings SET vector = zeroblob(96) WHERE image_id = ?", (numbers["blue"],))
    assert search(f"id:{numbers['red']}", "--db", own_library).exit_code == 4
    damaged = search(f"id:{numbers['blue']}", "--db", own_library)
    assert (damaged.exit_code, damaged.stderr.count("\n")) == (6, 1)


def test_min_sigma_is_relative_to_all_pictures(search: Search) -> None:
    every = records(search("red", *NDJSON))
    scores = np.array([record["score"] for record in every])
    sigmas = (scores - scores.mean()) / scores.std()
    limit = float((sigmas[1] + sigmas[2]) / 2)
    assert limit > 0
    assert records(search("red", "--min-sigma", limit, *NDJSON)) == every[:2]
    nothing = search("red", "--min-sigma", 9, "--format", "json")
    assert (nothing.exit_code, nothing.stdout) == (0, "[]\n")
    best = f"{sigmas[0]:.1f}"
    assert nothing.stderr == (
        f"nothing like that here: the best picture is {best} standard deviations above the mean, not 9\n"
    )
    # The spread is the library's, whatever the filters leave.
    filtered = search("red", "--min-sigma", limit, "--where", "path NOT LIKE '%red.png'", *NDJSON)
    assert records(filtered) == [every[1] | {"rank": 1}]


def test_nothing_stands_out_among_equals(search: Search, own_library: Path) -> None:
    with Library.open(own_library, write=True) as opened, opened.write() as connection:
        connection.execute("UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE image_id = 1)")
    assert "nothing like that here" in search("red", "--db", own_library, "--min-sigma", "0.1").stderr
    assert len(records(search("red", "--db", own_library, *NDJSON))) == len(COLOURS)


FILTERS: dict[str, tuple[list[str], set[str]]] = {
    "since": (["--since", "2021-08"], {"green", "blue"}),
    "until": (["--until", "2021"], {"red", "green"}),
    "between": (["--since", "2021-07-04", "--until", "2021-07-04"], {"red"}),
    "zone": (["--since", "2021-08-04T08:00:00Z", "--until", "2021-08-04T08:00:00Z"], {"green"}),
    "camera": (["--camera", "canon", "--camera", "d90 nikon"], {"red", "green"}),
    "near": (["--near", "48.86,2.35,1"], {"red"}),
    "nearby": (["--near", "48.86,2.35,5"], {"red", "green"}),
    "far away": (["--near", "-48.86,-177.65,10"], set()),
    "tag": (["--tag", "warm"], {"red"}),
    "format": (["--format-is", "PNG"], set(COLOURS)),
    "other format": (["--format-is", "jpg"], set()),
    "size": (["--min-size", "1920x1080"], {"red", "green"}),
    "megapixels": (["--min-size", "12MP"], {"red"}),
    "where": (["--where", "camera IS NULL AND taken_at IS NOT NULL"], {"blue"}),
    "all at once": (
        ["--since", "2021", "--camera", "nikon", "--near", "48.86,2.35,5", "--where", "width > 1"],
        {"green"},
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(name: str, search: Search, facts_library: Path) -> None:
    options, expected = FILTERS[name]
    result = search("red", "--db", facts_library, *options, *NDJSON)
    assert set(stems(result)) == expected
    if not expected:
        assert result.stderr == "none of 6 pictures passes the filters\n"


def test_in_a_folder(search: Search, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(photos)
    assert len(stems(search("red", "--in", ".", *NDJSON))) == len(COLOURS)
    assert stems(search("red", "--in", tmp_path, *NDJSON)) == []
    missing = search("red", "--in", "nowhere")
    assert (missing.exit_code, missing.stderr.count("\n")) == (4, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "'yesterday' is no date"),
        (["--since", "2022", "--until", "2021"], "no date is both"),
        (["--near", "Paris"], "no LAT,LON,KM"),
        (["--min-size", "12"], "12MP for megapixels"),
        (["--format-is", "docx"], "no format is called 'docx'"),
        (["--where", "DROP TABLE images"], "--where: "),
        (["--where", "1); DELETE FROM images --"], "--where: "),
        (["--min-sigma", "0"], "--min-sigma is a number above zero"),
        (["--min-sigma", "nan"], "--min-sigma is a number above zero"),
    ],
)
def test_options_that_make_no_sense(options: list[str], said: str, search: Search) -> None:
    ended = search("red", *options)
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr


def test_facts(search: Search, facts_library: Path) -> None:
    def run(*options: str) -> Any:
        return search("red", "--db", facts_library, "--facts", *options)

    found = {Path(record["path"]).stem: record for record in records(run(*NDJSON))}
    names = ["width", "height", "format", "taken_at", "taken_from", "camera", "lens", "latitude", "longitude"]
    assert [found["red"][name] for name in names] == [
        4000, 3000, "PNG", "2021-07-04T10:00:00", "exif", "Canon EOS 5D", None, 48.86, 2.35,
    ]  # fmt: skip
    assert list(found["red"]) == ["rank", "score", "path", "image_id", "model", *names]
    rows = run("--format", "csv").stdout.splitlines()
    assert rows[0].split(",") == ["rank", "score", "path", "path_b64", "image_id", "model", *names]
    assert rows[1].endswith("4000,3000,PNG,2021-07-04T10:00:00,exif,Canon EOS 5D,,48.86,2.35")
    table = run("-k", "1").stdout.splitlines()
    assert table[0].split() == ["score", "size", "taken", "camera", "picture"]
    assert "4000×3000  2021-07-04T10:00:00  Canon EOS 5D  " in table[1]
    with closing(sqlite3.connect(facts_library)) as connection, connection:
        connection.execute("UPDATE images SET taken_from = 'file' WHERE taken_at IS NOT NULL")
    assert "4000×3000  ~2021-07-04T10:00:00  Canon EOS 5D  " in run("-k", "1").stdout
    assert json.loads(run("--where", "0", "--format", "json").stdout) == []


def test_the_order_of_options_does_not_matter(search: Search) -> None:
    assert search("--minus", "blue", "red", *NDJSON).stdout == search("red", "--minus", "blue", *NDJSON).stdout


def test_what_a_camera_wrote_can_be_filtered_by(tmp_path: Path, bundle: Path, search: Search) -> None:
    """From EXIF in a file through `clip embed` to a filter."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for name, (model, taken, latitude) in {
        "paris": ("EOS 5D", "2021:07:04 10:00:00", 48.86),
        "oslo": ("Pixel 7", "2022:07:04 10:00:00", 59.91),
    }.items():
        exif = Image.Exif()
        exif[0x0110] = model
        exif.get_ifd(0x8769).update({0x9003: taken, 0x9011: "+02:00"})
        exif.get_ifd(0x8825).update({1: "N", 2: (latitude, 0.0, 0.0), 3: "E", 4: (2.35, 0.0, 0.0)})
        Image.new("RGB", (64, 48), COLOURS["red"]).save(folder / f"{name}.jpg", exif=exif)
    library = make_tiny_library(tmp_path / "camera.db", folder, [bundle])
    for options in (
        ["--camera", "eos"],
        ["--until", "2021"],
        ["--near", "48.8,2.3,20"],
        ["--until", "2021-07-04 08:00Z"],
    ):
        assert stems(search("red", "--db", library, *options, *NDJSON)) == ["paris"]
    assert stems(search("red", "--db", library, "--until", "2021-07-04 07:59Z", *NDJSON)) == []
