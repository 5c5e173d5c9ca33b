"""`clip search`, from words or pictures to results, against a library of six colours."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle import installed
from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.commands.opening import STARTER_NOTE
from clipcli.errors import UsageError
from clipcli.library.store import Library
from clipcli.photos.decode import open_image
from tests.tiny_bundle import COLOURS, make_tiny_bundle
from tests.tiny_library import make_tiny_library

Search = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "other", name="other", seed=1)


def paint(folder: Path) -> Path:
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="module")
def library(photos: Path, bundle: Path) -> Path:
    """A library that tests only read."""
    return make_tiny_library(photos.parent / "library.db", photos, [bundle])


@pytest.fixture
def own_photos(tmp_path: Path) -> Path:
    """Pictures a test may do with what it likes."""
    return paint(tmp_path / "photos")


@pytest.fixture
def own_library(own_photos: Path, bundle: Path) -> Path:
    return make_tiny_library(own_photos.parent / "library.db", own_photos, [bundle])


@pytest.fixture
def search(library: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setenv("CLIP_DB", str(library))
    return lambda *arguments: CliRunner().invoke(app, ["search", *map(str, arguments)])


def records(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def stems(result: Any) -> list[str]:
    return [Path(record["path"]).stem for record in records(result)]


@pytest.mark.parametrize("colour", COLOURS)
def test_words_find_the_picture(colour: str, search: Search) -> None:
    assert stems(search(colour, "--format", "ndjson"))[0] == colour


def test_words_need_no_quotes(search: Search) -> None:
    quoted = search("a red thing", "--format", "json").stdout
    assert search("a", "red", "thing", "--format", "json").stdout == quoted
    assert search("a  red", " thing", "--format", "json").stdout == quoted


def test_a_record_has_the_fields_of_the_contract(search: Search, photos: Path, bundle: Path) -> None:
    found = records(search("red", "--format", "ndjson"))
    assert [list(record) for record in found] == [["rank", "score", "path", "image_id", "model"]] * len(COLOURS)
    assert [record["rank"] for record in found] == list(range(1, len(COLOURS) + 1))
    assert found[0]["path"] == str(photos / "red.png")
    assert found[0]["model"] == "tiny"
    model = Model.load(bundle)
    query = model.encode_texts(["red"])[0]
    for record in found:
        vector = model.encode_images(to_pixels(open_image(Path(record["path"])), model.spec.preprocess)[None])[0]
        assert record["score"] == pytest.approx(float(query @ vector), abs=2e-6)


def test_a_picture_finds_itself_and_scores_one(search: Search, photos: Path) -> None:
    for arguments in (["--like", photos / "blue.png"], [photos / "blue.png"]):
        first = records(search(*arguments, "--format", "ndjson"))[0]
        assert Path(first["path"]).stem == "blue"
        assert first["score"] == pytest.approx(1.0, abs=1e-5)


def test_words_and_pictures_add_up(search: Search, photos: Path, bundle: Path, tmp_path: Path) -> None:
    """The score of a sum is the cosine with the normalised sum of the unit vectors."""
    model = Model.load(bundle)
    arguments = ["yellow", "--like", photos / "blue.png", "--like", photos / "red.png"]
    found = {Path(r["path"]).stem: r["score"] for r in records(search(*arguments, "--format", "ndjson"))}
    vectors = {
        name: model.encode_images(to_pixels(open_image(photos / f"{name}.png"), model.spec.preprocess)[None])[0]
        for name in COLOURS
    }
    total = model.encode_texts(["yellow"])[0] + vectors["blue"] + vectors["red"]
    for name in COLOURS:
        assert found[name] == pytest.approx(float(total @ vectors[name] / np.linalg.norm(total)), abs=2e-6)


def test_a_word_that_is_also_a_file_is_a_word_unless_it_is_a_picture(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    as_word = search("red", "--format", "json").stdout
    (tmp_path / "red").write_text("a file of that name")
    assert search("red", "--format", "json").stdout == as_word
    shutil.copy(photos / "blue.png", tmp_path / "red")
    assert stems(search("red", "--format", "ndjson"))[0] == "blue"
    mistyped = search("bleu.PNG")
    assert (mistyped.exit_code, mistyped.stderr) == (4, "clip: no such file: bleu.PNG\n")
    assert search("about", "bleu.png").exit_code == 0  # two words are a phrase


def test_k_and_threshold(search: Search) -> None:
    every = records(search("red", "-k", "0", "--format", "ndjson"))
    assert len(every) == len(COLOURS)
    assert records(search("red", "-k", "2", "--format", "ndjson")) == every[:2]
    limit = (every[2]["score"] + every[3]["score"]) / 2
    assert records(search("red", "--threshold", limit, "--format", "ndjson")) == every[:3]
    assert records(search("red", "--threshold", limit, "-k", "1", "--format", "ndjson")) == every[:1]
    none = search("red", "--threshold", "0.999", "--format", "json")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "[]\n", "no picture scores 0.999 or more\n")


def test_every_format_says_the_same(search: Search) -> None:
    lines = records(search("red", "--format", "ndjson"))
    assert json.loads(search("red", "--format", "json").stdout) == lines
    rows = [line.split(",") for line in search("red", "--format", "csv").stdout.splitlines()]
    assert rows[0] == ["rank", "score", "path", "path_b64", "image_id", "model"]
    assert [row[2] for row in rows[1:]] == [line["path"] for line in lines]
    assert search("red", "--format", "tsv").stdout == "".join("\t".join(row) + "\n" for row in rows)
    assert search("red", "--format", "paths").stdout.splitlines() == [line["path"] for line in lines]
    assert search("red", "-0").stdout_bytes == b"".join(os.fsencode(line["path"]) + b"\0" for line in lines)
    table = search("red").stdout.splitlines()
    assert table[0].split() == ["score", "picture"]
    assert [line.split()[2] for line in table[1:]] == [line["path"] for line in lines]


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_name_that_is_no_text(
    own_photos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = os.fsencode(own_photos) + b"/r\xff\x1b[2J.png"
    os.rename(own_photos / "red.png", raw)
    monkeypatch.setenv("CLIP_DB", str(make_tiny_library(tmp_path / "odd.db", own_photos, [bundle])))
    run = CliRunner()
    first = json.loads(run.invoke(app, ["search", "red", "-k", "1", "--format", "ndjson"]).stdout)
    assert list(first) == ["rank", "score", "path", "path_b64", "image_id", "model"]
    assert run.invoke(app, ["search", "red", "-k", "1", "-0"]).stdout_bytes == raw + b"\0"
    assert "r\\xff\\x1b[2J.png" in run.invoke(app, ["search", "red", "-k", "1"]).stdout
    itself = run.invoke(app, ["search", os.fsdecode(raw), "-k", "1", "-0"])
    assert itself.stdout_bytes == raw + b"\0"


def test_no_library_says_how_to_make_one(search: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLIP_DB", str(tmp_path / "none.db"))
    ended = search("red")
    assert ended.exit_code == 4
    assert "clip embed" in ended.stderr


def test_an_empty_library_is_an_empty_result(search: Search, tmp_path: Path) -> None:
    Library.open(tmp_path / "empty.db", write=True, create=True).close()
    ended = search("red", "--db", tmp_path / "empty.db", "--format", "json")
    assert (ended.exit_code, ended.stdout) == (0, "[]\n")
    assert "is empty" in ended.stderr
    assert "clip embed" in ended.stderr


def test_a_model_without_vectors_here_says_what_to_do(search: Search, other_bundle: Path) -> None:
    ended = search("red", "-m", other_bundle)
    assert ended.exit_code == 4
    assert ended.stderr.count("\n") == 1
    assert f"clip embed -m {other_bundle} FOLDER" in ended.stderr
    assert "tiny" in ended.stderr


def test_the_library_s_own_model_is_used_and_m_overrules_it(
    photos: Path, bundle: Path, other_bundle: Path, tmp_path: Path, search: Search
) -> None:
    both = make_tiny_library(tmp_path / "both.db", photos, [bundle, other_bundle])
    assert records(search("red", "--db", both, "--format", "ndjson"))[0]["model"] == "other"
    assert records(search("red", "--db", both, "-m", bundle, "--format", "ndjson"))[0]["model"] == "tiny"


def test_pictures_that_a_model_has_not_seen_are_counted(
    own_photos: Path, bundle: Path, other_bundle: Path, tmp_path: Path, search: Search
) -> None:
    both = make_tiny_library(tmp_path / "both.db", own_photos, [bundle, other_bundle])
    assert search("red", "--db", both).stderr == ""
    (own_photos / "red.png").rename(own_photos / "scarlet.png")
    with Image.open(own_photos / "scarlet.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((90, 70)).save(own_photos / "new.png")
    make_tiny_library(both, own_photos, [other_bundle])
    said = "1 picture without embeddings by tiny cannot be found with it; 'clip embed -m tiny FOLDER' makes them\n"
    assert search("red", "--db", both, "-m", bundle).stderr == said
    assert search("red", "--db", both).stderr == ""


def test_a_picture_among_words_is_not_taken_for_a_word(search: Search, photos: Path) -> None:
    for words in (["red", photos / "red.png"], [photos / "red.png", photos / "blue.png"]):
        ended = search(*words)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert re.fullmatch(r"clip: .*\.png is a picture and stands among words: .* --like .*\n", ended.stderr)
    assert search("red", "nowhere.png").exit_code == 0


def test_a_model_is_recognised_by_what_it_is_not_by_its_name(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder the library was made from is gone; the same model is installed under another name."""
    folder = make_tiny_bundle(tmp_path / "somewhere", seed=5)
    library = make_tiny_library(tmp_path / "moved.db", photos, [folder])
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path / "installed"))
    installed.install(folder, name="renamed")
    shutil.rmtree(folder)
    found = CliRunner().invoke(app, ["search", "red", "--db", str(library), "--format", "ndjson"])
    assert stems(found)[0] == "red"
    installed.remove("renamed")
    gone = CliRunner().invoke(app, ["search", "red", "--db", str(library)])
    assert gone.exit_code == 4
    assert "the model this library was made with, tiny, is not installed" in gone.stderr
    impostor = make_tiny_bundle(folder, seed=6)  # another model where the first one was
    assert CliRunner().invoke(app, ["search", "red", "--db", str(library)]).exit_code == 4
    assert impostor.is_dir()


