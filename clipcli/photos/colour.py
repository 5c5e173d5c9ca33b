"""Whatever a decoder gives, as 8-bit RGB: alpha over white, wide greys scaled, CMYK, palettes and Lab converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

__all__ = ["to_rgb"]


def to_rgb(image: Picture) -> Picture:
    """The picture in mode RGB; the same object where it is that already. Raises what Pillow raises."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        import numpy as np  # late: processes that only decode start without it, and most never need it

        return _grey(np.asarray(image))
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "LAB":
        return _from_lab(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Picture) -> Picture:
    """What shows through a transparent pixel is white, as on a page; its hidden colour is often arbitrary."""
    from PIL import Image

    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    page = Image.new("RGB", image.size, (255, 255, 255))
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _grey(values: NDArray[np.generic]) -> Picture:
    """(H, W) of more than 8 bits -> RGB.

    The range is the nearest one that has a meaning: 0..1 for floats, 0..255, 0..65535; else what the values span.
    Pillow's own conversion clips everything above 255 to white.
    """
    import numpy as np
    from PIL import Image

    wide = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)  # (H, W)
    low, high = float(wide.min()), float(wide.max())
    if low >= 0 and values.dtype == np.uint16:
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1 and np.issubdtype(values.dtype, np.floating):
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    span = high - low
    levels = np.rint((wide - low) * (255.0 / span)) if span > 0 else np.zeros_like(wide)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")


def _from_lab(image: Picture) -> Picture:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # only an in-place conversion returns nothing
    return converted
