"""What reading another project's model comes to, before it is towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from clipcli.bundle.spec import Preprocess
from clipcli.errors import UsageError
from trainer.config import Activation, ArchConfig

__all__ = ["CLIP_MEAN", "CLIP_STD", "Choices", "Found"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures the original release was trained on
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What a person says where a source is silent. A tokenizer may take the place of the source's own."""

    activation: Activation | None = None
    known: bool = False  # the catalogue says it, which knows these weights better than a configuration beside them
    tokenizer: Path | None = None

    def agrees(self, stated: Activation, where: str) -> Activation:
        """The activation that the source at `where` states. Raises UsageError where the person says otherwise.

        Towers run with another activation than the one they were trained with still look alive, and are wrong.
        """
        if self.known and self.activation is not None:
            return self.activation
        if self.activation not in (None, stated):
            raise UsageError(
                f"the source says {stated}, not {self.activation}: leave out --activation, which is for sources that "
                f"say nothing ({where})"
            )
        return stated

    def overruled(self, stated: Activation, where: str) -> tuple[str, ...]:
        """A note where the catalogue knows another activation than the source states."""
        if not self.known or self.activation in (None, stated):
            return ()
        return (f"trained with {self.activation}, as is published; {where} leaves that out and is not followed",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A model of another project: its weights under our names, and all that goes into `model.json`."""

    kind: str  # of the source, for the provenance
    config: ArchConfig
    state: Mapping[str, Tensor]
    preprocess: Preprocess
    tokenizer: bytes  # a tokenizer.json
    text_cleaning: str
    pad_id: int = 0
    licence: str | None = None
    weights: Path  # the file
    notes: tuple[str, ...] = ()  # what was decided, for a person to read
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the provenance
