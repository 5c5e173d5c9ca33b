"""`--preview` in terminals that the test plays: what comes out is decoded back to the pictures, in their places."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcli.photos.thumbnails import small_picture, small_pictures
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.previews import long_side, show_previews
from clipcli.render.terminal import Terminal, Way
from tests.pictures.played_terminal import ANSWERS, Played, play
from tests.pictures.screen import Screen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such terminals there")

FOUND = ("red.png", "green.jpg", "blue.png", "yellow.png", "white.png")
CELL = {"kitty": (9, 18), "iterm2": (10, 18), "sixel": (8, 16)}


def search(library: Path, bundle: Path, photos: Path, *more: str, way: str = "old", **options: object) -> Played:
    arguments = ["search", "red", "--db", str(library), "-m", str(bundle), *more]
    return play(arguments, photos, ANSWERS[way], **options)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference per channel, 0 to 255; the sizes may be a pixel apart."""
    assert abs(one.width - other.width) <= 1
    assert abs(one.height - other.height) <= 1
    other = other.resize(one.size)
    return float(np.abs(np.asarray(one, dtype=np.float32) - np.asarray(other, dtype=np.float32)).mean())


def names_below(screen: Screen) -> dict[str, tuple[int, int]]:
    """Where each file's name is written."""
    return {name: (line, text.index(name)) for line, text in enumerate(screen.text()) for name in FOUND if name in text}


