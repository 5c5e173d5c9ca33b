"""What `clip export` starts from: a training run, or a bundle that carries its weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipcli.bundle.spec import (
    MODEL_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Preprocess,
    preprocess_from_dict,
    read_spec,
)
from clipcli.bundle.stamps import check_stamps
from clipcli.errors import ModelError, NotFoundError, UsageError
from export.weights import has_full_matrices
from trainer.checkpoints import fill, load_run, load_weights
from trainer.config import ArchConfig
from trainer.options import PREDICTING, TrainOptions
from trainer.outcome import best_metrics
from trainer.resolution import enlarged, with_positions
from trainer.towers import Clip

__all__ = ["RUN_FILE", "Source", "for_larger_pictures", "open_source"]

RUN_FILE = "towers.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Towers with their weights, and what `model.json` will say of them."""

    model: Clip
    tokenizer_file: Path
    text_cleaning: str = "none"
    pad_id: int = 0
    exact_weights: bool = False
    preprocess: Preprocess
    templates: tuple[str, ...]
    licence: str = "unknown"
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    pairs: tuple[Path, ...] = ()  # photographs that parity can be measured on, as long as they are still there
    columns: tuple[str | None, str | None] = (None, None)  # of pictures and texts in them, where a person had to say


def open_source(folder: Path) -> Source:
    """Read a run folder or a bundle. Raises NotFoundError, ModelError, DataError, UsageError."""
    if (folder / RUN_FILE).is_file():
        return _run(folder)
    if (folder / MODEL_FILE).is_file():
        return _bundle(folder)
    if not folder.is_dir():
        raise NotFoundError(f"no such training run or model folder: {folder}")
    raise NotFoundError(f"{folder} is neither a training run ({RUN_FILE}) nor a model ({MODEL_FILE})")


def for_larger_pictures(source: Source, image_size: int) -> Source:
    """The same towers for pictures of `image_size` pixels, their positions interpolated.

    Random crops show things larger in training than whole pictures do later, so that a convolutional tower is often at
    its best some way above the size it was trained at (Touvron et al. 2019, "Fixing the train-test resolution
    discrepancy"). What was measured at the other size is left out. The size it has already changes nothing. Raises
    UsageError.
    """
    if image_size == source.preprocess.image_size:
        return source
    config = enlarged(source.model.config, image_size)
    model = Clip(config)
    model.load_state_dict(with_positions(source.model.state_dict(), config))
    return dataclasses.replace(
        source,
        model=model.eval(),
        preprocess=dataclasses.replace(source.preprocess, image_size=image_size),
        provenance=source.provenance | {"trained_at": source.preprocess.image_size},
        metrics={},
    )


def _run(folder: Path) -> Source:
    options = TrainOptions.load(folder)
    if options.objective in PREDICTING:
        raise UsageError(
            f"{folder} has learnt by --objective {options.objective}, which leaves no text tower: there is no model to "
            "search with"
        )
    model, facts = load_run(folder)
    # Names only: where the data lies on this machine is nobody's business who is given the model.
    provenance = {
        **facts.get("provenance", {}),
        "trained_on": [Path(name).name for name in options.data],
        "fine_tuned_from": facts.get("start"),
    }
    return Source(
        model=model,
        tokenizer_file=folder / TOKENIZER_FILE,
        text_cleaning=facts.get("text_cleaning", "none"),
        pad_id=facts.get("pad_id", 0),
        preprocess=preprocess_from_dict(facts["preprocess"]),
        templates=options.templates,
        licence=facts.get("licence", "unknown"),
        provenance={key: value for key, value in provenance.items() if value},
        metrics=best_metrics(folder),
        pairs=tuple(Path(name) for name in options.validation or options.data),
        columns=(options.image_column, options.text_column),
    )


def _bundle(folder: Path) -> Source:
    spec = read_spec(folder)
    if not spec.towers or WEIGHTS_FILE not in spec.files:
        raise ModelError(f"model {spec.name} comes without the weights an export starts from")
    check_stamps(folder, spec, (WEIGHTS_FILE, TOKENIZER_FILE))
    model = Clip(ArchConfig.from_dict(spec.towers))
    fill(model, load_weights(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE)
    return Source(
        model=model.eval(),
        tokenizer_file=folder / TOKENIZER_FILE,
        text_cleaning=spec.text_cleaning,
        pad_id=spec.pad_id,
        exact_weights=has_full_matrices(folder / WEIGHTS_FILE),
        preprocess=spec.preprocess,
        templates=spec.templates,
        licence=spec.licence,
        provenance={key: value for key, value in spec.provenance.items() if key not in ("refused", "parity_on")},
        metrics=dict(spec.metrics),
    )
