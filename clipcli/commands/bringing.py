"""Bringing in a model that lies on this disk, whoever made it: found out by content, read by whoever knows the kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.commands.options import Format
from clipcli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clipcli.bundle.foreign.importing import Imported
    from export.exporting import Exported
    from trainer.config import Activation

_OF_TRAIN = ("torch", "onnxscript", "safetensors")  # packages and modules alike
ACTIVATIONS: tuple[Activation, ...] = ("quick_gelu", "gelu", "gelu_tanh")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What a person says about a model that is brought in; None is for the source to say."""

    name: str | None = None
    activation: str | None = None
    activation_known: bool = False  # it is the catalogue's, whatever the source says
    tokenizer: Path | None = None
    logit_scale: float | None = None
    logit_bias: float | None = None
    precisions: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()
    licence: str | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise UsageError(f"--activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")


def bring_in(path: Path, wishes: Wishes, *, format: Format | None, provenance: Mapping[str, Any] | None = None) -> str:
    """Install what lies at `path`, show how exact it came out, and return its name.

    A bundle and ONNX graphs need no torch. Raises NotFoundError where no model lies there, MissingExtraError where
    weights are to be read without torch, and what reading raises.
    """
    from clipcli.bundle.foreign.importing import is_graphs
    from clipcli.bundle.spec import MODEL_FILE
    from clipcli.commands.export import show_exported
    from clipcli.render.notes import say

    _refuse_part(path)
    brought: Imported | Exported
    if (path / MODEL_FILE).is_file():
        return _bundle(path, wishes)
    brought = _graphs(path, wishes, provenance) if is_graphs(path) else _weights(path, wishes, provenance)
    show_exported(brought, format)
    say(f"installed as {brought.spec.name}: clip embed -m {brought.spec.name} FOLDER")
    return brought.spec.name


def _refuse_part(path: Path) -> None:
    """Raise UsageError for one file of a folder: what belongs to it lies beside it, and only the folder has it all."""
    if not path.is_file():
        return
    inner = path.suffix == ".onnx" and path.resolve().parent.name in ("onnx", "visual", "textual")
    folder = path.parent.parent if inner else path.parent
    described = any((folder / name).is_file() for name in ("config.json", "open_clip_config.json"))
    named = path.name in ("model.safetensors", "pytorch_model.bin") or path.name.startswith("open_clip_")
    if path.suffix in (".json", ".onnx") or (named and described):
        raise UsageError(f"{path} is one file of a model: give the folder, {folder}")


def _bundle(path: Path, wishes: Wishes) -> str:
    """A model of this program's own, made elsewhere."""
    from clipcli.bundle.foreign.bundles import check_graphs
    from clipcli.bundle.installed import install
    from clipcli.bundle.spec import read_spec
    from clipcli.render.notes import say

    _refuse(wishes, "activation", "tokenizer", "logit_scale", "logit_bias", "precisions", "photos", "licence")
    spec = read_spec(path)
    check_graphs(path, spec)
    name = wishes.name or spec.name
    install(path, name=name, replace=wishes.replace)
    say(f"installed as {name}: clip embed -m {name} FOLDER")
    return name


def _graphs(path: Path, wishes: Wishes, provenance: Mapping[str, Any] | None) -> Imported:
    from clipcli.bundle.foreign.graph_source import Answers
    from clipcli.bundle.foreign.importing import import_graphs
    from clipcli.bundle.installed import name_for
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar

    _refuse(wishes, "activation", "photos")
    answers = Answers(
        tokenizer=wishes.tokenizer,
        logit_scale=wishes.logit_scale,
        logit_bias=wishes.logit_bias,
        licence=wishes.licence,
        precisions=wishes.precisions,
    )
    with progress_bar("importing, and measuring each precision"):
        return import_graphs(
            path,
            name=wishes.name or name_for(path),
            answers=answers,
            provenance=provenance,
            replace=wishes.replace,
            say=say,
        )


def _refuse(wishes: Wishes, *names: str) -> None:
    """An option that would do nothing is an error."""
    for name in names:
        if getattr(wishes, name):
            option = "--precision" if name == "precisions" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for models that come as weights; this one is ready-made")


def has_train() -> bool:
    """Whether the extra's packages are installed, by their metadata: a list of models has no business with torch."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return all(distribution(package) is not None for package in _OF_TRAIN)
    except PackageNotFoundError:
        return False


def require_train(purpose: str) -> None:
    """The extra's own imports, looked for and not yet made. Raises MissingExtraError."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in _OF_TRAIN):
        raise MissingExtraError("train", purpose)


def require_words(names: Iterable[str], wishes: Wishes) -> None:
    """Raise UsageError where none of the files `names` is a vocabulary, nobody has named one, and none is installed."""
    from trainer.reading.sentencepieces import PIECES_FILE
    from trainer.reading.vocabulary import MERGES_FILE, find_merges

    there = {"tokenizer.json", "merges.txt", MERGES_FILE, PIECES_FILE} & set(names)
    if wishes.tokenizer is None and not there and find_merges(Path("/")) is None:
        raise UsageError(
            "the repository has weights and no vocabulary: give --tokenizer FILE, the tokenizer.json or merges.txt of "
            "a model with the same one (for one of OpenAI's, 'clip models pull clip-vit-b-32' brings it)"
        )


def _weights(path: Path, wishes: Wishes, provenance: Mapping[str, Any] | None) -> Exported:
    from clipcli.bundle.foreign.weights import find_weights

    find_weights(path)  # before the extra is asked for, which no mistyped path needs
    require_train("a model that comes as weights")
    from clipcli.bundle.installed import name_for
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar
    from export.importing import import_model
    from trainer.reading.found import Choices

    if wishes.logit_scale is not None or wishes.logit_bias is not None:
        raise UsageError("--logit-scale and --logit-bias are for ONNX graphs; weights have their own")
    told = next((known for known in ACTIVATIONS if known == wishes.activation), None)
    with progress_bar("importing, and measuring each precision"):
        return import_model(
            path,
            name=wishes.name or name_for(path),
            choices=Choices(activation=told, known=wishes.activation_known, tokenizer=wishes.tokenizer),
            precisions=wishes.precisions or ("fp32",),
            photos=wishes.photos,
            licence=wishes.licence,
            provenance=provenance,
            replace=wishes.replace,
            say=say,
        )