@pytest.mark.parametrize("way", ["kitty", "iterm2", "sixel"])
def test_pictures_come_out_as_they_are_and_stand_on_their_names(
    way: str, library: Path, bundle: Path, photos: Path
) -> None:
    played = search(library, bundle, photos, "--preview", way=way)
    assert played.status == 0
    assert played.echoes
    assert played.unread == b""  # every answer was taken
    screen = Screen(100, 40, folds=True).feed(played.output)
    assert screen.unknown == []
    assert {placed.way for placed in screen.pictures} == {way}
    names = names_below(screen)
    assert set(names) == set(FOUND)
    wide, high = CELL[way]
    assert len(screen.pictures) == 5
    for placed in screen.pictures:
        rows = -(-placed.image.height // high)
        below = placed.line + rows + 1  # a line of figures is between
        name = next(name for name, place in names.items() if place == (below, placed.column))
        expected = small_picture(photos / name, long_side=max(placed.image.size))
        # iTerm2 gets a JPEG, a sixel terminal 256 colours: neither is exact.
        assert difference(placed.image, expected) < {"kitty": 0.6, "iterm2": 2.0, "sixel": 4.0}[way], name
        assert placed.image.width <= 24 * wide + 8 * wide
        if way == "iterm2":
            assert int(placed.keys["width"]) == -(-placed.image.width // wide)
            assert int(placed.keys["height"]) == rows


def test_rank_score_date_and_a_link_stand_with_each(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", "-k", "2", way="kitty")
    screen = Screen(100, 40, folds=True).feed(played.output)
    names = names_below(screen)
    line, column = names["red.png"]
    assert screen.text()[line - 1][column:].startswith("1  0.")
    assert "2017-07-14" in screen.text()[line - 1]
    assert screen.cells[line, column].link == (photos / "red.png").as_uri()
    assert "score  picture" not in "\n".join(screen.text())  # the grid stands in for the table


def test_half_blocks_where_nothing_better_is_understood(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", env={"COLORTERM": "truecolor"})
    assert played.status == 0
    screen = Screen(100, 40, folds=True).feed(played.output)
    assert screen.pictures == []
    starts = screen.first_blocks()
    assert len(starts) == 5
    names = names_below(screen)
    for line, column in starts:
        seen = screen.block_picture(line, column)
        name = next(n for n, place in names.items() if place == (line + -(-seen.height // 2) + 1, column))
        expected = small_picture(photos / name, long_side=max(seen.size))
        cut = seen.crop((0, 0, *expected.size)) if seen.height == expected.height + 1 else seen
        assert difference(cut, expected) < 3, name


def test_256_colours_come_near(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", "-k", "1")
    assert b"48;2;" not in played.output
    screen = Screen(100, 40, folds=True).feed(played.output)
    (place,) = screen.first_blocks()
    seen = screen.block_picture(*place)
    expected = small_picture(photos / "red.png", long_side=max(seen.size))
    assert difference(seen, expected) < 30  # steps of 40 and more
    eighth = seen.width // 4, seen.height // 4
    assert difference(seen.resize(eighth, Image.Resampling.BOX), expected.resize(eighth, Image.Resampling.BOX)) < 5


def test_without_colour_the_captions_are_plain_and_the_pictures_stay(library: Path, bundle: Path, photos: Path) -> None:
    """NO_COLOR is about what a program colours unasked (no-color.org); pictures were asked for."""
    played = search(library, bundle, photos, "--preview", "-k", "1", env={"NO_COLOR": "1"})
    assert b"\x1b[1;32m" not in played.output
    assert Screen(100, 40, folds=True).feed(played.output).first_blocks()


@pytest.mark.parametrize("cell", [b"\x1b[6;65535;65535t", b"\x1b[6;0;0t", b"\x1b[6;1;1t", b"\x1b[6;99999999999;8t"])
def test_a_terminal_that_lies_about_its_cells_gets_the_usual_ones(
    cell: bytes, library: Path, bundle: Path, photos: Path
) -> None:
    lies = {**ANSWERS["kitty"], b"\x1b[16t": cell}
    played = play(
        ["search", "red", "--db", str(library), "-m", str(bundle), "-k", "1", "--preview"],
        photos,
        lies,
        pixels=(65535, 65535) if cell.endswith(b"0t") else (0, 0),
    )
    (placed,) = Screen(100, 40, folds=True).feed(played.output).pictures
    assert 300 <= max(placed.image.size) <= 400  # 40 cells of 10


def test_a_terminal_that_does_not_answer_costs_a_second_and_gets_blocks(
    library: Path, bundle: Path, photos: Path
) -> None:
    quick = search(library, bundle, photos, "--preview", "-k", "1", way="old")
    mute = search(library, bundle, photos, "--preview", "-k", "1", way="mute")
    assert mute.status == 0
    assert mute.echoes
    assert Screen(100, 40, folds=True).feed(mute.output).first_blocks()
    assert mute.seconds < quick.seconds + 5  # one, and what a busy machine adds


def test_answers_may_come_in_pieces(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", "-k", "1", way="kitty", piecewise=True)
    assert [placed.way for placed in Screen(100, 40, folds=True).feed(played.output).pictures] == ["kitty"]
    assert played.unread == b""


def test_what_was_typed_ahead_is_for_the_shell(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", "-k", "1", way="kitty", typed=b"ls -l")
    assert played.asked == []
    assert played.unread == b"ls -l"
    assert Screen(100, 40, folds=True).feed(played.output).first_blocks()


@pytest.mark.parametrize("way", ["kitty", "iterm2", "sixel", "blocks"])
def test_a_way_can_be_chosen(way: str, library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview-as", way, "-k", "1", way="old", pixels=(1000, 800))
    screen = Screen(100, 40, folds=True).feed(played.output)
    assert [placed.way for placed in screen.pictures] == ([] if way == "blocks" else [way])
    assert bool(screen.first_blocks()) == (way == "blocks")
    if way == "blocks":
        assert played.asked == []


@pytest.mark.parametrize("env", [{"TMUX": "/tmp/x,1,0"}, {"TERM": "screen-256color"}, {"STY": "1.x"}])
def test_tmux_and_screen_get_blocks_and_are_not_asked(
    env: dict[str, str], library: Path, bundle: Path, photos: Path
) -> None:
    played = search(library, bundle, photos, "--preview", "-k", "1", way="kitty", env=env)
    assert played.asked == []
    assert Screen(100, 40, folds=True).feed(played.output).first_blocks()
    refused = search(library, bundle, photos, "--preview-as", "kitty", way="kitty", env=env)
    assert refused.status == 2
    assert b"lets no pictures of kitty through" in refused.output


def test_a_dumb_terminal_gets_the_table(library: Path, bundle: Path, photos: Path) -> None:
    played = search(library, bundle, photos, "--preview", way="kitty", env={"TERM": "dumb"})
    assert played.status == 0
    assert b"\x1b_G" not in played.output
    assert b"no previews: the output is no terminal that could show pictures" in played.output
    assert b"score" in played.output


@pytest.mark.parametrize("size", [(41, 8), (300, 60), (6, 5)])
@pytest.mark.parametrize("way", list(Way))
def test_the_grid_fits_any_terminal(
    size: tuple[int, int], way: Way, photos: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The screen itself complains where anything is written beyond its edge or the cursor goes above it."""
    tiles = tuple(
        Tile(path=os.fsencode(photos / name), figures=(str(rank), "0.123"), detail="2017-07-14")
        for rank, name in enumerate([*FOUND, "日本語の長い名前" * 9, "gone.jpg"], start=1)
    )
    gallery = Gallery(
        title="", sections=(Section(tiles=tiles[:3], heading="a heading 日本" * 30), Section(tiles=tiles[3:]))
    )
    terminal = Terminal(way=way, columns=size[0], rows=size[1], cell=(8, 16))
    pictures = small_pictures([os.fsdecode(path) for path in gallery.paths], long_side=long_side(gallery, terminal))
    show_previews(gallery, pictures, terminal)
    screen = Screen(*size).feed(capsysbinary.readouterr().out.replace(b"\n", b"\r\n"))  # as a tty does
    assert screen.unknown == []
    assert len(screen.pictures) == (0 if way is Way.blocks else 5)


def test_ctrl_c_in_the_middle_leaves_plain_letters(photos: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    def stopped() -> Iterator[Image.Image]:
        yield small_picture(photos / "red.png", long_side=64)
        raise KeyboardInterrupt

    gallery = Gallery(title="", sections=(Section(tiles=(Tile(path=b"a"), Tile(path=b"b"))),))
    with pytest.raises(KeyboardInterrupt):
        show_previews(gallery, stopped(), Terminal(way=Way.sixel, columns=20, rows=20))
    assert capsysbinary.readouterr().out.endswith(b"\x1b\\\x1b[0m\n")


def test_a_file_that_is_gone_is_a_frame_that_says_so(tmp_path: Path, photos: Path, bundle: Path) -> None:
    from tests.tiny_library import make_tiny_library

    shutil.copytree(photos, tmp_path / "own")
    library = make_tiny_library(tmp_path / "l.db", tmp_path / "own", [bundle])
    (tmp_path / "own" / "red.png").unlink()
    (tmp_path / "own" / "blue.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    played = search(library, bundle, tmp_path, "--preview", way="kitty")
    assert played.status == 0
    screen = Screen(100, 40, folds=True).feed(played.output)
    assert len(screen.pictures) == 3
    text = "\n".join(screen.text())
    assert text.count("cannot be read:") == 2
    assert "no such file" in text
    assert set(names_below(screen)) == set(FOUND)


def test_nothing_of_it_in_a_pipe(library: Path, bundle: Path, photos: Path, run_clip: object) -> None:
    ended = run_clip("search", "red", "--db", library, "-m", bundle, "--preview")
    assert ended.returncode == 0
    assert ended.stdout == run_clip("search", "red", "--db", library, "-m", bundle).stdout
    assert "\x1b" not in ended.stdout
    assert ended.stderr == "no previews: the output is no terminal that could show pictures\n"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_in_a_real_tmux(library: Path, bundle: Path, photos: Path, tmp_path: Path) -> None:
    """What tmux itself has on its screen, its own escapes read back, is the pictures."""
    tmux = ["tmux", "-S", str(tmp_path / "s"), "-f", "/dev/null"]
    command = f"sleep 0.3; {sys.executable} -m clipcli search red --db {library} -m {bundle} -k 3 --preview"
    started = [*tmux, "new-session", "-d", "-x", "100", "-y", "40", "-s", "t", "env", "-u", "COLORTERM", "sh", "-c"]
    subprocess.run([*started, f"{command}; sleep 60"], check=True, cwd=photos)
    try:
        deadline = time.monotonic() + 30
        captured = b""
        while time.monotonic() < deadline and b"3 of 5" not in captured:
            time.sleep(0.2)
            captured = subprocess.run([*tmux, "capture-pane", "-p", "-e"], check=True, capture_output=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
    screen = Screen(100, 40, folds=True).feed(captured.replace(b"\n", b"\r\n"))
    starts = screen.first_blocks()
    assert len(starts) == 3
    names = names_below(screen)
    assert len(names) == 3
    for line, column in starts:
        seen = screen.block_picture(line, column)
        name = next(n for n, place in names.items() if place == (line + -(-seen.height // 2) + 1, column))
        assert difference(seen, small_picture(photos / name, long_side=max(seen.size))) < 6, name
