"""Vocabularies in the form that is read soonest, kept in the cache folder.

The tokenizers library reads the merges of a large vocabulary in half the time where each is one text ("a b") and not a
list of two (docs/experiments.md); it writes lists. A model's own file stays as it is.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

__all__ = ["keep_ready", "ready_tokenizer"]

_WORTH_IT = 1 << 19  # bytes: what is smaller is read as quickly
_KEPT = 8  # files, those made last


def ready_tokenizer(path: Path, digest: str) -> Path | None:
    """Where the quick form of the file `path` with this SHA-256 is kept or will be; None for a small one."""
    try:
        if not digest or path.stat().st_size < _WORTH_IT:
            return None
    except OSError:
        return None
    import platformdirs

    return platformdirs.user_cache_path("clip", appauthor=False) / "tokenizers" / f"{digest[:32]}.json"


def keep_ready(backend: tokenizers.Tokenizer, ready: Path) -> None:
    """Write the quick form of what has been read, unless it is not the same or cannot be written."""
    plain = backend.to_str()
    quick = _with_short_merges(json.loads(plain))
    if quick is None or type(backend).from_str(quick).to_str() != plain:
        return
    partial = ready.with_name(f".{ready.name}.{os.getpid()}.part")
    with suppress(OSError):  # no room, no permission: slower, not impossible
        ready.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in sorted(ready.parent.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)[
            _KEPT - 1 :
        ]:
            old.unlink()
        try:
            partial.write_text(quick, encoding="utf-8")
            partial.replace(ready)
        finally:
            partial.unlink(missing_ok=True)


def _with_short_merges(said: dict[str, Any]) -> str | None:
    merges = said.get("model", {}).get("merges")
    if not isinstance(merges, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in merges):
        return None  # no vocabulary of merges, or one that has the quick form already
    if any(" " in part for pair in merges for part in pair):
        return None
    said["model"]["merges"] = [" ".join(pair) for pair in merges]
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
