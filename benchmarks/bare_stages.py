"""The stages of indexing and searching by themselves, warm: from a file to pixels, the image tower, the text tower.

Vectors have a file of their own (`vector_search`). The first row of each table is the peer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cases import Table, compared, surroundings
from benchmarks.stages import Absent, Measured, Stage, in_turns
from benchmarks.timing import Times
from clipcli.bundle.sessions import may_use_cuda

__all__ = ["decoding", "image_tower", "on_a_gpu", "text_tower"]

PHOTOS, PICTURES, PHRASES = 12, 32, 40  # a turn
BATCHES = (8, 16, 32)
PICTURES_ON_A_GPU, BATCHES_ON_A_GPU = 1024, (64, 128, 256)
Outcome = tuple[Table, list[str], list[str]]  # the table, the versions of the peers, who is left out


def image_tower(folder: Path, bundle: Path, peers: Path, *, rounds: int) -> Outcome:
    """Ready pixels through the image tower."""
    own, environment = Path(sys.executable), surroundings(folder)
    given = {"count": PICTURES, "batches": BATCHES}
    stages = {
        name: Stage(
            python=peers,
            made_by=f"stage_towers:{function}",
            given={"label": name, "precision": name.rsplit(" ", 1)[1], **given},
            environment=environment,
        )
        for name, function in (
            ("open_clip, torch fp32", "openclip_image"),
            ("open_clip, torch bf16", "openclip_image"),
            ("transformers, torch fp32", "transformers_image"),
            ("transformers, torch bf16", "transformers_image"),
        )
    }
    for precision in ("fp32", "int8"):
        name = f"clip, ONNX Runtime {precision}"
        stages[name] = Stage(
            python=own,
            made_by="stage_towers:clip_image",
            given={"label": name, "bundle": str(bundle), "precision": precision, **given},
            environment=environment,
        )
    note = (
        f"ViT-B/32 with random weights, {PICTURES} ready pictures of 224 pixels a turn, so many at a time of "
        f"{', '.join(map(str, BATCHES))} as each is quickest with; torch without gradients."
    )
    return _table("The image tower alone", note, in_turns(stages, rounds=rounds), PICTURES, "images/s")


def on_a_gpu(folder: Path, bundle: Path, peers: Path, *, rounds: int, device: str = "cuda") -> Outcome:
    """Ready pixels through the image tower on a GPU, beside its two limits: copying them there, and the products.

    Raises Absent where there is none.
    """
    if device == "cuda" and not may_use_cuda():
        raise Absent("there is no GPU that ONNX Runtime could use")
    on_gpu = device != "cpu"
    count, batches = (PICTURES_ON_A_GPU, BATCHES_ON_A_GPU) if on_gpu else (PICTURES, BATCHES)
    environment, own = surroundings(folder), Path(sys.executable)
    given: dict[str, object] = {"count": count, "batches": batches, "device": device}
    kinds: dict[str, tuple[Path, str, dict[str, object]]] = {
        f"open_clip, torch {precision}": (peers, "openclip_image", {"precision": precision, **given})
        for precision in ("fp32", "fp16", "bf16")
    }
    for precision in ("fp32", "fp16"):
        how = {"precision": precision, "bundle": str(bundle), **given}
        kinds[f"clip, ONNX Runtime {precision}"] = (own, "clip_image", how)
    kinds = {name: (python, function, {"label": name, **how}) for name, (python, function, how) in kinds.items()}
    kinds["copying the pixels alone"] = (peers, "copied", {"count": count, "device": device})
    for precision in ("fp32", "fp16"):
        how = {"count": count, "precision": precision, "device": device}
        kinds[f"large products alone, {precision}"] = (peers, "multiplied", how)
    stages = {
        name: Stage(python=python, made_by=f"stage_towers:{function}", given=how, environment=environment)
        for name, (python, function, how) in kinds.items()
    }
    note = (
        f"ViT-B/32 with random weights, {count} ready pictures of 224 pixels a turn, from the computer's memory to "
        f"embeddings there, so many at a time of {', '.join(map(str, batches))} as each is quickest with. clip "
        "computes fp32 in fp32, and fp16 in halves."
    )
    return _table("The image tower on a GPU", note, in_turns(stages, rounds=rounds), count, "images/s")


def text_tower(folder: Path, bundle: Path, peers: Path, *, rounds: int) -> Outcome:
    """Ready tokens of one phrase through the text tower."""
    own, environment = Path(sys.executable), surroundings(folder)
    kinds: dict[str, tuple[Path, str, dict[str, object]]] = {
        "open_clip, torch fp32": (peers, "openclip_text", {}),
        "transformers, torch fp32": (peers, "transformers_text", {}),
        "clip, ONNX Runtime fp32": (own, "clip_text", {"bundle": str(bundle), "precision": "fp32"}),
        "clip, ONNX Runtime int8": (own, "clip_text", {"bundle": str(bundle), "precision": "int8"}),
    }
    stages = {
        name: Stage(
            python=python,
            made_by=f"stage_towers:{function}",
            given={"count": PHRASES, **given},
            environment=environment,
        )
        for name, (python, function, given) in kinds.items()
    }
    note = (
        f"{PHRASES} phrases of seven tokens a turn, one after the other, the tower opened before. open_clip's "
        "tokenizer pads to 77; transformers' does not, and clip cuts off what follows the end."
    )
    return _table("The text tower alone", note, in_turns(stages, rounds=rounds), PHRASES, "phrases/s")


def decoding(folder: Path, photos: Path, kind: str, rclip: Path, peers: Path, *, rounds: int) -> Outcome:
    """From files to pixels. `photos` has a few, `kind` says of what size."""
    environment = surroundings(folder)
    kinds = {
        "rclip": (rclip, "rclip_pixels"),
        "transformers": (peers, "transformers_pixels"),
        "clip": (Path(sys.executable), "clip_pixels"),
    }
    stages = {
        name: Stage(
            python=python,
            made_by=f"stage_decoding:{function}",
            given={"folder": str(photos)},
            environment=environment,
        )
        for name, (python, function) in kinds.items()
    }
    note = (
        f"{PHOTOS} made photographs a turn, one after the other, from the file to 224 pixels as the tower takes them."
    )
    title = f"Decoding {kind} JPEGs alone, one core"
    return _table(title, note, in_turns(stages, rounds=rounds), PHOTOS, "images/s")


def _table(title: str, note: str, outcome: tuple[Mapping[str, Measured], list[str]], count: int, unit: str) -> Outcome:
    measured, left_out = outcome
    times: dict[str, Times] = {name: one.times for name, one in measured.items()}
    versions = [one.facts["peer"] for one in measured.values() if one.facts.get("peer")]
    table = Table(title=title, note=note, rows=compared(times, count=count, unit=unit))
    return table, list(dict.fromkeys(versions)), left_out
