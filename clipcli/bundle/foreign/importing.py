"""Graphs of another project into an installed bundle: looked at, copied, measured, and renamed into place when whole.

Shapes: P probes, D embedding, S image size, L tokens.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.foreign import immich, transformers_js
from clipcli.bundle.foreign.graph_source import Answers, GraphSource, Pair
from clipcli.bundle.foreign.logits import logit_line
from clipcli.bundle.identity import graphs_identity, use_facts
from clipcli.bundle.installed import check_new_name, models_folder
from clipcli.bundle.made_inputs import SENTENCES, made_images
from clipcli.bundle.placing import building
from clipcli.bundle.preprocess import normalise
from clipcli.bundle.probe import COSINE_FLOORS, Probe, smallest_cosine, write_probe
from clipcli.bundle.sessions import RUNTIME_ERRORS, first_line, open_session
from clipcli.bundle.spec import MODEL_FILE, TOKENIZER_FILE, ModelSpec, Variant, write_spec
from clipcli.bundle.stamps import file_facts, write_stamps
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.bundle.tower import Tower
from clipcli.errors import ModelError, NoSpaceError, UsageError

__all__ = ["Imported", "import_graphs", "is_graphs", "read_graphs"]

Say = Callable[[str], None]

_PICTURES = 8
_SAME = 0.999999  # the smallest cosine at which what stands behind the end marker counts as without effect


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What came of an import: where the bundle is, what it says, and what was refused (precision -> why)."""

    folder: Path
    spec: ModelSpec
    refused: Mapping[str, str]

    @property
    def figures(self) -> dict[str, Mapping[str, float]]:
        """Parity by precision."""
        return {variant.precision: variant.parity or {} for variant in self.spec.variants}


def is_graphs(path: Path) -> bool:
    """Whether `path` is a folder of ONNX graphs in a layout that is known here."""
    return path.is_dir() and (transformers_js.is_layout(path) or immich.is_layout(path))


def read_graphs(path: Path, answers: Answers) -> GraphSource:
    """What `path` holds, every graph looked at and none run. Raises ModelError, NotFoundError."""
    if immich.is_layout(path):
        return immich.read_layout(path, answers)
    return transformers_js.read_layout(path, answers)


def import_graphs(
    path: Path,
    *,
    name: str,
    answers: Answers,
    provenance: Mapping[str, Any] | None = None,
    replace: bool = False,
    say: Say,
) -> Imported:
    """Install the graphs in the folder `path` under `name`. What is left out or refused is told to `say`.

    The most exact precision that is there is the measure: the rest is compared with it on made pictures and sentences,
    and refused where it is too far off.
    Raises UsageError where the name is taken or something is open that `answers` can tell, ModelError where anything is
    damaged, hostile or not known here, NotFoundError for a precision that is not there, NoSpaceError.
    """
    check_new_name(name)
    target = models_folder() / name
    if target.exists() and not replace:
        raise UsageError(f"a model called {name!r} is already installed: give another --name, or --replace")
    source = read_graphs(path, answers)
    say(f"{source.kind}: {', '.join(source.pairs)}, {source.preprocess.image_size} pixels")
    if source.left_out:
        say(f"left out, for this program has no such precisions: {', '.join(source.left_out)}")
    _check_space(target, source)
    with building(target) as partial:
        spec, refused = _assemble(source, partial, name, answers, dict(provenance or {}), say)
        write_spec(partial, spec)
        write_stamps(partial, spec)
    return Imported(folder=target, spec=spec, refused=refused)


def _check_space(target: Path, source: GraphSource) -> None:
    needed = sum(pair.size_bytes for pair in source.pairs.values()) + len(source.words.file)
    existing = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpaceError(f"importing needs {needed / 1e6:.0f} MB, {existing} has {free / 1e6:.0f} MB free")


def _assemble(
    source: GraphSource, folder: Path, name: str, answers: Answers, provenance: dict[str, Any], say: Say
) -> tuple[ModelSpec, dict[str, str]]:
    """Fill `folder` and return its spec, and the precisions that were refused."""
    (folder / TOKENIZER_FILE).write_bytes(source.words.file)
    tokenizer = Tokenizer.load(
        folder, source.words.context_length, cleaning=source.words.cleaning, pad_id=source.words.pad_id
    )
    images = made_images(source.preprocess.image_size, _PICTURES)
    pixels = np.stack([normalise(image, source.preprocess) for image in images])  # (P, 3, S, S)
    tokens = tokenizer(SENTENCES)  # (P, L)
    variants = [_place(folder, precision, pair) for precision, pair in source.pairs.items()]
    scale, bias, told = logit_line(
        source, answers, pixels=pixels[:4], tokens=tokens[:4], lengths=tokenizer.lengths(tokens[:4])
    )
    exact = next(iter(source.pairs.values()))
    facts = use_facts(
        source.preprocess,
        source.words.context_length,
        cleaning=source.words.cleaning,
        pad_id=source.words.pad_id,
    )
    spec = ModelSpec(
        name=name,
        architecture=source.architecture,
        embedding_dim=_embedding_dim(folder / variants[0].image, source, pixels[:1]),
        preprocess=source.preprocess,
        context_length=source.words.context_length,
        causal_text=False,
        text_cleaning=source.words.cleaning,
        pad_id=source.words.pad_id,
        activation=source.activation,
        logit_scale=scale,
        logit_bias=bias,
        graphs=source.names,
        variants=tuple(variants),
        default_precision=variants[0].precision,
        provenance={
            "imported_from": source.kind,
            "logit_scale_from": told,
            **source.facts,
            **provenance,
            "parity_on": ["made pictures"],
        },
        licence=answers.licence or source.licence or "unknown",
        identity=graphs_identity([*exact.image.files, *exact.text.files], facts, source.words.file),
        files=_files(folder),
    )
    write_spec(folder, spec)
    spec, refused, probe = _measure(folder, spec, images, pixels, tokens, say)
    write_probe(folder, probe)
    if refused:
        spec = dataclasses.replace(spec, provenance={**spec.provenance, "refused": refused})
    known = {"probe.npz": file_facts(folder / "probe.npz"), **spec.files}
    kept = {path.name for path in folder.iterdir()} - {MODEL_FILE}
    return dataclasses.replace(spec, files={file: known[file] for file in sorted(kept)}), refused


