"""What the figures were taken on: a benchmark without its machine says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe"]

_TELLING = ("onnxruntime-gpu", "onnxruntime", "numpy", "pillow")


def describe() -> list[str]:
    """Lines: processor, memory, system, Python, the libraries that decide the speed."""
    return [
        f"processor: {_processor()}, {_usable_cores()} usable cores",
        f"memory: {_memory_gib():.0f} GiB",
        f"system: {platform.system()} {platform.release()} on {platform.machine()}",
        f"python: {platform.python_version()}",
        f"libraries: {', '.join(_libraries())}",
    ]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return float("nan")


def _libraries() -> list[str]:
    found = []
    for name in _TELLING:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
