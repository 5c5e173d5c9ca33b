"""clip: ask your own folders of pictures questions, on your own machine."""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`clipcli.__version__`, read from the installed package only when somebody asks."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("clipcli")
    except PackageNotFoundError:
        return "unknown (not installed)"
