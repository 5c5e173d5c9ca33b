"""An installed model as a teacher: its vectors for the pictures and texts of a run, by ONNX Runtime.

Texts, and pictures where each is always seen as a whole, are embedded once, before the first step, and kept in the
run's folder. Where pictures are cropped or mirrored, the teacher sees the same crop as the student, at its own size, in
each step.

Shapes: N pictures, T texts, B batch, D the teacher's embedding, S its image size.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import normalise
from clipcli.bundle.spec import PRECISIONS, read_spec
from clipcli.datasets.rows import Row
from clipcli.errors import ImageError, ModelError
from trainer.checkpoints import write_atomically
from trainer.options import TrainOptions
from trainer.pictures import Crop, PictureStore, whole_crop
from trainer.sampling import synonyms

__all__ = ["TEACHER", "Teacher", "spoken_texts", "teacher_side"]

Item = TypeVar("Item")

TEACHER = "teacher.npz"
AT_ONCE = 64
Half = NDArray[np.float16]


def teacher_side(options: TrainOptions) -> int:
    """Pixels that pictures have to keep for the teacher's sake."""
    return read_spec(Path(options.distill)).preprocess.image_size if options.distill is not None else 0


def augmented(options: TrainOptions) -> bool:
    """Whether a picture is seen in different ways."""
    return options.crop_min < 1 or options.flip


def spoken_texts(rows: Sequence[Row], used: Sequence[int], templates: Sequence[str]) -> list[str]:
    """Every text that a batch of the rows `used` can hold, in an order of its own."""
    found: set[str] = set()
    for number in used:
        row = rows[number]
        found.update(row.captions)
        if row.label is not None or not row.captions:
            found.update(template.replace("{}", name) for template in templates for name in synonyms(row.label or ""))
    return sorted(found)


class Teacher:
    """What `model` says of the rows `used`; `learn` has to be called once."""

    def __init__(self, store: PictureStore, used: Sequence[int], options: TrainOptions) -> None:
        assert options.distill is not None
        self.store, self.used, self.templates = store, list(used), options.templates
        device = "cpu" if options.device == "cpu" else "auto"
        bundle = Path(options.distill)
        given = {variant.precision for variant in read_spec(bundle).variants}
        exact = next(precision for precision in PRECISIONS if precision in given)
        self.model = Model.load(bundle, precision=exact, device=device, threads=options.threads or None)
        self.fixed = not augmented(options)
        self.size = self.model.spec.preprocess.image_size
        self.place: dict[str, int] = {}
        self.texts: Half = np.zeros((0, 0), dtype=np.float16)  # (T, D)
        self.images: Half = np.zeros((0, 0), dtype=np.float16)  # (N, D)
        self.row_of: dict[int, int] = {}

    @property
    def logit_scale(self) -> float:
        return self.model.spec.logit_scale

    @property
    def embedding_dim(self) -> int:
        return self.model.spec.embedding_dim

    def learn(self, run: Path, begin: Callable[[str, int], Callable[[int], None]], *, keep: bool) -> None:
        """Embed, or take what an earlier part of the run has kept. Only one process is to `keep`.

        Raises:
            ModelError: the teacher's vectors are not numbers.
        """
        said = spoken_texts(self.store.rows, self.used, self.templates)
        pictures = sorted(self.used) if self.fixed else []
        key = self._key(said, pictures)
        if not self._read(run, key):
            texts = self._all(said, self.model.encode_texts, begin("texts, for the teacher", len(said)))
            images = self._all(pictures, self._embed, begin("pictures, for the teacher", len(pictures)))
            self.texts, self.images = texts.astype(np.float16), images.astype(np.float16)
            if keep:
                self._keep(run, key)
        self.place = {text: at for at, text in enumerate(said)}
        self.row_of = {number: at for at, number in enumerate(pictures)}

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(T, D) of length 1."""
        return _of_length_1(self.texts[[self.place[text] for text in texts]])

    def of_images(self, numbers: Sequence[int], crops: Sequence[Crop]) -> NDArray[np.float32]:
        """(B, D) of length 1, of the rows `numbers` seen as `crops` say. Zeros where a picture has broken."""
        if self.fixed:
            found = np.zeros((len(numbers), self.embedding_dim), dtype=np.float32)
            for place, number in enumerate(numbers):
                found[place] = self.images[self.row_of[number]]
            return _of_length_1(found)
        pixels = np.zeros((len(numbers), 3, self.size, self.size), dtype=np.float32)
        for place, (number, crop) in enumerate(zip(numbers, crops, strict=True)):
            try:
                pixels[place] = self._seen(number, crop)
            except ImageError:
                continue  # the student has noticed as well: the batch is made again
        return self.model.encode_images(pixels) if len(pixels) else pixels.reshape(0, self.embedding_dim)

    def _embed(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        pixels = np.zeros((len(numbers), 3, self.size, self.size), dtype=np.float32)
        for place, number in enumerate(numbers):
            try:
                pixels[place] = self._seen(number, whole_crop())
            except ImageError:
                continue  # broken since the run began: no batch will have it
        return self.model.encode_images(pixels)

    def _seen(self, number: int, crop: Crop) -> NDArray[np.float32]:
        """(3, S, S)."""
        out = np.empty((self.size, self.size, 3), dtype=np.uint8)
        self.store.crop(number, crop, out)
        return normalise(out, self.model.spec.preprocess)

    def _all(
        self,
        items: Sequence[Item],
        embed: Callable[[Sequence[Item]], NDArray[np.float32]],
        advance: Callable[[int], None],
    ) -> NDArray[np.float32]:
        found = [np.zeros((0, self.embedding_dim), dtype=np.float32)]
        for part in _parts(items):
            found.append(embed(part))
            advance(len(part))
        vectors = np.concatenate(found)
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self.model.name} cannot teach: some of its vectors are not finite")
        return vectors

    def _key(self, said: Sequence[str], pictures: Sequence[int]) -> str:
        made = hashlib.sha256(self.model.identity.encode())
        made.update("\0".join(said).encode("utf-8", "surrogatepass"))
        made.update(np.asarray(pictures, dtype=np.int64).tobytes())
        return made.hexdigest()

    def _keep(self, run: Path, key: str) -> None:
        write_atomically(
            run / TEACHER,
            lambda handle: np.savez(handle, key=np.asarray(key), texts=self.texts, images=self.images),
        )

    def _read(self, run: Path, key: str) -> bool:
        path = run / TEACHER
        if not path.exists():
            return False
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                if str(file["key"]) != key:
                    return False
                self.texts, self.images = file["texts"], file["images"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return False  # it can be made again
        return True


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _of_length_1(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    plain = vectors.astype(np.float32)
    found: NDArray[np.float32] = plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)
    return found