def test_the_query_may_run_in_another_precision(search: Search, bundle: Path) -> None:
    exact = records(search("red", "--format", "ndjson"))
    half = records(search("red", "--precision", "fp16", "--format", "ndjson"))
    assert [record["path"] for record in half] == [record["path"] for record in exact]
    for a, b in zip(exact, half, strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=5e-3)
    assert search("red", "--precision", "int8").exit_code == 4  # the tiny model has no such variant


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "nothing to search for"),
        (["  "], 2, "nothing to search for"),
        (["--like", "nowhere.jpg"], 4, "no such file: nowhere.jpg"),
        (["--like", "."], 2, ". is a folder"),
        (["red", "-0", "--format", "json"], 2, "-0 writes paths"),
        (["red", "--threshold", "7"], 2, "--threshold"),
        (["red", "--device", "quantum"], 2, "--device"),
        (["red", "-m", "nobody"], 4, "no model is called 'nobody'"),
    ],
)
def test_a_senseless_command_line(arguments: list[str], code: int, said: str, search: Search) -> None:
    ended = search(*arguments)
    assert ended.exit_code == code
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_a_picture_that_cannot_be_read_ends_with_3(search: Search, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    ended = search("--like", tmp_path / "broken.jpg")
    assert ended.exit_code == 3
    assert "broken.jpg cannot be read" in ended.stderr


def test_parts_that_cancel_out_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.commands.query import Query, Term, query_vector

    model = Model.load(bundle)
    vector = model.encode_texts(["red"])
    monkeypatch.setattr(Model, "encode_texts", lambda self, texts: np.concatenate([vector, -vector]))
    with pytest.raises(UsageError, match="add up to nothing"):
        query_vector(model, Query(terms=(Term(what="red"), Term(what="not red"))))


def test_a_search_never_writes_to_the_library(search: Search, own_library: Path) -> None:
    before = own_library.read_bytes()
    own_library.chmod(0o400)
    assert search("red", "--db", own_library).exit_code == 0
    assert own_library.read_bytes() == before
    journal = own_library.with_name("library.db-wal")
    assert not journal.exists() or journal.stat().st_size == 0


def test_a_damaged_library_is_one_line(search: Search, tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"no library at all" * 100)
    ended = search("red", "--db", tmp_path / "bad.db")
    assert (ended.exit_code, ended.stderr.count("\n")) == (6, 1)


def test_classify_takes_the_library_s_own_vectors(own_library: Path, own_photos: Path, bundle: Path) -> None:
    given = ["classify", *[part for name in COLOURS for part in ("-l", name)], "--format", "ndjson", "-k", "1"]
    where = ["--library", "--db", str(own_library)]
    run = CliRunner()
    stored = run.invoke(app, [*given, *where])
    assert {Path(r["path"]).stem: r["label"] for r in records(stored)} == {name: name for name in COLOURS}
    assert stored.stdout == run.invoke(app, [*given, str(own_photos), "-m", str(bundle)]).stdout
    shutil.rmtree(own_photos)  # the pictures are not needed any more
    assert run.invoke(app, [*given, *where]).stdout == stored.stdout


def test_the_starter_is_mentioned_once_and_only_while_it_is_alone(
    bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "shipped_model", lambda: bundle)
    library = make_tiny_library(tmp_path / "starter.db", photos, [bundle])
    run = ["search", "red", "--db", str(library)]
    assert CliRunner().invoke(app, run).stderr == STARTER_NOTE + "\n"
    assert CliRunner().invoke(app, run).stderr == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fresh"))
    assert CliRunner().invoke(app, [*run, "-m", str(bundle)]).stderr == ""  # asked for by name
    installed.install(bundle, name="mine")
    assert CliRunner().invoke(app, run).stderr == ""


def test_the_installed_command_searches_without_torch_onnx_or_a_hub(library: Path, tmp_path: Path) -> None:
    blocked = ["torch", "onnx", "onnxscript", "huggingface_hub", "sqlite_utils", "trainer", "export", "matplotlib"]
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "clipcli", "search", "red", "--db", str(library), "--format", "paths", "-k", "1"],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert (done.returncode, Path(done.stdout.strip()).stem) == (0, "red"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes there")
def test_a_reader_that_leaves_early_hurts_nobody(own_library: Path) -> None:
    """Results into a pipe whose reader has gone: exit code 0, nothing on stderr."""
    with sqlite3.connect(own_library) as connection:  # more lines than a pipe holds
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
            "SELECT i, 1, printf('made-up-%0120d.png', i), 0, 0, '', 1, 1, 'PNG' FROM n"
        )
        connection.execute(
            "INSERT INTO embeddings SELECT images.id, 1, '', embeddings.vector, 1 FROM images, embeddings "
            "WHERE embeddings.image_id = 1 AND images.id >= 100"
        )
    connection.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "clipcli", "search", "red", "--db", str(own_library), "--format", "ndjson", "-k", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith(b'{"rank": 1')
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (0, b"")


def test_a_text_that_is_too_long_is_said_to_be_cut(search: Search) -> None:
    short, long = search("red", "--format", "json"), search(*["red"] * 200, "--format", "json")
    assert short.stderr == ""
    assert (long.exit_code, len(long.stderr.splitlines())) == (0, 1)
    assert len(json.loads(long.stdout)) == len(json.loads(short.stdout))
    said = re.search(
        r"reads (\d+) tokens at once: of the 200 words of .red red red red…. .* the first (\d+)$", long.stderr
    )
    assert said is not None
    assert 0 < int(said[2]) <= int(said[1]) - 2
    kept = search(*["red"] * int(said[2]), "--format", "json")
    assert kept.stderr == ""
    assert "with the beginning of the first" in search("red" * 500, "--format", "json").stderr
