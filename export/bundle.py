"""A torch model written as a bundle: graphs of every precision that proves exact enough, and all they need."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.placing import building
from clipcli.bundle.probe import Probe, write_probe
from clipcli.bundle.spec import (
    MODEL_FILE,
    PRECISIONS,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    Preprocess,
    Variant,
    write_spec,
)
from clipcli.bundle.stamps import file_facts
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ModelError, UsageError
from export.graph import image_graph, text_graph
from export.graph_files import LARGEST, remove_graph, save_graph
from export.parity import Embeddings, compare, faults, onnx_embeddings, torch_embeddings
from export.quantise import quantise
from export.samples import Samples, made_samples
from export.sharing import share_weights
from export.weights import identity, stored, write_weights

if TYPE_CHECKING:
    from trainer.towers import Clip

__all__ = ["check_precisions", "export_bundle"]

Say = Callable[[str], None]

_CALIBRATION_PHOTOS = 96
_CALIBRATION_MADE = 32


def export_bundle(
    model: Clip,
    *,
    folder: Path,
    name: str,
    tokenizer_file: Path,
    text_cleaning: str = "none",
    pad_id: int = 0,
    exact_weights: bool = False,
    preprocess: Preprocess,
    samples: Samples,
    precisions: Sequence[str] = PRECISIONS,
    default_precision: str | None = None,
    templates: Sequence[str] = ("a photo of a {}.",),
    provenance: Mapping[str, Any] | None = None,
    licence: str = "unknown",
    metrics: Mapping[str, Any] | None = None,
    say: Say | None = None,
) -> ModelSpec:
    """Write `folder`, replacing what is there, and return what its `model.json` says.

    Every variant is run through ONNX Runtime on `samples` and on the made inputs of the probe, and compared with torch;
    one that is too far off is not written: `say` is told why, and `provenance` keeps it. The first pictures of
    `samples` calibrate int8. `default_precision` None is the most exact one written.
    `exact_weights` keeps the weights for further training at full precision.
    Raises ModelError where no variant is good enough, or where the tokenizer does not belong to the towers.
    """
    check_precisions(precisions, default_precision)
    model = _in_fp32(model)
    precisions = _without_too_large(model, precisions, say or _unheard)
    if not precisions:
        raise ModelError(f"{name} is too large for int8, and nothing else was asked for")
    context_length = model.config.text.context_length
    tokenizer = _load_tokenizer(tokenizer_file, model, text_cleaning, pad_id)
    kept = stored(model.state_dict(), exact=exact_weights)
    probe_samples = made_samples(preprocess)
    with building(folder) as partial:
        shutil.copyfile(tokenizer_file, partial / TOKENIZER_FILE)
        write_weights(partial, kept)
        spec = ModelSpec(
            name=name,
            architecture=model.config.name,
            embedding_dim=model.config.embedding_dim,
            preprocess=preprocess,
            context_length=context_length,
            causal_text=model.config.text.causal,
            text_cleaning=text_cleaning,
            pad_id=pad_id,
            activation=model.config.activation,
            logit_scale=float(model.logit_scale.detach().exp()),
            logit_bias=None if model.logit_bias is None else float(model.logit_bias.detach()),
            towers=json.loads(json.dumps(model.config.to_dict())),
            templates=tuple(templates),
            variants=_write_graphs(model, partial, kept, precisions, preprocess, samples),
            default_precision=precisions[0],
            provenance=dict(provenance or {}),
            licence=licence,
            metrics=dict(metrics or {}),
            identity=identity(
                kept, preprocess, tokenizer_file.read_bytes(), context_length, cleaning=text_cleaning, pad_id=pad_id
            ),
        )
        made = torch_embeddings(model, probe_samples, preprocess, tokenizer)
        references = [(samples, torch_embeddings(model, samples, preprocess, tokenizer)), (probe_samples, made)]
        spec = _measure(partial, spec, references, say or _unheard)
        spec = _name_files(partial, spec, default_precision)
        write_probe(partial, _probe(probe_samples, made, tokenizer))
        files = {path.name: file_facts(path) for path in sorted(partial.iterdir()) if path.name != MODEL_FILE}
        spec = dataclasses.replace(spec, files=files)
        write_spec(partial, spec)
    return spec


def _unheard(line: str) -> None:
    del line


def check_precisions(precisions: Sequence[str], default: str | None) -> None:
    """Raise UsageError where these cannot be the variants of one bundle."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}: one of {', '.join(PRECISIONS)}")
    if not precisions or len(set(precisions)) != len(precisions):
        raise UsageError("name each precision once")
    if default is not None and default not in precisions:
        raise UsageError(f"the default precision {default} is not among those exported")


