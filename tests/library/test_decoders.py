"""Decoders that crash, hang or eat all memory: each costs its file, and the run goes on.

The faults are put into the decoding processes by the tests: a JPEG 2000 decoder that does what the width says.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.errors import ClipError
from clipcli.library import decoder, indexing
from clipcli.library.decoder import DecoderGoneError, DecoderProcess, Wish
from clipcli.library.decoders import Decoders
from tests.library.conftest import Index

Photos = Callable[..., Path]
InDecoders = Callable[[str], None]

FAULTS = """
import ctypes, os, signal, time
from PIL import Jpeg2KImagePlugin

def spin(self):
    # In C, with the interpreter's lock held: no Python thread and no signal handler gets a turn.
    ctypes.PyDLL(None).PyObject_Call(ctypes.py_object(pow), ctypes.py_object((7, 10 ** 9)), None)

def out_of_memory(self):
    raise MemoryError

FAULTS = {
    11: lambda self: ctypes.string_at(0),
    12: lambda self: os.kill(os.getpid(), signal.SIGABRT),
    13: lambda self: time.sleep(1000),
    14: spin,
    15: out_of_memory,
    16: lambda self: os._exit(0),
    17: lambda self: os.kill(os.getpid(), signal.SIGKILL),
}
load = Jpeg2KImagePlugin.Jpeg2KImageFile.load
Jpeg2KImagePlugin.Jpeg2KImageFile.load = lambda self: FAULTS.get(self.width, load)(self)
"""


@pytest.fixture(autouse=True)
def processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", Decoders)


def faulty(folder: Path, width: int, name: str = "") -> Path:
    path = folder / (name or f"{width}.jp2")
    Image.new("RGB", (width, 20), (width, 90, 200)).save(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_each_fault_costs_its_file_and_nothing_else(
    index: Index, photo_folder: Photos, in_decoders: InDecoders, library_file: Path
) -> None:
    in_decoders(FAULTS)
    folder = photo_folder(count=9)
    for width in range(10, 18):
        faulty(folder, width)
    began = time.monotonic()
    report = index(folder, seconds_per_file=1.5, workers=2)
    assert time.monotonic() - began < 30
    assert report.embedded == 10  # the photographs, and the one without a fault
    said = {os.path.basename(skip.path): (skip.reason, skip.detail) for skip in report.newly_skipped}
    assert said == {
        b"11.jp2": ("crashed", "its decoder crashed (SIGSEGV)"),
        b"12.jp2": ("crashed", "its decoder crashed (SIGABRT)"),
        b"13.jp2": ("too-slow", "not read within 1.5 seconds"),
        b"14.jp2": ("too-slow", "not read within 1.5 seconds"),
        b"15.jp2": ("out-of-memory", "not enough memory for it"),
        b"16.jp2": ("crashed", "its decoder crashed (exit code 0)"),
        b"17.jp2": ("out-of-memory", "the system ended its decoder, probably for want of memory"),
    }
    again = index(folder, seconds_per_file=1.5)
    assert (again.unchanged, again.newly_skipped, again.known_bad) == (10, [], 7)


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_a_higher_limit_tries_slow_files_again(index: Index, tmp_path: Path, in_decoders: InDecoders) -> None:
    in_decoders(
        "import time; from PIL import Jpeg2KImagePlugin as J; load = J.Jpeg2KImageFile.load\n"
        "J.Jpeg2KImageFile.load = lambda self: time.sleep(1) or load(self)"
    )
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.linear_gradient("L").save(folder / "a.jp2")
    assert [skip.reason for skip in index(folder, seconds_per_file=0.3).newly_skipped] == ["too-slow"]
    assert index(folder, seconds_per_file=0.3).known_bad == 1
    assert index(folder, seconds_per_file=20.0).embedded == 1


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_a_file_that_another_one_has_broken_the_process_for_is_tried_again(
    index: Index, photo_folder: Photos, in_decoders: InDecoders
) -> None:
    """Memory that a damaged file has spoilt may bring down the process at a later, innocent one."""
    in_decoders("""
