"""Pictures that a command is given by name: none can hold it for ever, and of many none can take it along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.errors import ImageError
from clipcli.library import decoded_picture
from clipcli.library.decoded_picture import PictureDecoder
from clipcli.photos.decode import open_image

CRASH = """
import os
from clipcli.library import decoding_process
real = decoding_process.decode_frames
def decode(file, *, name, **options):
    if b"crash" in name:
        os.abort()
    return real(file, name=name, **options)
decoding_process.decode_frames = decode
"""


@pytest.fixture
def files(tmp_path: Path) -> list[bytes]:
    names = ["a.png", "b.jpg", "crash.png", "c.png", "d.webp"]
    for number, name in enumerate(names):
        Image.new("RGB", (90 + number, 60), (number * 50, 90, 20)).save(tmp_path / name)
    return [bytes(tmp_path / name) for name in names]


@pytest.mark.parametrize("count", [1, 5])
def test_here_and_elsewhere_the_pixels_are_the_same(count: int, files: list[bytes], model: Model) -> None:
    spec = model.spec.preprocess
    with closing(PictureDecoder(spec, count=count)) as decoder:
        for file in files:
            expected = to_pixels(open_image(file.decode(), hint=spec.image_size), spec)
            np.testing.assert_array_equal(decoder.pixels(file), expected)
        with pytest.raises(ImageError) as caught:
            decoder.pixels(files[0] + b"not there")
        assert caught.value.reason == "missing"


@pytest.mark.parametrize("count", [2, 5])
def test_one_that_crashes_among_several(
    count: int, files: list[bytes], model: Model, in_decoders: Callable[[str], None]
) -> None:
    in_decoders(CRASH)
    with closing(PictureDecoder(model.spec.preprocess, count=count)) as decoder:
        for file in files[-count - 1 : -1]:
            if b"crash" in file:
                with pytest.raises(ImageError, match="crashed") as caught:
                    decoder.pixels(file)
                assert caught.value.reason == "crashed"
            else:
                assert decoder.pixels(file).shape[0] == 3


def test_one_that_hangs_alone(files: list[bytes], model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*arguments: Any, **options: Any) -> Any:
        over.wait()
        raise ImageError("given up", reason="damaged")

    monkeypatch.setattr(decoded_picture, "open_image", hang)
    monkeypatch.setattr(decoded_picture, "_LIMIT_S", 0.05)
    with closing(PictureDecoder(model.spec.preprocess, count=1)) as decoder:
        with pytest.raises(ImageError, match=r"not read within 0\.05 seconds") as caught:
            decoder.pixels(files[0])
        assert caught.value.reason == "too-slow"
    over.set()


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_left_of_a_file_that_was_cut_short(count: int, tmp_path: Path, model: Model) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "whole.jpg").read_bytes()[:-2000])
    with closing(PictureDecoder(model.spec.preprocess, count=count)) as decoder:
        with pytest.raises(ImageError) as caught:
            decoder.pixels(bytes(cut))
        assert caught.value.reason == "truncated"
    with closing(PictureDecoder(model.spec.preprocess, count=count, accept_truncated=True)) as decoder:
        assert decoder.pixels(bytes(cut)).shape == decoder.pixels(bytes(tmp_path / "whole.jpg")).shape
