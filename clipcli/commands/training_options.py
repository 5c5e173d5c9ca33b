"""From the options of `clip train` to those of a run: its name, its folder, and what the recipe and `--set` say."""

from __future__ import annotations

import re
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from trainer.options import TrainOptions

__all__ = ["run_name", "run_options", "unused_folder", "weighed"]

WEIGHED = re.compile(r"(.+)@([0-9.]+)")


def weighed(data: list[str]) -> tuple[list[str], tuple[float, ...] | None]:
    """DATA without the weights, as in `pairs.csv@3`, and the weights, 1 where none is given; None where none has any.

    A file that is called so is what is meant. Raises UsageError for what is no number.
    """
    found: list[tuple[str, float | None]] = []
    for each in data:
        match = None if Path(each).exists() else WEIGHED.fullmatch(each)
        if match is None:
            found.append((each, None))
            continue
        try:
            found.append((match[1], float(match[2])))
        except ValueError:
            raise UsageError(f"{each}: what follows the @ is a weight, as in pairs.csv@2.5") from None
    weights = tuple(1.0 if weight is None else weight for _, weight in found)
    return [name for name, _ in found], weights if any(weight is not None for _, weight in found) else None


def run_name(given: str | None, source: str) -> str:
    """What to call the model: as given, or after its data."""
    from clipcli.bundle.installed import check_new_name

    made = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).resolve().stem)[:64].strip("-._") or "model"
    return check_new_name(given or made)


def unused_folder(run: Path) -> Path:
    """`run`, or with a number behind it where a finished run lies there; one that is not finished is to be resumed."""
    from trainer.run import is_finished

    numbered = (run.with_name(f"{run.name}-{number}") for number in count(2))
    return next(folder for folder in chain((run,), numbered) if not is_finished(folder))


def run_options(
    chosen: dict[str, Any], given: list[str], start: str | None, scratch: bool, recipe: Path | None
) -> TrainOptions:
    from clipcli.bundle.installed import find_model
    from trainer.defaults import compose, read_recipe
    from trainer.settings import read_settings

    further = read_settings(given)
    if twice := [name for name in further if chosen.get(name) is not None]:
        raise UsageError(f"{twice[0]} is given twice: by --set and by an option of its own")
    settings = read_recipe(recipe) if recipe is not None else {}
    scratch = scratch or (start is None and "arch" in settings)
    if scratch and start is not None:
        raise UsageError("--scratch starts from nothing, --from NAME from a model: give one of them")
    if chosen["arch"] is not None and not scratch:
        raise UsageError("--arch goes with --scratch; fine-tuning keeps the towers of the model it starts from")
    if chosen["distill"] is not None:
        chosen = chosen | {"distill": str(find_model(chosen["distill"]).resolve())}
    base = None if scratch else _found(start)
    if base is not None:  # what asks a model by its templates goes on doing so, unless the recipe has others
        from trainer.beginning import templates_of

        settings = {"templates": templates_of(base)} | settings
    return compose(start=base, recipe=settings, chosen=chosen, settings=further)


def _found(start: str | None) -> Path:
    """The model, or the run with the weights, that is fine-tuned. Raises NotFoundError."""
    from clipcli.bundle.installed import find_model

    try:
        return find_model(start).resolve()
    except NotFoundError:
        run = Path(start or "").expanduser()
        if start is None or not (run / "towers.json").is_file():
            raise
        return run.resolve()