def _in_fp32(model: Clip) -> Clip:
    """The model itself where it is ready, else a copy: the caller's may be in training, on a GPU, in half precision."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    if not model.training and all(tensor.dtype == torch.float32 and tensor.is_cpu for tensor in tensors):
        return model
    return copy.deepcopy(model).cpu().float().eval()


def _load_tokenizer(file: Path, model: Clip, cleaning: str, pad_id: int) -> Tokenizer:
    """A text tower of CLIP's form takes its feature at the largest id, which must therefore be the end marker's."""
    tokenizer = Tokenizer.load(file, model.config.text.context_length, cleaning=cleaning, pad_id=pad_id)
    known, ends = model.config.text.vocab_size, model.config.text.form in ("bag", "clip", "mobile")
    if tokenizer.vocab_size > known or (
        ends and (tokenizer.vocab_size != known or tokenizer.end_id != tokenizer.vocab_size - 1)
    ):
        raise ModelError(
            f"{file} does not belong to these towers: it has {tokenizer.vocab_size} entries and {tokenizer.end_id} for "
            f"the end, the text tower knows {known}" + (" and ends at the largest" if ends else "")
        )
    return tokenizer


def _write_graphs(
    model: Clip,
    folder: Path,
    kept: Mapping[str, torch.Tensor],
    precisions: Sequence[str],
    preprocess: Preprocess,
    samples: Samples,
) -> tuple[Variant, ...]:
    """Both towers in every precision asked for, not yet measured. fp16 shares its weights with further training."""
    variants = tuple(
        Variant(precision=precision, image=f"image.{precision}.onnx", text=f"text.{precision}.onnx")
        for precision in precisions
    )
    # fp32 last: a large graph gives its weights away when it is saved. One tower after the other saves memory.
    in_order = sorted(variants, key=lambda variant: variant.precision == "fp32")

    def in_precision(precision: str, calibration: NDArray[np.float32] | None) -> onnx.ModelProto:
        if precision == "fp16":
            return share_weights(graph, kept, folder / WEIGHTS_FILE)
        return graph if precision == "fp32" else quantise(graph, calibration)

    graph = image_graph(model, preprocess.image_size)
    data: dict[str, list[str]] = {precision: [] for precision in precisions}
    for variant in in_order:
        calibration = _calibration(samples, preprocess) if variant.precision == "int8" else None
        data[variant.precision] += save_graph(in_precision(variant.precision, calibration), folder / variant.image)
    graph = text_graph(model, model.config.text.context_length)
    for variant in in_order:
        data[variant.precision] += save_graph(in_precision(variant.precision, None), folder / variant.text)
    return tuple(
        dataclasses.replace(variant, data=tuple(dict.fromkeys(data[variant.precision]))) for variant in variants
    )


def _without_too_large(model: Clip, precisions: Sequence[str], say: Say) -> list[str]:
    """The quantiser cannot read a graph beyond the limit of protocol buffers."""
    towers = (model.image_tower, model.text_tower)
    largest = max(sum(4 * parameter.numel() for parameter in tower.parameters()) for tower in towers)
    if largest <= LARGEST or "int8" not in precisions:
        return list(precisions)
    say(f"int8 is not made: a tower has {largest / 1e9:.1f} GB of weights, and the quantiser ends at 2")
    return [precision for precision in precisions if precision != "int8"]


def _calibration(samples: Samples, preprocess: Preprocess) -> NDArray[np.float32]:
    """Photographs for what is usual, made pictures for what is not: (N, 3, S, S)."""
    given = samples.pixels(preprocess, stop=_CALIBRATION_PHOTOS)
    return np.concatenate([given, made_samples(preprocess, count=_CALIBRATION_MADE, seed=1).pixels(preprocess)])


def _measure(folder: Path, spec: ModelSpec, references: list[tuple[Samples, Embeddings]], say: Say) -> ModelSpec:
    """`spec` with the parity of each variant; those that fail lose their files and their place."""
    files = {path.name: file_facts(path) for path in folder.iterdir() if path.name != MODEL_FILE}
    write_spec(
        folder, dataclasses.replace(spec, files=files)
    )  # so that the encoder of every day can load what it measures
    good, refused = [], {}
    for variant in spec.variants:
        runner = Model.load(folder, device="cpu", precision=variant.precision)
        figures = [compare(reference, onnx_embeddings(runner, samples), samples) for samples, reference in references]
        why = next((fault for found in figures if (fault := faults(variant.precision, found))), "")
        if why:
            refused[variant.precision] = why
            say(f"{variant.precision} is refused: {why}")
            remove_graph(folder / variant.image)
            remove_graph(folder / variant.text)
        else:
            good.append(dataclasses.replace(variant, parity=figures[0]))
    if not good:
        raise ModelError(f"no variant of {spec.name} is exact enough: " + "; ".join(refused.values()))
    provenance = {**spec.provenance, "refused": refused} if refused else spec.provenance
    return dataclasses.replace(spec, variants=tuple(good), default_precision=good[0].precision, provenance=provenance)


def _name_files(folder: Path, spec: ModelSpec, default: str | None) -> ModelSpec:
    """Choose the default precision; its graphs are `image.onnx` and `text.onnx`."""
    written = {variant.precision for variant in spec.variants}
    chosen = default if default in written else next(precision for precision in PRECISIONS if precision in written)
    variants = []
    for variant in spec.variants:
        if variant.precision == chosen:
            (folder / variant.image).replace(folder / "image.onnx")
            (folder / variant.text).replace(folder / "text.onnx")
            variant = dataclasses.replace(variant, image="image.onnx", text="text.onnx")
        variants.append(variant)
    return dataclasses.replace(spec, variants=tuple(variants), default_precision=chosen)


def _probe(samples: Samples, embeddings: Embeddings, tokenizer: Tokenizer) -> Probe:
    return Probe(
        images=samples.images,
        image_embeddings=embeddings.images,
        texts=samples.texts,
        tokens=tokenizer(samples.texts),
        text_embeddings=embeddings.texts,
    )
