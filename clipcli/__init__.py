"""clip: ask your own folders of pictures questions, on your own machine.

    from clipcli import Library, Model

is the suite for Python programs (docs/python.md). Importing this package loads nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# What libraries have to be told before anybody imports them. ONNX Runtime reports each session to its maker otherwise,
# and keeps a database for it; OpenBLAS has its threads turn for some 50 ms after each product, while others wait.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")  # 2 to the power of it, in cycles

if TYPE_CHECKING:
    from clipcli.interface import Library, Model

    __version__: str

__all__ = ["Library", "Model", "__version__"]


def __getattr__(name: str) -> Any:
    """What is asked for, imported or looked up only then."""
    if name in ("Library", "Model"):
        from clipcli import interface

        return getattr(interface, name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))


def _version() -> str:
    """From the installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("clipcli")
    except PackageNotFoundError:
        return "unknown (not installed)"
