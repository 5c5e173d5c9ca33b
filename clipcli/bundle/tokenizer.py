"""Text to token numbers, by the model's own `tokenizer.json` (the Hugging Face tokenizers format).

Shapes: B batch, L tokens (the context length, both markers counted).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.errors import ModelError, NotFoundError

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PAD_ID", "Tokenizer"]

# As in the original CLIP: what stands after the end marker is zero, and no text tower looks at it.
PAD_ID = 0


class Tokenizer:
    """Callable: texts in, (B, L) int64 out. Every row starts with the start marker and holds an end marker."""

    def __init__(self, backend: tokenizers.Tokenizer, context_length: int) -> None:
        if context_length < 3:
            raise ModelError(f"context length {context_length} leaves no room for words")
        backend.no_padding()
        backend.no_truncation()
        markers = backend.encode("").ids
        if len(markers) != 2 or markers[0] == markers[1]:
            raise ModelError(f"{TOKENIZER_FILE}: an empty text must give a start and an end marker, not {markers}")
        self._backend = backend
        self.context_length = context_length
        self.start_id, self.end_id = int(markers[0]), int(markers[1])
        self.pad_id = PAD_ID
        self.vocab_size = int(backend.get_vocab_size(with_added_tokens=True))

    @classmethod
    def load(cls, source: Path, context_length: int) -> Tokenizer:
        """From a bundle folder or a `tokenizer.json`. Raises NotFoundError, ModelError."""
        # One thread: texts come in small batches, and a pool of threads warns at every later fork (training's workers).
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import tokenizers

        path = source / TOKENIZER_FILE if source.is_dir() else source
        if not path.is_file():
            raise NotFoundError(f"no tokenizer at {path}")
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception for every fault in the file
            raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
        return cls(backend, context_length)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(B, L): start, words, end, zeros. Longer texts are cut so that the end marker stays last."""
        # Command lines may carry bytes that are no text (lone surrogates), which the tokenizer would refuse.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = np.full((len(clean), self.context_length), self.pad_id, dtype=np.int64)  # (B, L)
        for row, encoding in zip(rows, self._backend.encode_batch(clean), strict=True):
            ids = encoding.ids
            if len(ids) > self.context_length:
                ids = [*ids[: self.context_length - 1], self.end_id]
            row[: len(ids)] = ids
        return rows

    def lengths(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, L) -> (B,): tokens up to and with the first end marker, where the text tower takes its feature."""
        return np.asarray(np.argmax(tokens == self.end_id, axis=1) + 1, dtype=np.int64)
