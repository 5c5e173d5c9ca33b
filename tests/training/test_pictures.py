"""Pictures are decoded once, kept within a budget, and cropped inside their edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipcli.datasets.sources import Row
from clipcli.errors import ImageError
from tests.training.tiny import PREPROCESS, SIDE
from trainer import pictures
from trainer.pictures import Crop, PictureStore, available_memory

WHOLE = Crop(side=1.0, across=0.5, down=0.5, mirrored=False)
LOTS = 1 << 30


def rows_of(*images: Path | bytes) -> list[Row]:
    return [Row(image=image, name=f"row {number}", captions=("x",)) for number, image in enumerate(images)]


def store_of(*images: Path | bytes, crop_min: float = 1.0, budget: int = LOTS) -> PictureStore:
    return PictureStore(rows_of(*images), PREPROCESS, crop_min=crop_min, budget=budget)


def cropped(store: PictureStore, number: int, crop: Crop = WHOLE) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    out = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    store.crop(number, crop, out)
    return out


def picture(path: Path, width: int, height: int) -> Path:
    """Red grows from left to right, green from top to bottom."""
    levels = np.zeros((height, width, 3), dtype=np.uint8)
    levels[..., 0] = np.linspace(0, 255, width).astype(np.uint8)[None, :]
    levels[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    Image.fromarray(levels).save(path)
    return path


def test_each_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    original = pictures.open_image
    monkeypatch.setattr(
        pictures, "open_image", lambda image, hint: (decoded.append(image), original(image, hint=hint))[1]
    )
    one, two = picture(tmp_path / "1.png", 50, 40), picture(tmp_path / "2.png", 50, 60)
    raw = one.read_bytes()
    store = store_of(one, two, one, one, raw, raw)
    moved: list[int] = []
    assert store.load(range(6), moved.append) == []
    assert sorted(map(str, decoded)) == sorted(map(str, [one, two, raw]))
    assert sum(moved) == 6
    assert (cropped(store, 0) == cropped(store, 3)).all()
    assert store.kept[0] is store.kept[2]
    assert len(decoded) == 3
    assert store.digests[0] == store.digests[4] != store.digests[1]


def test_what_does_not_fit_is_decoded_again_and_is_the_same(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{number}.png", 70 + number, 80) for number in range(4)]
    crop = Crop(side=0.6, across=0.3, down=0.9, mirrored=True)
    roomy, tight = store_of(*paths, crop_min=0.5), store_of(*paths, crop_min=0.5, budget=20_000)
    for store in (roomy, tight):
        assert store.load(range(4), lambda count: None) == []
    assert len(roomy.kept) == 4
    assert 0 < len(tight.kept) < 4
    assert sum(kept.nbytes for kept in tight.kept.values()) <= 20_000
    for number in range(4):
        assert (cropped(roomy, number, crop) == cropped(tight, number, crop)).all()


def test_bad_pictures_are_named_with_every_row(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png", 40, 40)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    store = store_of(bad, good, tmp_path / "gone.png", bad, b"")
    assert store.load(range(5), lambda count: None) == [
        (0, "not-an-image"),
        (2, "missing"),
        (3, "not-an-image"),
        (4, "empty"),
    ]
    assert list(store.kept) == [1]


def test_a_picture_that_vanishes_in_mid_run_is_named(tmp_path: Path) -> None:
    path = picture(tmp_path / "1.png", 40, 40)
    store = store_of(path, budget=0)
    store.load([0], lambda count: None)
    path.unlink()
    with pytest.raises(ImageError) as caught:
        cropped(store, 0)
    assert (caught.value.reason, str(caught.value)) == ("missing", "no such file")


@pytest.mark.parametrize(
    ("size", "crop_min", "kept"), [((200, 100), 1.0, (64, 32)), ((200, 100), 0.5, (80, 40)), ((20, 30), 0.5, (20, 30))]
)
def test_kept_no_larger_than_can_be_seen(
    tmp_path: Path, size: tuple[int, int], crop_min: float, kept: tuple[int, int]
) -> None:
    store = store_of(picture(tmp_path / "1.png", *size), crop_min=crop_min)
    store.load([0], lambda count: None)
    assert store.kept[0].shape == (kept[1], kept[0], 3)


def test_a_crop_shows_the_part_it_names(tmp_path: Path) -> None:
    store = store_of(picture(tmp_path / "1.png", 120, 40))
    corner = cropped(store, 0, Crop(side=0.5, across=1.0, down=0.0, mirrored=False))
    assert corner[..., 0].min() > 200  # the right end
    assert corner[..., 1].max() < 140  # the upper half
    mirrored = cropped(store, 0, Crop(side=0.5, across=1.0, down=0.0, mirrored=True))
    assert (mirrored == corner[:, ::-1]).all()
    assert not (mirrored == corner).all()


def test_the_whole_crop_of_a_square_is_what_inference_sees(tmp_path: Path) -> None:
    store = store_of(picture(tmp_path / "1.png", SIDE, SIDE))
    assert (cropped(store, 0) == store.whole(0)).all()


shares = st.floats(0.0, 1.0)


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.01, 1.0), shares, shares)
def test_crops_stay_inside(width: int, height: int, side: float, across: float, down: float) -> None:
    """Pillow refuses a box beyond the edge; and no level appears that the picture does not have."""
    levels = np.full((height, width, 3), 128, dtype=np.uint8)
    store = store_of(b"")
    store.kept[0] = levels
    assert (cropped(store, 0, Crop(side=side, across=across, down=down, mirrored=False)) == 128).all()


def test_wholes_stand_in_order_with_errors_in_place(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{number}.png", 30 + 20 * number, 40) for number in range(3)]
    store = store_of(paths[2], b"bad", paths[0])
    moved: list[int] = []
    first, bad, last = store.wholes([0, 1, 2], moved.append)
    assert isinstance(bad, ImageError)
    assert not isinstance(first, ImageError)
    assert not isinstance(last, ImageError)
    assert (first == store.whole(0)).all()
    assert (last == store.whole(2)).all()
    assert moved == [3]


def test_memory_is_a_sensible_number() -> None:
    assert 1 << 24 < available_memory() < 1 << 46


def test_memory_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*given: object, **named: object) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(Path, "read_text", lambda *given, **named: "SomethingElse: 1 kB\n")
    if hasattr(pictures.os, "sysconf"):
        assert available_memory() > 1 << 20
        monkeypatch.setattr(pictures.os, "sysconf", unknown)
    assert available_memory() == 2 << 30
