"""How large a picture may be on this machine: what is decoded has to fit into its memory beside everything else."""

from __future__ import annotations

import os
from functools import cache

__all__ = ["fitting_megapixels"]

# What a pixel takes while a picture is decoded, put over white, turned and resized: measured with PNG, TIFF, JPEG 2000
# and HEIF, the most of them.
_BYTES_PER_PIXEL = 16
_SHARE = 4  # a quarter of the memory
_LEAST, _MOST = 50.0, 1000.0
_UNKNOWN_BYTES = 8 << 30  # where the system does not say
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def fitting_megapixels() -> float:
    """The most megapixels a picture may have when nobody says otherwise: what a quarter of the memory holds."""
    return float(min(_MOST, max(_LEAST, _memory_bytes() / _SHARE / _BYTES_PER_PIXEL // 1e6)))


def _memory_bytes() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        memory = _UNKNOWN_BYTES
    for name in _CONTAINER_LIMITS:
        try:
            with open(name) as file:
                memory = min(memory, int(file.read()))
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return memory
