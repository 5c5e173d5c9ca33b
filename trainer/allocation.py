"""Memory that one step frees stays with the process for the next, in large pages where the system has them."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
MOST = 2**31 - 1  # bytes; a C int
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch asks for them with madvise(2), where it is "1"
PERSONS = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Ask so of the C library and of torch, best before the first tensor; whether it was done.

    glibc hands a large block back to the system when it is freed, and the next step gets it anew, page by page, each
    filled with zeros first: a tenth of a small convolutional tower's step. Nothing is changed on other systems, nor
    where the environment already says how memory is to be had.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in PERSONS):
        return False
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(name, MOST) == 1 for name in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
