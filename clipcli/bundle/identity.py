"""What a model's identity is a digest of, besides its weights: everything else that decides what comes out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from clipcli.bundle.spec import Preprocess

__all__ = ["graphs_identity", "use_facts"]


def use_facts(preprocess: Preprocess, context_length: int, *, cleaning: str, pad_id: int) -> bytes:
    """Preprocessing and what is done to texts, as bytes that differ where any of it does."""
    prepared = asdict(preprocess)
    # Left out where they say nothing: models from before these were written down keep their identity.
    if preprocess.crop_rounding == "half_even":
        del prepared["crop_rounding"]
    facts: dict[str, object] = {"preprocess": prepared, "context_length": context_length}
    if cleaning != "none":
        facts["text_cleaning"] = cleaning
    if pad_id:
        facts["pad_id"] = pad_id
    return json.dumps(facts, sort_keys=True).encode()


def graphs_identity(graphs: Iterable[Path], facts: bytes, tokenizer: bytes) -> str:
    """64 hex digits for a model that comes as graphs: over the files of its most exact precision, in this order."""
    digest = hashlib.sha256(b"clip graphs 1\n")
    for path in graphs:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(facts)
    digest.update(tokenizer)
    return digest.hexdigest()
