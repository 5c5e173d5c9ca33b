"""`from clipcli import Library, Model`: the suite for Python programs. docs/python.md shows it at work.

Paths are `str` or `Path`; errors are those of `clipcli.errors`. Nothing is printed.
"""

from __future__ import annotations

from clipcli.interface.library import Library, Match
from clipcli.interface.model import Model

__all__ = ["Library", "Match", "Model"]
