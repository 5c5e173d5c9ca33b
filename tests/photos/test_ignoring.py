"""What is left out: `.clipignore` held against git itself, and the patterns of a command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.errors import UsageError
from clipcli.photos.ignoring import Ignoring, check_patterns
from clipcli.photos.scan import UnreadableFolder, walk
from tests.photos.test_scan import put
from tests.tiny_bundle import make_tiny_bundle


def met(folder: Path, **options: Any) -> list[str]:
    top = os.fsencode(folder)
    return sorted(os.fsdecode(found.path) for found in walk(top, ignoring=Ignoring(top, **options)))


def rules(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".clipignore").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_rules_of_gitignore(tmp_path: Path) -> None:
    put(
        tmp_path, "a.png", "keep.png", "raw/b.jpg", "sub/raw/c.jpg", "sub/d.jpg", "x/deep/y/e.jpg", "# f.jpg", "g h.jpg"
    )
    rules(tmp_path, "# a comment", "", "*.png", "!keep.png", "/raw/", "x/**/e.jpg", r"\# f.jpg", "g h.jpg\r")
    assert met(tmp_path) == ["keep.png", "sub/d.jpg", "sub/raw/c.jpg"]


def test_a_folders_own_rules_count_below_it_and_overrule_those_above(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "sub/a.jpg", "sub/deep/a.jpg", "other/a.jpg", "sub/b.jpg", "out/a.jpg")
    rules(tmp_path, "a.jpg", "out/")
    rules(tmp_path / "sub", "!a.jpg", "/b.jpg")
    rules(tmp_path / "out", "!a.jpg")  # its folder is not even entered
    assert met(tmp_path) == ["sub/a.jpg", "sub/deep/a.jpg"]


def test_a_part_of_a_root_has_the_rules_of_the_whole(tmp_path: Path) -> None:
    put(tmp_path, "a/b/1.jpg", "a/b/2.jpg", "a/b/3.jpg", "a/b/4.jpg")
    rules(tmp_path, "1.jpg")
    rules(tmp_path / "a", "/b/2.jpg")
    assert met(tmp_path / "a" / "b", above=b"a/b/") == ["3.jpg", "4.jpg"]
    assert met(tmp_path / "a" / "b", above=b"a/b/", exclude=["/3.jpg"]) == ["4.jpg"]


def test_exclude_and_include(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.png", "sub/c.jpg", "sub/d.png", "raw/e.jpg")
    assert met(tmp_path, exclude=["*.png", "raw"]) == ["a.jpg", "sub/c.jpg"]
    assert met(tmp_path, include=["*.png"]) == ["b.png", "sub/d.png"]
    assert met(tmp_path, include=["sub/"]) == ["sub/c.jpg", "sub/d.png"]
    assert met(tmp_path, include=["*.jpg", "b.*"], exclude=["/raw/"]) == ["a.jpg", "b.png", "sub/c.jpg"]
    rules(tmp_path, "!*.png", "a.jpg")
    assert met(tmp_path, exclude=["*.png"]) == ["raw/e.jpg", "sub/c.jpg"]  # nothing overrules the command line
    assert met(tmp_path, exclude=["!a.jpg"]) == ["a.jpg", "b.png", "raw/e.jpg", "sub/c.jpg", "sub/d.png"]


def test_links_are_left_out_by_their_own_name(tmp_path: Path) -> None:
    put(tmp_path / "outside", "a.jpg", "deep/b.jpg")
    inside = tmp_path / "inside"
    put(inside, "c.jpg")
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "file.jpg").symlink_to(tmp_path / "outside" / "a.jpg")
    assert met(inside, exclude=["link/"]) == ["c.jpg", "file.jpg"]
    assert met(inside, exclude=["file.jpg", "b.jpg"]) == ["c.jpg", "link/a.jpg"]
    rules(tmp_path / "outside" / "deep", "b.jpg")
    assert met(inside, exclude=["file.jpg"]) == ["c.jpg", "link/a.jpg"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    top = os.fsencode(tmp_path)
    for name in (b"\xff.jpg", b"\xfe.jpg"):
        (open(top + b"/" + name, "wb")).close()
    (tmp_path / ".clipignore").write_bytes(b"\xef\xbb\xbf\xff.jpg\n")
    assert [found.path for found in walk(top)] == [b"\xfe.jpg"]


@pytest.mark.parametrize("where", ["", "sub"])
def test_rules_that_cannot_be_read_leave_the_folder_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    put(tmp_path, "sub/a.jpg")
    rules(tmp_path / where, "a.jpg")

    def refusing(path: object, *rest: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refusing)
    for above in (b"",) if where else (b"", b"x/"):
        top = os.fsencode(tmp_path)
        (found,) = walk(top, ignoring=Ignoring(top, above=above))
        assert isinstance(found, UnreadableFolder)
        assert (found.path, found.reason) == (where.encode(), "no-permission")


def test_lines_that_mean_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    rules(tmp_path, "!", "a.jpg", "/")
    assert met(tmp_path) == ["b.jpg"]
    with pytest.raises(UsageError, match="not a pattern: '!'"):
        check_patterns(["*.jpg", "!"])


def test_without_rules_nothing_is_imported_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.jpg", "sub/b.jpg")
    monkeypatch.setitem(sys.modules, "pathspec", None)  # an import of it fails
    assert met(tmp_path) == ["a.jpg", "sub/b.jpg"]
    rules(tmp_path, "a.jpg")
    with pytest.raises(ImportError):
        met(tmp_path)


PATTERNS = st.lists(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "!", "/"]),
            st.sampled_from(
                ["a", "b", "*", "a*", "**", "?", "a/b", "a/**", "**/b", "*.jpg", "[ab]", "b/*", "c", "[!a]*"]
            ),
            st.sampled_from(["", "/", "/*"]),
        ),
    ),
    min_size=1,
    max_size=4,
)
NAMES = ["a", "b.jpg", "c/a", "c/b.jpg", "b/a/b", "b/c/a.jpg", "d/b/a/c", "d/ab"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    put(folder, *NAMES)
    subprocess.run(["git", "init", "-q", str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what it is held against")
@settings(max_examples=60, deadline=None)
@given(top=PATTERNS, inner=PATTERNS)
def test_the_same_as_git(repository: Path, top: list[str], inner: list[str]) -> None:
    for folder, lines in ((repository, top), (repository / "d", inner)):
        rules(folder, *lines)
        shutil.copy(folder / ".clipignore", folder / ".gitignore")
    done = subprocess.run(
        ["git", "-C", str(repository), "ls-files", "--others", "--exclude-standard", "-z"],
        check=True, capture_output=True,
    )  # fmt: skip
    taken = sorted(name for name in done.stdout.decode().split("\0") if name and "ignore" not in name)
    assert met(repository) == taken


def test_from_the_command_line(photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = photo_folder(count=3)
    photo_folder("photos/sub", count=1, seed=1)
    rules(folder, "/000.jpg")
    bundle, db = make_tiny_bundle(tmp_path / "tiny"), tmp_path / "library.db"

    def embed(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["embed", "--db", str(db), "-m", str(bundle), *map(str, arguments)])

    assert "\n2 files: 2 embedded; " in embed(folder, "--exclude", "001.jpg", "--include", "*.jpg").stderr
    assert embed(folder, "--exclude", "!").exit_code == 2
    (folder / "note.txt").write_text("no picture, whatever it is called in the rules")
    (folder / "linked.jpg").symlink_to(photo_folder("elsewhere", count=1, seed=4) / "000.jpg")
    for more in ([], ["--dry-run"]):  # told either way; a folder counts as one, and what is no picture not at all
        told = embed(
            folder, "--exclude", "sub", "--exclude", "linked*", "--exclude", "*.txt", "--exclude", "001.jpg", *more
        ).stderr
        assert "\n3 pictures and 1 folder left out by rules\n" in told
    assert "left out" not in embed(folder / "sub", "--dry-run").stderr
    assert "no pictures there\n1 picture left out" in embed(folder / "sub", "--include", "*.png").stderr
    assert "from before" not in told
    (folder / "linked.jpg").unlink()
    assert "\n3 files: 1 embedded, 2 unchanged" in embed(folder).stderr
    assert embed(folder, "--exclude", "*").exit_code == 0  # what is there stays
    stats = CliRunner().invoke(app, ["library", "roots", "--db", str(db), "--format", "csv"]).stdout
    assert stats.splitlines()[1].split(",")[1] == "3"
    assert "1 embedded" in embed(folder / "000.jpg").stderr  # named itself


def test_what_is_left_out_by_now_and_in_the_library(photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = photo_folder(count=2)
    photo_folder("photos/sub/deep", count=3, seed=1)
    bundle, db = make_tiny_bundle(tmp_path / "tiny"), tmp_path / "library.db"

    def told() -> str:
        return str(CliRunner().invoke(app, ["embed", "--db", str(db), "-m", str(bundle), str(folder)]).stderr)

    assert "from before" not in told()
    rules(folder, "sub/")
    of_those = "pictures of those are in the library from before; to take out: clip library forget"
    assert f"\n1 folder left out by rules\n3 {of_those} {folder}/sub\n" in told()
    (folder / "sub" / "deep" / "000.jpg").unlink()
    rules(folder, "001.jpg")
    rules(folder / "sub", "!001.jpg", "deep/002.jpg")
    assert f"2 {of_those} PATH\n" in told()
    CliRunner().invoke(app, ["library", "forget", "--db", str(db), str(folder / "001.jpg"), str(folder / "sub")])
    assert "from before" not in told()
