"""`clip export` as functions: a run or a bundle into a measured bundle, and a bundle measured again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import check_name, check_new_name, models_folder
from clipcli.bundle.installed import install as install_bundle
from clipcli.bundle.placing import check_writable
from clipcli.bundle.spec import MODEL_FILE, PRECISIONS, ModelSpec, read_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import UsageError
from export.bundle import check_precisions, export_bundle
from export.parity import compare, onnx_embeddings, torch_embeddings
from export.samples import Samples, made_samples, read_samples
from export.source import RUN_FILE, Source, for_larger_pictures, open_source
from trainer.options import TrainOptions

__all__ = ["Exported", "export_source", "measure_bundle"]

_PHOTOS = 1000  # more only cost time: what is looked for is the worst of many


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What came of an export: where the bundle is, what it says, and what was refused (precision -> why)."""

    folder: Path
    spec: ModelSpec
    refused: Mapping[str, str]
    installed: bool

    @property
    def figures(self) -> dict[str, Mapping[str, float]]:
        """Parity by precision."""
        return {variant.precision: variant.parity or {} for variant in self.spec.variants}


def export_source(
    source: Path,
    *,
    output: Path | None = None,
    name: str | None = None,
    precisions: Sequence[str] = PRECISIONS,
    photos: Sequence[Path] = (),
    licence: str | None = None,
    image_size: int | None = None,
    install: bool | None = None,
    replace: bool = False,
    renew: bool = False,
    say: Callable[[str], None],
) -> Exported:
    """Export the run or bundle `source` into the folder `output`, or install it under `name`, or both.

    `install` None installs where no `output` is given. `output` None is `bundle` in a run, and nowhere for a bundle,
    which then has to be installed. What an earlier export left in `bundle` stays unless `replace` or `renew` is given
    (the second for a run that has gone on since), and `say` is told so; an installed model of that name, and a model in
    `output`, are replaced with `replace` alone. The first of `precisions` is the model's default. Parity is measured on
    `photos`, else on what a run was validated or trained on, else on made pictures; `say` is told of the last, and of
    every variant that is refused. `image_size` is of the pictures, in pixels, where they are to be larger than those
    the model was trained on.
    Raises UsageError where the name or the place is taken, no place is given or the size does not suit, ModelError
    where no variant is good enough.
    """
    install = output is None if install is None else install
    check_precisions(precisions, precisions[0] if precisions else None)
    is_run = (source / RUN_FILE).is_file()
    chosen = (check_new_name if install else check_name)(name or _name_of(source))
    if output is None and not is_run and not install:
        raise UsageError("nowhere to write: give --output FOLDER, or let the model be installed")
    if output is not None:
        _check_place(output, replace)
    place = output or (source / "bundle" if is_run else None)
    if output is None and place is not None and place.exists() and not (replace or renew):
        if not install:
            raise UsageError(f"{place} holds an earlier export: give --output FOLDER, or --replace")
        say(f"{place} stays as an earlier export left it; --replace writes it anew")
        place = None
    if install and not replace and (models_folder() / chosen).exists():
        raise UsageError(f"a model called {chosen!r} is already installed: give another --name, or --replace")
    if install:
        check_writable(models_folder())
    opened = open_source(source)
    if image_size is not None:
        opened = for_larger_pictures(opened, image_size)
    samples, measured_on = _samples(opened, photos, say)
    with tempfile.TemporaryDirectory(prefix="clip-export-") as passing:
        folder = place or Path(passing) / "bundle"
        spec = export_bundle(
            opened.model,
            folder=folder,
            name=chosen,
            tokenizer_file=opened.tokenizer_file,
            text_cleaning=opened.text_cleaning,
            pad_id=opened.pad_id,
            exact_weights=opened.exact_weights,
            preprocess=opened.preprocess,
            samples=samples,
            precisions=precisions,
            default_precision=precisions[0],
            templates=opened.templates,
            provenance={**opened.provenance, "parity_on": measured_on},
            licence=licence or opened.licence,
            metrics=opened.metrics,
            say=say,
        )
        if install:
            folder = install_bundle(folder, name=chosen, replace=replace)
    return Exported(folder=folder, spec=spec, refused=spec.provenance.get("refused", {}), installed=install)


def _check_place(folder: Path, replace: bool) -> None:
    """Nothing of a person's is written over: a folder is new, or empty, or has a model that is to be replaced."""
    if folder.is_dir() and (folder / MODEL_FILE).is_file():
        if not replace:
            raise UsageError(f"{folder} holds a model already: name another folder, or give --replace")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already, and is no model: name a folder that is to be made")


def _name_of(source: Path) -> str:
    """What the run was to be called, or what the bundle is."""
    return TrainOptions.load(source).name if (source / RUN_FILE).is_file() else read_spec(source).name


def measure_bundle(
    source: Path, bundle: Path, *, photos: Sequence[Path], say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Every variant of `bundle` against the torch towers of `source`, on all of `photos`: figures by precision."""
    opened = open_source(source)
    samples, _ = _samples(opened, photos, say, limit=None)
    spec = read_spec(bundle)
    tokenizer = Tokenizer.of(bundle, spec)
    reference = torch_embeddings(opened.model, samples, spec.preprocess, tokenizer)
    return {
        variant.precision: compare(
            reference, onnx_embeddings(Model.load(bundle, device="cpu", precision=variant.precision), samples), samples
        )
        for variant in spec.variants
    }


def _samples(
    source: Source, photos: Sequence[Path], say: Callable[[str], None], *, limit: int | None = _PHOTOS
) -> tuple[Samples, list[str]]:
    """What parity is measured on, and what that is called."""
    chosen = list(photos) or [path for path in source.pairs if path.exists()]
    if chosen:
        columns = (None, None) if photos else source.columns
        return read_samples(chosen, source.preprocess, limit=limit, columns=columns), [path.name for path in chosen]
    say("parity is measured on made pictures; --photos FOLDER measures it on photographs")
    return made_samples(source.preprocess, count=64), ["made pictures"]
