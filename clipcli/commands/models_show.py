"""`clip models show`: everything a model says about itself, in lines to read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.commands.options import Format, FormatOption

if TYPE_CHECKING:
    from pathlib import Path

    from clipcli.bundle.spec import ModelSpec
    from clipcli.render.tables import Cell

NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A model by name, or a model folder.", show_default=False)
]

_COSINES = {"pictures": "image_min_cosine", "texts": "text_min_cosine"}
# Figures that are shares of something, by a part of their name: they are read as percentages.
_SHARES = ("@", "top-", "top1", "top5", "mean per class", "mean_per_class", "accuracy", "score")
# What stands in `model.json` under a short name, as a person would say it; docs/contract.md explains each.
_SAID = {
    "anchor": "anchor (1 is its start)",
    "fine_tuned_from": "fine-tuned from",
    "logit_scale_from": "logit scale known from",
    "parity_on": "exactness measured on",
    "published": "published figures",
    "refused": "precisions left out",
    "score": "score of the kept epoch",
    "sha256": "SHA-256 of that file",
    "trained_at": "trained at pixels",
}


def show(name: NameArgument = None, format: FormatOption = None) -> None:
    """Show everything a model says about itself.

    Without a name: the default model.
    """
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.render.records import write_records
    from clipcli.render.tables import Column, write_table

    folder = find_model(name)
    spec = read_spec(folder)
    if format in (None, Format.table):
        rows: list[list[Cell]] = [[fact, value] for fact, value in _facts(folder, spec)]
        write_table([Column(title="name"), Column(title=spec.name, wide=True)], rows)
        return
    fields = ("name", *(key for key in spec.to_dict() if key != "name"), "path", "path_b64")
    write_records(cells_of(format, [{**spec.to_dict(), "path": os.fsencode(folder)}]), format=format, fields=fields)


def cells_of(format: Format, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lists and objects within a record are JSON in the one cell that CSV and TSV have for them."""
    if format not in (Format.csv, Format.tsv):
        return records
    nested = (list, tuple, dict)
    return [
        {key: json.dumps(value) if isinstance(value, nested) else value for key, value in record.items()}
        for record in records
    ]


def size(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def _facts(folder: Path, spec: ModelSpec) -> list[tuple[str, str]]:
    preprocess = spec.preprocess
    facts = [
        ("folder", str(folder)),
        ("identity", spec.identity),
        ("architecture", f"{spec.architecture}, {spec.activation}"),
        ("embedding", f"{spec.embedding_dim} numbers"),
        ("pictures", f"{preprocess.image_size} pixels, {preprocess.resize}, {preprocess.interpolation}"),
        ("texts", f"at most {spec.context_length} tokens, both markers counted"),
        (
            "logit scale",
            f"{spec.logit_scale:.2f}" + ("" if spec.logit_bias is None else f", bias {spec.logit_bias:.2f}"),
        ),
    ]
    facts += _lines("templates", spec.templates)
    for variant in spec.variants:
        chosen = " (default)" if variant.precision == spec.default_precision else ""
        facts.append((f"{variant.precision}{chosen}", f"{variant.image}, {variant.text}"))
        facts += [("", line) for line in parity_lines(variant.parity or {})]
    for name, value in (*spec.metrics.items(), *spec.provenance.items()):
        facts += _lines(name, value)
    facts += [("licence", spec.licence), ("size", size(sum(int(one["bytes"]) for one in spec.files.values())))]
    return facts


def parity_lines(parity: Mapping[str, float]) -> list[str]:
    """How near a variant comes to the exact towers, in words; what is not known by name here stands as it is."""
    from clipcli.render.text import percent

    if not parity:
        return ["not measured"]
    left = dict(parity)
    counts = [
        f"{left.pop(name):,.0f} {what}" for name, what in (("images", "pictures"), ("texts", "texts")) if name in left
    ]
    told = f"measured on {' and '.join(counts)}" if counts else "measured"
    cosines = [f"{what} {left.pop(name):.6g}" for what, name in _COSINES.items() if name in left]
    lines = [f"{told}, smallest cosine to the exact vectors: {', '.join(cosines)}" if cosines else told]
    if "top10_overlap" in left:
        lines.append(f"of the first ten pictures found {percent(left.pop('top10_overlap'))} stay the same")
    if "recall10_change" in left:
        lines.append(f"the right picture among the first ten (R@10): {left.pop('recall10_change'):.2f} points off")
    return lines + ([_readable(left)] if left else [])


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    """A line for a plain value or a list of short ones; else a line for each thing inside, under one name."""
    if isinstance(value, Mapping):
        shares = [key for key, one in value.items() if _is_share(key, one)]
        plain = {key: one for key, one in value.items() if key not in shares}
        texts = [_readable(plain)] if plain else []
        texts += [_readable({key: value[key]}) for key in shares]
    elif isinstance(value, list | tuple) and sum(len(str(one)) for one in value) > 60:
        texts = [_readable(one) for one in value]
    else:
        texts = [_readable(value, name)]
    return [(_plain(name) if number == 0 else "", text) for number, text in enumerate(texts or ["none"])]


def _readable(value: Any, key: str = "") -> str:
    from clipcli.render.text import percent

    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(str(name))} {_readable(one, str(name))}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_readable(one) for one in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return percent(value) if _is_share(key, value) else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_share(key: str, value: Any) -> bool:
    return isinstance(value, float) and 0 <= value <= 1 and any(part in key for part in _SHARES)


def _plain(name: str) -> str:
    """`validation/text_to_image@10` is `validation: text to image R@10`."""
    shown = _SAID.get(name) or name.replace("_", " ").replace("/", ": ")
    return re.sub(r"(?<!R)@(?=\d+$)", " R@", shown)
