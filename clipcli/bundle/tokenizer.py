"""Text to token numbers, by the model's own `tokenizer.json` (the Hugging Face tokenizers format).

What is done to a text before, and what fills a row behind it, stands in `model.json`.

Shapes: B batch, L tokens (the context length, both markers counted).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.cleaning import clean
from clipcli.bundle.ready_tokenizers import keep_ready, ready_tokenizer
from clipcli.bundle.spec import TOKENIZER_FILE, ModelSpec
from clipcli.errors import ModelError, NotFoundError

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PAD_ID", "Tokenizer"]

# As in the original CLIP: what stands after the end marker is zero, and no text tower looks at it.
PAD_ID = 0


class Tokenizer:
    """Callable: texts in, (B, L) int64 out. Every row holds an end marker; most models' begin with a start marker."""

    def __init__(
        self, backend: tokenizers.Tokenizer, context_length: int, *, cleaning: str = "none", pad_id: int = PAD_ID
    ) -> None:
        if context_length < 3:
            raise ModelError(f"context length {context_length} leaves no room for words")
        backend.no_padding()
        backend.no_truncation()
        markers = backend.encode("").ids
        if len(markers) not in (1, 2) or len(set(markers)) != len(markers):
            wanted = "a start and an end marker, or the end alone"
            raise ModelError(f"{TOKENIZER_FILE}: an empty text must give {wanted}, not {markers}")
        self._backend = backend
        self.context_length = context_length
        self.cleaning = cleaning
        self.start_id, self.end_id = (int(markers[0]) if len(markers) == 2 else None), int(markers[-1])
        self.pad_id = pad_id
        self.vocab_size = int(backend.get_vocab_size(with_added_tokens=True))
        self._spelt: dict[str, int] = {}  # markers as a text may spell them out
        if cleaning == "lower":
            # The library itself is then to take such a text for what it says.
            backend.encode_special_tokens = True
            self._spelt = {backend.id_to_token(marker) or "": int(marker) for marker in markers}

    @classmethod
    def of(cls, folder: Path, spec: ModelSpec) -> Tokenizer:
        """That of the model in `folder`, as its `model.json` says. Raises NotFoundError, ModelError."""
        path, digest = folder / TOKENIZER_FILE, str(spec.files.get(TOKENIZER_FILE, {}).get("sha256", ""))
        ready = ready_tokenizer(path, digest)
        if ready is not None and ready.is_file():
            with suppress(ModelError, OSError):  # cut short, or of a library that reads something else
                return cls.load(ready, spec.context_length, cleaning=spec.text_cleaning, pad_id=spec.pad_id)
        made = cls.load(path, spec.context_length, cleaning=spec.text_cleaning, pad_id=spec.pad_id)
        if ready is not None:
            keep_ready(made._backend, ready)
        return made

    @classmethod
    def load(cls, source: Path, context_length: int, *, cleaning: str = "none", pad_id: int = PAD_ID) -> Tokenizer:
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
        return cls(backend, context_length, cleaning=cleaning, pad_id=pad_id)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(B, L): start, words, end, padding. Longer texts are cut so that the end marker stays last."""
        # Command lines may carry bytes that are no text (lone surrogates), which the tokenizer would refuse.
        texts = [clean(text.encode("utf-8", "replace").decode("utf-8"), self.cleaning) for text in texts]
        rows = np.full((len(texts), self.context_length), self.pad_id, dtype=np.int64)  # (B, L)
        for row, ids in zip(rows, self._numbers(texts), strict=True):
            if len(ids) > self.context_length:
                ids = [*ids[: self.context_length - 1], self.end_id]
            row[: len(ids)] = ids
        return rows

    def full_lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, markers included, before it is cut to the context."""
        texts = [clean(text.encode("utf-8", "replace").decode("utf-8"), self.cleaning) for text in texts]
        return [len(ids) for ids in self._numbers(texts)]

    def _numbers(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The numbers of each text, markers included."""
        for text, encoding in zip(texts, self._backend.encode_batch(texts), strict=True):
            yield self._with_markers(text) if any(marker in text for marker in self._spelt) else encoding.ids

    def _with_markers(self, text: str) -> list[int]:
        """A text with a marker spelt out in it. The original release takes it for one unless signs stand before it."""
        ids, begin = [] if self.start_id is None else [self.start_id], 0
        for found in re.finditer("|".join(map(re.escape, self._spelt)), text):
            before = text[found.start() - 1] if found.start() > begin else " "
            if not before.isspace() and unicodedata.category(before)[0] not in "LN":
                continue
            ids += self._backend.encode(text[begin : found.start()], add_special_tokens=False).ids
            ids.append(self._spelt[found[0]])
            begin = found.end()
        return [*ids, *self._backend.encode(text[begin:], add_special_tokens=False).ids, self.end_id]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text that tokens stand for, without markers, blanks at its ends taken away."""
        return str(self._backend.decode(list(numbers), skip_special_tokens=True)).strip()

    def entries(self) -> list[str]:
        """What the vocabulary holds, spelt its own way, in the order of the numbers."""
        numbers = self._backend.get_vocab(with_added_tokens=False)
        return sorted(numbers, key=lambda entry: numbers[entry])

    def lengths(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, L) -> (B,): tokens up to and with the first end marker, where the text tower takes its feature."""
        return np.asarray(np.argmax(tokens == self.end_id, axis=1) + 1, dtype=np.int64)
