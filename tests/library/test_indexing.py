"""Index runs, one after the other on the same library: only what is new is done, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.errors import NotFoundError, UsageError
from clipcli.library import decoder
from clipcli.library.indexing import IndexOptions, index_folders, preview
from clipcli.library.models import own_model
from clipcli.library.report import Progress
from clipcli.library.search import nearest, paths_of
from clipcli.library.store import Library
from clipcli.library.vectors import vectors
from tests.library.conftest import Index, integrity, rows
from tests.photos.test_raw import dng

Photos = Callable[..., Path]


def counts(file: Path) -> tuple[int, int, int]:
    """Pictures, vectors, skipped files."""
    return tuple(rows(file, f"SELECT count(*) FROM {table}")[0] for table in ("images", "embeddings", "skipped"))  # type: ignore[return-value]


def test_a_first_run_then_nothing_new(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=5)
    first = index(folder)
    assert (first.considered, first.embedded, first.skipped) == (5, 5, 0)
    assert os.listdir(library_file.parent) == ["library.db"]  # no journal, no lock, nothing half-made
    assert counts(library_file) == (5, 5, 0)
    second = index(folder)
    assert (second.considered, second.embedded, second.unchanged) == (5, 0, 5)


def test_an_unchanged_file_is_not_opened(index: Index, photo_folder: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photo_folder(count=3)
    index(folder)
    monkeypatch.setattr("clipcli.library.reading.Reader.read", lambda *_: pytest.fail("a file was opened"))
    assert index(folder).unchanged == 3


def test_vectors_are_the_models(index: Index, photo_folder: Photos, library_file: Path, model: Model) -> None:
    from clipcli.bundle.preprocess import to_pixels
    from clipcli.photos.decode import open_image

    folder = photo_folder(count=3)
    index(folder)
    with Library.open(library_file) as library:
        ids, matrix = vectors(library, identity=model.identity, precision="fp32")
        paths = paths_of(library, ids.tolist())
    for image_id, row in zip(ids.tolist(), matrix, strict=True):
        pixels = to_pixels(open_image(os.fsdecode(paths[image_id])), model.spec.preprocess)
        assert float(row @ model.encode_images(pixels[None])[0]) > 0.9999


def test_new_changed_touched_and_vanished_files(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=4)
    index(folder)
    before = dict(rows(library_file, "SELECT path, id FROM images"))
    os.utime(folder / "000.jpg", ns=(1, 1))
    Image.new("RGB", (30, 30), "red").save(folder / "001.jpg")
    (folder / "002.jpg").unlink()
    Image.new("RGB", (30, 30), "blue").save(folder / "new.png")
    report = index(folder)
    assert (report.embedded, report.recognised, report.unchanged, report.forgotten) == (2, 1, 1, 1)
    after = dict(rows(library_file, "SELECT path, id FROM images"))
    assert set(after) == {"000.jpg", "001.jpg", "003.jpg", "new.png"}
    assert after["001.jpg"] == before["001.jpg"]  # the same picture, with another content
    assert after["new.png"] > max(before.values())  # an id never comes to mean something else
    assert index(folder).unchanged == 4
    assert integrity(library_file) == "ok"


def test_a_moved_file_keeps_its_tags_and_needs_no_model(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=2)
    index(folder)
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'kept' FROM images WHERE path = '000.jpg'")
    (folder / "deep").mkdir()
    (folder / "000.jpg").rename(folder / "deep" / "moved.jpg")
    report = index(folder)
    assert (report.embedded, report.recognised, report.forgotten) == (0, 1, 0)
    query = "SELECT images.path FROM tags JOIN images ON images.id = image_id"
    assert rows(library_file, query) == ["deep/moved.jpg"]


def test_copies_are_embedded_once(
    index: Index, photo_folder: Photos, library_file: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder(count=2)
    for number in range(3):
        shutil.copy(folder / "000.jpg", folder / f"copy{number}.jpg")
    embedded: list[int] = []
    encode = model.encode_images
    monkeypatch.setattr(model, "encode_images", lambda pixels: (embedded.append(len(pixels)), encode(pixels))[1])
    report = index(folder, batch_size=2)
    assert (report.embedded, report.recognised) == (2, 3)
    assert sum(embedded) == 2
    later = folder / "later.jpg"
    shutil.copy(folder / "001.jpg", later)
    assert (index(folder).recognised, sum(embedded)) == (1, 2)
    assert len(rows(library_file, "SELECT DISTINCT vector FROM embeddings")) == 2
    assert counts(library_file) == (6, 6, 0)


def test_copies_of_a_file_that_cannot_be_read_are_all_reported(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_text("not a picture")
    report = index(folder)
    assert [skip.reason for skip in report.newly_skipped] == ["not-an-image"] * 4


def test_a_bad_file_is_reported_once(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=1)
    (folder / "bad.png").write_text("text")
    first, second = index(folder), index(folder)
    assert [(skip.path, skip.reason) for skip in first.newly_skipped] == [
        (os.fsencode(folder / "bad.png"), "not-an-image")
    ]
    assert (second.newly_skipped, second.known_bad) == ([], 1)
    assert [skip.reason for skip in index(folder, force=True).newly_skipped] == []  # looked at again, nothing new
    (folder / "bad.png").write_text("another text")
    assert len(index(folder).newly_skipped) == 1
    Image.new("RGB", (9, 9)).save(folder / "bad.png")
    assert index(folder).embedded == 1
    assert counts(library_file) == (2, 2, 0)


def test_a_bad_file_that_is_gone_is_forgotten(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=1)
    (folder / "bad.png").write_text("text")
    index(folder)
    (folder / "bad.png").unlink()
    assert index(folder).considered == 1
    assert counts(library_file) == (1, 1, 0)


def test_a_higher_limit_tries_large_pictures_again(index: Index, photo_folder: Photos) -> None:
    folder = photo_folder(count=2, size=(100, 100))
    assert [skip.reason for skip in index(folder, max_megapixels=0.005).newly_skipped] == ["too-large"] * 2
    assert index(folder, max_megapixels=0.005).known_bad == 2
    assert index(folder, max_megapixels=0.02).embedded == 2


def test_raw_files_are_tried_again_once_the_extra_is_there(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dng(tmp_path / "photos.dng")
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "photos.dng").rename(folder / "a.dng")
    with monkeypatch.context() as without:
        without.setattr(decoder, "_PROGRAM", f"import sys; sys.modules['rawpy'] = None\n{decoder._PROGRAM}")
        without.setattr("clipcli.library.known_files.can_read_raw", lambda: False)
        assert [skip.reason for skip in index(folder).newly_skipped] == ["needs-raw"]
        assert index(folder).known_bad == 1
    assert index(folder).embedded == 1


def test_an_unreadable_file_keeps_its_old_vector_marked(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=2)
    index(folder)
    content = (folder / "000.jpg").read_bytes()
    (folder / "000.jpg").write_bytes(content[:300])
    assert [skip.reason for skip in index(folder).newly_skipped] == ["truncated"]
    assert index(folder).known_bad == 1
    assert counts(library_file) == (2, 2, 1)
    assert rows(library_file, "SELECT path FROM images WHERE stale") == ["000.jpg"]
    (folder / "000.jpg").write_bytes(content)
    assert index(folder).recognised == 1
    assert rows(library_file, "SELECT count(*) FROM images WHERE stale") == [0]
    assert counts(library_file) == (2, 2, 0)


def test_a_root_that_is_not_mounted_loses_nothing(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=2)
    index(folder)
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(NotFoundError, match="nothing was forgotten"):
        index(folder)
    folder.mkdir()  # the empty place where the disk will be
    report = index(folder)
    assert (report.absent, report.forgotten, report.considered) == ([os.fsencode(folder)], 0, 0)
    assert counts(library_file) == (2, 2, 0)
    folder.rmdir()
    away.rename(folder)
    assert index(folder).unchanged == 2


def test_a_root_inside_a_named_folder_may_be_away_as_well(index: Index, photo_folder: Photos) -> None:
    outer = photo_folder("outer", count=1)
    inner = photo_folder("outer/disk", count=2, seed=1)
    index(inner)
    assert index(outer).considered == 3  # the inner root keeps its pictures, and is looked through as well
    shutil.rmtree(inner)
    report = index(outer)
    assert (report.absent, report.forgotten, report.unchanged) == ([os.fsencode(inner)], 0, 1)


def test_single_files_and_parts_of_a_root(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=2)
    part = photo_folder("photos/part", count=2, seed=1)
    assert index(folder / "000.jpg").considered == 1
    assert index(folder, folder / "000.jpg", part).considered == 4
    assert rows(library_file, "SELECT count(*) FROM roots") == [1]
    (part / "000.jpg").unlink()
    (folder / "001.jpg").unlink()
    assert index(part).forgotten == 1  # only below what was named
    assert index(folder / "000.jpg").forgotten == 0
    assert index(folder).forgotten == 1


def test_a_hidden_file_that_was_named_is_not_forgotten(index: Index, photo_folder: Photos) -> None:
    folder = photo_folder(count=1)
    shutil.copy(folder / "000.jpg", folder / ".hidden.jpg")
    assert index(folder / ".hidden.jpg").embedded == 1
    report = index(folder)
    assert (report.considered, report.forgotten) == (1, 0)


def test_what_lies_behind_a_dead_link_is_not_forgotten(index: Index, photo_folder: Photos, tmp_path: Path) -> None:
    folder, disk = photo_folder(count=1), photo_folder("disk", count=2, seed=1)
    (folder / "link").symlink_to(disk)
    assert index(folder).embedded == 3
    disk.rename(tmp_path / "unmounted")
    assert index(folder).forgotten == 0


def test_names_that_are_no_pictures(index: Index, photo_folder: Photos) -> None:
    folder = photo_folder(count=1)
    (folder / "data.xyz").write_text("text")
    (folder / "notes.txt").write_text("text")
    shutil.copy(folder / "000.jpg", folder / "no-suffix")
    report = index(folder)
    assert (report.considered, report.others, report.skipped) == (2, 1, 0)


def test_several_models_side_by_side(
    index: Index, photo_folder: Photos, library_file: Path, bundle: Path, other_bundle: Path, model: Model
) -> None:
    folder = photo_folder(count=3)
    part = photo_folder("photos/part", count=1, seed=1)
    index(folder)
    other = Model.load(other_bundle, threads=1)
    assert index(part, using=other).embedded == 1
    with Library.open(library_file) as library:
        assert own_model(library).name == "tiny"  # type: ignore[union-attr]  # the other has only a part
    assert index(folder, using=other).embedded == 3
    assert index(folder, using=Model.load(bundle, precision="fp16", threads=1)).embedded == 4
    assert (index(folder).unchanged, counts(library_file)) == (4, (4, 12, 0))
    Image.new("RGB", (30, 30), "red").save(folder / "000.jpg")
    assert index(folder).embedded == 1
    assert rows(library_file, "SELECT name, precision, out_of_date FROM model_counts") == [
        ("tiny", "fp32", 0),
        ("other", "fp32", 1),  # the old vector stays until the new one is there
        ("tiny", "fp16", 1),
    ]
    assert index(folder, using=other).embedded == 1


def test_force_embeds_again(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=3)
    index(folder)
    (state,) = rows(library_file, "SELECT state FROM models")
    assert index(folder, force=True).embedded == 3
    assert rows(library_file, "SELECT state FROM models") != [state]
    assert counts(library_file) == (3, 3, 0)


def test_a_preview_changes_nothing(index: Index, photo_folder: Photos, library_file: Path, model: Model) -> None:
    folder = photo_folder(count=3)
    assert preview(None, [os.fsencode(folder)], model, IndexOptions()).pending == 3
    index(folder)
    (folder / "000.jpg").unlink()
    (folder / "bad.png").write_text("text")
    content = library_file.read_bytes()
    with Library.open(library_file) as library:
        report = preview(library, [os.fsencode(folder)], model, IndexOptions())
    assert (report.pending, report.unchanged, report.forgotten) == (1, 2, 1)
    assert library_file.read_bytes() == content


def test_options_that_make_no_sense() -> None:
    for wrong in ({"batch_size": 1}, {"batch_size": 5000}, {"workers": 0}, {"max_megapixels": 0}):
        with pytest.raises(UsageError):
            IndexOptions(**wrong)  # type: ignore[arg-type]


def test_an_anchored_library_survives_a_moved_disk(photo_folder: Photos, tmp_path: Path, model: Model) -> None:
    from clipcli.library.indexing import index_folders

    disk = photo_folder("disk", count=2)
    file = disk / ".clip" / "library.db"
    with Library.open(file, write=True, create=True) as library:
        index_folders(library, [os.fsencode(disk)], model, IndexOptions(), lambda progress: None)
    moved = disk.rename(tmp_path / "elsewhere")
    with Library.open(moved / ".clip" / "library.db", write=True) as library:
        report = index_folders(library, [os.fsencode(moved)], model, IndexOptions(), lambda progress: None)
        hits = nearest(library, model.encode_texts(["red"])[0], identity=model.identity)
    assert (report.unchanged, report.considered) == (2, 2)
    assert {os.path.dirname(hit.path) for hit in hits} == {os.fsencode(moved)}


NAMES = st.lists(
    st.binary(min_size=1, max_size=30).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"-")),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES)
def test_any_file_name_makes_the_round_trip(
    names: list[bytes], model: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from clipcli.library.indexing import index_folders

    place = tmp_path_factory.mktemp("names")
    folder = os.fsencode(place / "photos")
    os.mkdir(folder)
    expected = set()
    for number, name in enumerate(names):
        sub = folder + b"/" + (b"sub" + name if number % 2 else b"sub")
        os.makedirs(sub, exist_ok=True)
        path = sub + b"/p" + name + b".png"
        with open(path, "wb") as file:
            Image.fromarray(np.full((4, 4, 3), number * 9, dtype=np.uint8)).save(file, format="PNG")
        expected.add(path)
    for _ in range(2):
        with Library.open(place / "library.db", write=True, create=True) as library:
            report = index_folders(library, [folder], model, IndexOptions(), lambda progress: None)
            found = paths_of(library, range(1, 10))
        assert set(found.values()) == expected
    assert report.unchanged == len(expected)


def test_a_link_to_a_folder_around_and_two_links_to_one_place(
    index: Index, photo_folder: Photos, library_file: Path, tmp_path: Path
) -> None:
    folder, outside = photo_folder(count=1), photo_folder("outside", count=2, seed=1)
    (folder / "up").symlink_to(tmp_path)
    (folder / "self").symlink_to(folder)
    (folder / "far").symlink_to(outside)
    (folder / "far2").symlink_to(outside)
    (outside / "back").symlink_to(folder)
    assert index(folder).embedded == 3
    assert index(folder).unchanged == 3
    assert rows(library_file, "SELECT path FROM images ORDER BY path") == ["000.jpg", "far/000.jpg", "far/001.jpg"]


def test_ctrl_c_while_progress_is_told_leaves_no_count_behind(
    photo_folder: Photos, library_file: Path, model: Model
) -> None:
    told: list[int] = []

    def tell(progress: Progress) -> None:
        if progress.phase == "embed" and progress.done:
            if not told:
                told.append(0)
                raise KeyboardInterrupt
            told.append(progress.done)

    folders = [os.fsencode(photo_folder(count=3))]  # one batch: nothing more is told after it
    with Library.open(library_file, write=True, create=True) as library, pytest.raises(KeyboardInterrupt):
        index_folders(library, folders, model, IndexOptions(batch_size=8), tell)
    assert told[-1] == counts(library_file)[0] > 0