def _place(folder: Path, precision: str, pair: Pair) -> Variant:
    image, text = f"image.{precision}.onnx", f"text.{precision}.onnx"
    data = (*pair.image.place(folder, image), *pair.text.place(folder, text))
    return Variant(precision=precision, image=image, text=text, data=data)


def _embedding_dim(graph: Path, source: GraphSource, pixels: NDArray[np.float32]) -> int:
    """What the image tower really gives: graphs often leave it open."""
    session, _ = open_session(graph, device="cpu")
    try:
        outcome = Tower.of(session, "image", source.names).run(pixels)
    except RUNTIME_ERRORS as error:
        raise ModelError(f"the image graph of {source.folder} failed: {first_line(error)}") from error
    if outcome.ndim != 2:
        raise ModelError(f"the image graph of {source.folder} gives {outcome.shape}, which is no embedding")
    return int(outcome.shape[1])


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: file_facts(path) for path in sorted(folder.iterdir()) if path.name != MODEL_FILE}


def _measure(
    folder: Path,
    spec: ModelSpec,
    images: NDArray[np.uint8],
    pixels: NDArray[np.float32],
    tokens: NDArray[np.int64],
    say: Say,
) -> tuple[ModelSpec, dict[str, str], Probe]:
    """Run every precision. Those too far from the first one lose their files and their place."""
    exact = Model.load(folder, device="cpu", precision=spec.variants[0].precision)
    probe = Probe(
        images=images,
        image_embeddings=exact.encode_images(pixels),
        texts=SENTENCES,
        tokens=tokens,
        text_embeddings=exact.encode_tokens(tokens),
    )
    spec = dataclasses.replace(spec, causal_text=_is_causal(exact, probe))
    write_spec(folder, spec)
    good, refused = [], {}
    for variant in spec.variants:
        why, parity = _parity(folder, variant.precision, probe, pixels)
        if why and variant.precision != spec.variants[0].precision:
            refused[variant.precision] = why
            say(f"{variant.precision} is refused: {why}")
            for file in (variant.image, variant.text, *variant.data):
                (folder / file).unlink()
        elif why:
            raise ModelError(f"the {variant.precision} graphs cannot be used: {why}")
        else:
            good.append(dataclasses.replace(variant, parity=parity))
    return dataclasses.replace(spec, variants=tuple(good)), refused, probe


def _is_causal(model: Model, probe: Probe) -> bool:
    """Whether what follows the end marker may be cut off: tried, text by text, not assumed."""
    lengths = model.tokenizer.lengths(probe.tokens)
    if model.precision != "fp32" or model.text_is_fixed:
        return False
    cut = [
        model.encode_tokens(np.ascontiguousarray(row[None, :length]))
        for row, length in zip(probe.tokens, lengths, strict=True)
    ]
    return smallest_cosine(np.concatenate(cut), probe.text_embeddings) >= _SAME


def _parity(folder: Path, precision: str, probe: Probe, pixels: NDArray[np.float32]) -> tuple[str, dict[str, float]]:
    """Why this precision is refused (empty where it is good), and its smallest cosines."""
    model = Model.load(folder, device="cpu", precision=precision)
    try:
        image = smallest_cosine(model.encode_images(pixels), probe.image_embeddings)
        text = smallest_cosine(model.encode_tokens(probe.tokens), probe.text_embeddings)
    except ModelError as error:
        return str(error), {}
    floor = COSINE_FLOORS[precision]
    figures = {"image_min_cosine": round(image, 7), "text_min_cosine": round(text, 7)}
    figures |= {"images": len(pixels), "texts": len(probe.texts)}
    poor = [f"{tower} cosine {one:.6f}" for tower, one in (("image", image), ("text", text)) if one < floor]
    return f"{'; '.join(poor)}, at least {floor} wanted" if poor else "", figures