import os, signal
from clipcli.photos import decode
from clipcli.library import decoding_process
whole, count = decoding_process.decode_frames, [0]
def third_time_lucky(*arguments, **options):
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(*arguments, **options)
decoding_process.decode_frames = third_time_lucky
""")
    assert index(photo_folder(count=8), workers=1).embedded == 8


def test_decoders_write_nothing_into_the_pipe_or_on_the_terminal(
    index: Index, photo_folder: Photos, in_decoders: InDecoders, capfd: pytest.CaptureFixture[str]
) -> None:
    in_decoders("""
import os
from clipcli.library import decoding_process
whole = decoding_process.decode_frames
def loud(*arguments, **options):
    os.write(1, b"libfoo: warning\\n")
    os.write(2, b"libfoo: corrupt data\\n")
    return whole(*arguments, **options)
decoding_process.decode_frames = loud
""")
    assert index(photo_folder(count=2)).embedded == 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_no_process_is_left_behind(photo_folder: Photos, model: Model) -> None:
    with closing(Decoders(model.spec.preprocess)) as several:
        several.start(2)
        with several.one() as one, several.one() as other:
            started = [one._process.pid, other._process.pid]
        assert len(set(started)) == 2
    for number in started:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    with pytest.raises(DecoderGoneError), several.one():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_a_process_ends_with_the_run_that_started_it(tmp_path: Path, model: Model) -> None:
    """Also when the run is killed: its end of the pipe is closed then, and an alarm is set before each file."""
    several = Decoders(model.spec.preprocess)
    with several.one() as one:
        photo = tmp_path / "a.png"
        Image.new("RGB", (9, 9)).save(photo)
        one.open(os.fsencode(photo), size=1, limit_s=20)
        assert one._process.stdin is not None
        one._process.stdin.close()
        assert one._process.wait(10) == 0
    several.close()


def test_a_process_that_does_not_start_is_said_in_one_line(
    index: Index, photo_folder: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", "import sys; sys.exit(9)")
    with pytest.raises(ClipError, match=r"does not start \(exit code 9\)"):
        index(photo_folder(count=1))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ClipError, match="cannot be started"):
        index(photo_folder(count=1))


def test_modules_of_the_folder_we_are_in_are_not_imported(
    index: Index, photo_folder: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder(count=1)
    (folder / "json.py").write_text("raise SystemExit(3)")
    (folder / "PIL.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(folder)
    assert index(folder).embedded == 1


def test_large_pictures_are_decoded_one_at_a_time(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcli.library.reading._SIDE_BY_SIDE_MEGAPIXELS", 0.01)
    asked: list[float] = []
    inside, most = [0], [0]
    decode = DecoderProcess.decode

    def counting(self: DecoderProcess, wish: Wish) -> object:
        asked.append(wish.max_megapixels)
        large = wish.max_megapixels > 0.01
        inside[0] += large
        most[0] = max(most[0], inside[0])
        try:
            if large:
                time.sleep(0.05)
            return decode(self, wish)
        finally:
            inside[0] -= large

    monkeypatch.setattr(DecoderProcess, "decode", counting)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        Image.linear_gradient("L").resize((200, 100 + number)).save(folder / f"{number}.png")
    assert index(folder, workers=3, max_megapixels=0.5).embedded == 8
    assert asked.count(0.01) == asked.count(0.5) == 8
    assert most == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_time_in_which_the_run_was_stopped_does_not_count(tmp_path: Path, model: Model) -> None:
    """Ctrl-Z stops the run and its processes alike; what it was doing goes on afterwards."""
    slept = [0.0, *(100.0 + number for number in range(100))]
    clock = iter(slept)
    with closing(Decoders(model.spec.preprocess)) as several, several.one() as one:
        photo = tmp_path / "a.png"
        Image.new("RGB", (9, 9)).save(photo)
        one.open(os.fsencode(photo), size=1, limit_s=20)
        os.kill(one._process.pid, signal.SIGSTOP)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoder.time, "monotonic", lambda: next(clock))
            patch.setattr(decoder, "_SLICE_S", 0.05)
            assert not one._answers_within(0.4)
        assert next(clock) >= 105.0  # the hundred seconds of the first slice were not the end of it
