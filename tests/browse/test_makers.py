"""A picture whose decoder crashes, hangs or swells costs one request, and the next one is answered."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcli.browse import makers as module
from clipcli.browse.makers import Makers
from clipcli.bundle.preprocess import resize_and_crop
from clipcli.errors import ImageError
from tests.tiny_bundle import PREPROCESS


@pytest.fixture(scope="module")
def makers() -> Iterator[Makers]:
    makers = Makers()
    yield makers
    makers.close()


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    path = tmp_path / "picture.png"
    Image.new("RGB", (80, 40), (200, 30, 30)).save(path)
    return os.fsencode(path)


def test_a_jpeg_and_what_a_model_sees(makers: Makers, picture: bytes) -> None:
    made = makers.make(picture, long_side=20, preprocess=PREPROCESS)
    assert Image.open(io.BytesIO(made.jpeg)).size == (20, 10)
    assert (made.width, made.height, made.format) == (80, 40, "PNG")
    assert made.levels is not None
    expected = np.asarray(resize_and_crop(Image.open(os.fsdecode(picture)), PREPROCESS))
    assert (made.levels == expected).all()
    whole = makers.make(picture, long_side=None)
    assert Image.open(io.BytesIO(whole.jpeg)).size == (80, 40)
    assert whole.levels is None


def test_what_is_no_picture_says_why(makers: Makers, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("text", encoding="utf-8")
    Image.new("L", (65_600, 1)).save(tmp_path / "ribbon.png")
    for name, reason in (("pipe", "missing"), ("none", "missing"), (".", "missing"), ("text", "not-an-image")):
        with pytest.raises(ImageError) as refused:
            makers.make(os.fsencode(tmp_path / name), long_side=320)
        assert refused.value.reason == reason
    with pytest.raises(ImageError, match="cannot be shown as a JPEG"):  # a side is too long for one
        makers.make(os.fsencode(tmp_path / "ribbon.png"), long_side=None)
    assert makers.make(os.fsencode(tmp_path / "ribbon.png"), long_side=320).width == 65_600


def test_large_pictures_are_made_in_a_process_that_ends_with_them(
    makers: Makers, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIDE_BY_SIDE_MEGAPIXELS", 0.001)
    makers.start()
    (before,) = makers._all
    assert makers.make(picture, long_side=20).width == 80
    assert before not in makers._all
    with pytest.raises(ImageError, match=r"more than 0\.002") as refused:
        makers.make(picture, long_side=20, max_megapixels=0.002)
    assert refused.value.reason == "too-large"


def test_one_that_crashes_costs_one_request(makers: Makers, picture: bytes) -> None:
    makers.start()
    for process in list(makers._all):
        process.kill()
        process.wait()
    with pytest.raises(ImageError, match="crashed") as refused:
        makers.make(picture, long_side=20)
    assert refused.value.reason == "crashed"
    assert makers.make(picture, long_side=20).width == 80


def test_one_that_hangs_is_ended(picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is stopped in its tracks, which is as good as a decoder that goes round in circles."""

    makers = Makers(limit_s=0.5)
    makers.start()
    for process in makers._all:
        process.send_signal(signal.SIGSTOP)
    with pytest.raises(ImageError, match=r"not decoded within 0\.5 seconds") as refused:
        makers.make(picture, long_side=20)
    assert refused.value.reason == "too-slow"
    assert not makers._all
    makers.close()


def test_the_end_does_not_wait_for_what_is_at_work(picture: bytes) -> None:

    makers = Makers()
    makers.start()
    for process in makers._all:
        process.send_signal(signal.SIGSTOP)
    failed: list[ImageError] = []

    def ask() -> None:
        try:
            makers.make(picture, long_side=20)
        except ImageError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    makers.close()
    thread.join(10)
    assert len(failed) == 1
    with pytest.raises(ImageError, match="ending"):
        makers.make(picture, long_side=20)
