"""SigLIP's vocabulary as transformers keeps it, `spiece.model`, made into a `tokenizer.json`.

The file is a protocol buffer of sentencepiece (Kudo & Richardson 2018, `sentencepiece_model.proto`): pieces with their
scores, and the table its normaliser goes by. What transformers' `SiglipTokenizer` does to a text before (small letters,
no ASCII punctuation, single spaces, as SigLIP was trained) becomes part of the new file's normaliser.
"""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import ModelError, UsageError

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PIECES_FILE", "siglip_tokenizer"]

PIECES_FILE = "spiece.model"
_LARGEST = 64 << 20  # bytes
_UNIGRAM = 1
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_END = "</s>"


def siglip_tokenizer(path: Path, *, lower: bool) -> bytes:
    """`tokenizer.json` for the pieces in the file at `path`.

    Raises UsageError where they are of a kind that is not read here, ModelError where the file is damaged.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    found = _read(path)
    pieces = [(str(one.piece), float(one.score)) for one in found.pieces]
    kinds = {int(one.type) for one in found.pieces}
    names = [name for name, _ in pieces]
    if found.trainer_spec.model_type != _UNIGRAM or kinds - {_NORMAL, _UNKNOWN, _CONTROL} or _END not in names:
        raise UsageError(
            f"{path} is no vocabulary of the first SigLIP's kind: give --tokenizer FILE, the tokenizer.json of the "
            "model's repository"
        )
    unknown = next((number for number, one in enumerate(found.pieces) if one.type == _UNKNOWN), None)
    if unknown is None or len(set(names)) != len(names):
        raise ModelError(f"{path} is damaged: pieces that are there twice, or none for what is unknown")
    made = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    steps: list[tokenizers.normalizers.Normalizer] = [normalizers.Lowercase()] if lower else []
    steps += [
        normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
        normalizers.Replace(Regex(r"[\s\x1c-\x1f▁]+"), " "),
        normalizers.Strip(),
    ]
    if found.normalizer_spec.precompiled_charsmap:
        steps += [
            normalizers.Precompiled(found.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" +"), " "),
            normalizers.Strip(),
        ]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = [name for name, one in zip(names, found.pieces, strict=True) if one.type != _NORMAL]
    made.add_special_tokens([AddedToken(name, normalized=False, lstrip=True, rstrip=True) for name in special])
    made.post_processor = processors.TemplateProcessing(single=f"$A {_END}", special_tokens=[(_END, names.index(_END))])
    return made.to_str().encode()


def _read(path: Path) -> Any:
    """The message in the file. Raises ModelError."""
    from google.protobuf.message import DecodeError

    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path} is too large for a vocabulary")
        message = _kind()()
        message.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} is no vocabulary of sentencepiece, or is damaged: {error}") from error
    if not message.pieces:
        raise ModelError(f"{path} is no vocabulary of sentencepiece, or is damaged: it has no pieces")
    return message


def _kind() -> Any:
    """The message's class, with the fields that are of use here; the numbers are the format's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    text, number, whole, bits, inner = (
        9,
        2,
        5,
        12,
        11,
    )  # FieldDescriptorProto.Type: string, float, int32, bytes, message
    file = descriptor_pb2.FileDescriptorProto(name="pieces.proto", package="clipcli.pieces", syntax="proto2")
    for name, fields in (
        ("Piece", (("piece", 1, text), ("score", 2, number), ("type", 3, whole))),
        ("Trainer", (("model_type", 3, whole),)),
        ("Normalizer", (("precompiled_charsmap", 2, bits),)),
        ("Model", (("pieces", 1, inner), ("trainer_spec", 2, inner), ("normalizer_spec", 3, inner))),
    ):
        message = file.message_type.add(name=name)
        for field, place, kind in fields:
            made = message.field.add(name=field, number=place, type=kind, label=1)  # one, or none
            if kind == inner:
                of = {"pieces": "Piece", "trainer_spec": "Trainer", "normalizer_spec": "Normalizer"}[field]
                made.type_name = f".clipcli.pieces.{of}"
                made.label = 3 if field == "pieces" else 1  # any number of pieces
            elif field in ("type", "model_type"):
                made.default_value = "1"  # an ordinary piece; a unigram model
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("clipcli.pieces.Model"))
