"""`clip models` as a person or a script meets it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle import installed
from clipcli.bundle.hub.catalogue import known_models
from clipcli.bundle.hub.pulling import parse_address
from clipcli.bundle.installed import check_name, find_model, install, models_folder
from clipcli.bundle.spec import read_spec, write_spec
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library

Models = Callable[..., Any]


@pytest.fixture
def models() -> Models:
    return lambda *arguments: CliRunner().invoke(app, ["models", *map(str, arguments)])


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_tiny_bundle(tmp_path / "package" / "starter", name="starter", seed=5)
    monkeypatch.setattr(installed, "shipped_model", lambda: folder)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return install(make_tiny_bundle(tmp_path / "source"), name="mine")


def records(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout))


def test_list_shows_what_is_installed_and_which_is_used(models: Models, mine: Path) -> None:
    lines = models("list").stdout.split("\n\n")[0].splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["mine", "tiny"], ["*", "starter"]]
    found = records(models("list", "--format", "json"))
    assert [(one["name"], one["default"], one["shipped"]) for one in found] == [
        ("mine", False, False),
        ("starter", True, True),
    ]
    assert found[0]["precisions"] == ["fp32", "fp16"]
    assert found[0]["bytes"] == sum(path.stat().st_size for path in mine.iterdir() if path.name[0] not in ".m")
    assert found[0]["path"] == str(mine)
    assert "problem" in found[0]


def test_list_as_paths_and_csv(models: Models, mine: Path, shipped: Path) -> None:
    assert models("list", "--format", "paths").stdout.splitlines() == [str(mine), str(shipped)]
    (row, _) = csv.DictReader(io.StringIO(models("list", "--format", "csv").stdout))
    assert row["name"] == "mine"
    assert json.loads(row["precisions"]) == ["fp32", "fp16"]


def test_list_names_damaged_models_and_goes_on(models: Models, mine: Path) -> None:
    (mine / "model.json").write_text("{", "utf-8")
    result = models("list")
    assert result.exit_code == 0
    assert "starter" in result.stdout
    assert "mine is damaged" in result.stderr
    assert records(models("list", "--format", "json"))[0]["problem"]


def test_an_empty_list_says_so(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "shipped_model", lambda: None)
    result = models("list")
    assert result.exit_code == 0
    assert result.stdout.startswith("\nto be had: clip models pull NAME\n")
    assert "no models" in result.stderr
    assert records(models("list", "--format", "json")) == []


def test_show_tells_everything(models: Models, mine: Path) -> None:
    text = models("show", "mine").stdout
    for fact in (
        str(mine),
        "32 pixels",
        "at most 16 tokens",
        "fp32 (default)",
        "smallest cosine to the exact vectors: pictures 1",
        "MIT",
    ):
        assert fact in text
    (record,) = records(models("show", "mine", "--format", "json"))
    assert record["preprocess"]["image_size"] == 32
    assert record["path"] == str(mine)
    assert "starter" in models("show").stdout
    (row,) = csv.DictReader(io.StringIO(models("show", "mine", "--format", "csv").stdout))
    assert json.loads(row["preprocess"])["image_size"] == 32


def test_show_says_in_words_how_exact_a_variant_is(models: Models, mine: Path) -> None:
    spec = read_spec(mine)
    parity = {"image_min_cosine": 0.99777, "text_min_cosine": 1.0, "images": 1002, "texts": 1670}
    parity |= {"recall10_change": 0.18, "top10_overlap": 0.9608}
    variants = (
        dataclasses.replace(spec.variants[0], parity=parity),
        dataclasses.replace(spec.variants[1], parity=None),
    )
    write_spec(mine, dataclasses.replace(spec, variants=variants))
    lines = [" ".join(line.split()) for line in models("show", "mine").stdout.splitlines()]
    assert lines[0] == "name mine"
    start = lines.index("fp32 (default) image.onnx, text.onnx") + 1
    assert lines[start : start + 3] == [
        "measured on 1,002 pictures and 1,670 texts, smallest cosine to the exact vectors: pictures 0.99777, texts 1",
        "of the first ten pictures found 96.1 % stay the same",
        "the right picture among the first ten (R@10): 0.18 points off",
    ]
    assert "not measured" in lines


def test_show_writes_lists_objects_and_figures_to_be_read(models: Models, mine: Path) -> None:
    spec = read_spec(mine)
    metrics = {"birds": {"photos": 12000, "top-1": 0.70155, "loss": 1.23456789, "text_to_image R@1": 0.05}}
    metrics |= {"dev/text_to_image@10": 0.346, "dev/top1": 0.5, "score": 0.25, "anchor": 0.3}
    provenance = {
        "trained_on": [f"part-{number}-of-many.parquet" for number in range(4)],
        "refused": {},
        "frozen": True,
        "fine_tuned_from": "starter",
        "parity_on": ["made pictures"],
    }
    write_spec(mine, dataclasses.replace(spec, metrics=metrics, provenance=provenance))
    text = models("show", "mine").stdout
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {"dev: text to image R@10 34.6 %", "dev: top1 50.0 %", "score of the kept epoch 25.0 %"} <= lines
    assert "anchor (1 is its start) 0.3" in lines
    assert {"birds photos 12,000, loss 1.23457", "top-1 70.2 %", "text to image R@1 5.0 %", "frozen yes"} <= lines
    assert {"trained on part-0-of-many.parquet", "part-1-of-many.parquet", "precisions left out none"} <= lines
    assert {"fine-tuned from starter", "exactness measured on made pictures"} <= lines
    assert not set("{}[]'") & set(text.split("fp32 (default)")[1])
    (record,) = records(models("show", "mine", "--format", "json"))
    assert (record["metrics"], record["provenance"]) == (metrics, provenance)


def test_list_names_what_is_to_be_had(models: Models, mine: Path) -> None:
    text = models("list").stdout
    assert "mine" in text
    shown = text.split("to be had: clip models pull NAME\n")[1].splitlines()[1:]
    assert [line.split()[0] for line in shown] == [known.name for known in known_models()]
    assert "mine" not in models("list", "--known").stdout
    found = records(models("list", "--known", "--format", "json"))
    assert [one["name"] for one in found] == [known.name for known in known_models()]
    assert not any(one["installed"] for one in found)
    known = known_models()[0]
    spec = read_spec(mine)
    write_spec(mine, dataclasses.replace(spec, provenance={"repository": known.repository}))
    assert known.name not in [line.split(maxsplit=1)[0] for line in models("list").stdout.splitlines() if line]
    assert records(models("list", "--known", "--format", "json"))[0]["installed"]


def test_every_published_figure_has_its_reference() -> None:
    names = [known.name for known in known_models()]
    assert len(set(names)) == len(names)
    for known in known_models():
        assert check_name(known.name) == known.name
        assert parse_address(f"hf:{known.repository}").repository == known.repository
        assert known.comes_as in ("graphs", "weights")
        assert known.size_bytes > 1e8
        for reference in (known.licence_from, known.zero_shot_from):
            assert reference is None or reference.startswith("https://")
    with pytest.raises(ValueError, match="needs its reference"):
        dataclasses.replace(known_models()[0], zero_shot_from=None)


def test_show_takes_a_folder_and_misses_a_name(models: Models, shipped: Path) -> None:
    assert str(shipped) in models("show", str(shipped)).stdout
    result = models("show", "nobody")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1


def test_verify_passes_and_fails_by_exit_code(models: Models, mine: Path) -> None:
    result = models("verify", "mine", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "FAILED" not in result.stdout
    found = records(models("verify", "--device", "cpu", "--format", "json"))
    assert {one["model"] for one in found} == {"mine", "starter"}
    assert all(one["passed"] for one in found)

    content = bytearray((mine / "image.onnx").read_bytes())
    content[100] ^= 1
    (mine / "image.onnx").write_bytes(content)
    result = models("verify", "mine", "--format", "ndjson")
    assert result.exit_code == 8
    assert result.stderr.count("\n") == 1
    assert "1 of" in result.stderr
    failed = [one for one in map(json.loads, result.stdout.splitlines()) if not one["passed"]]
    assert [one["check"] for one in failed] == ["image.onnx"]
    assert "FAILED" in models("verify", "mine").stdout


def test_verify_goes_on_after_a_model_that_cannot_be_read(models: Models, mine: Path) -> None:
    (mine / "model.json").write_text("{", "utf-8")
    result = models("verify", "--device", "cpu", "--format", "json")
    assert result.exit_code == 8
    found = json.loads(result.stdout)
    assert [(one["model"], one["check"]) for one in found if not one["passed"]] == [("mine", "model.json")]
    assert any(one["model"] == "starter" for one in found)


def test_rm_removes_and_says_how_much(models: Models, mine: Path) -> None:
    result = models("rm", "mine")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "removed mine (0." in result.stderr
    assert not mine.exists()
    assert models("rm", "mine").exit_code == 4
    assert models("rm", "starter").exit_code == 2
    assert models("rm").exit_code == 2


def test_rm_tells_what_the_library_here_has_of_it(
    models: Models, mine: Path, shipped: Path, photo_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder(count=2)
    library = make_tiny_library(folder / ".clip" / "library.db", folder, [mine])
    monkeypatch.chdir(folder)
    result = models("rm", "mine")
    assert result.exit_code == 0
    assert f"{library} has 2 pictures by this model" in result.stderr
    other = install(shipped, name="other")
    assert "pictures by this model" not in models("rm", "other").stderr
    assert not other.exists()


def test_a_damaged_model_can_be_removed(models: Models, mine: Path) -> None:
    (mine / "model.json").write_text("{", "utf-8")
    assert models("rm", "mine").exit_code == 0
    assert not mine.exists()


def test_default_chooses_shows_and_goes_back(models: Models, mine: Path, shipped: Path) -> None:
    assert models("default").stdout == "starter\n"
    assert models("default", "mine").stdout == "mine\n"
    assert find_model(None) == mine
    assert models("default").stdout == "mine\n"
    assert models("default", "--reset").stdout == "starter\n"
    assert find_model(None) == shipped
    assert models("default", "nobody").exit_code == 4
    assert models("default", "mine", "--reset").exit_code == 2


def test_a_mismatch_found_at_installation_has_exit_code_8(mine: Path) -> None:
    from clipcli.errors import ModelError

    (mine / "tokenizer.json").write_bytes((mine / "tokenizer.json").read_bytes()[::-1])
    with pytest.raises(ModelError) as caught:
        install(mine, name="again")
    assert caught.value.exit_code == 8
    assert [path.name for path in models_folder().iterdir()] == ["mine"]


def test_what_needs_an_extra_stands_under_a_heading_of_its_own(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.commands import bringing

    weights = {known.name for known in known_models() if known.comes_as == "weights"}
    heading = "to be had as weights, which needs the extra 'train'\n"
    assert heading not in models("list").stdout
    monkeypatch.setattr(bringing, "has_train", lambda: False)
    ready, lacking = models("list").stdout.split(heading)
    assert {line.split()[0] for line in lacking.splitlines()[1:]} == weights
    assert not weights & set(ready.split())


def test_the_extra_is_looked_for_by_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.commands import bringing

    monkeypatch.setattr(bringing, "_OF_TRAIN", ("typer",))
    assert bringing.has_train()
    monkeypatch.setattr(bringing, "_OF_TRAIN", ("typer", "no-such-package"))
    assert not bringing.has_train()


def test_failed_checks_stand_last(models: Models, mine: Path) -> None:
    (mine / "image.onnx").unlink()
    result = models("verify")
    assert result.exit_code == 8
    assert [("FAILED" in line) for line in result.stdout.splitlines()[-2:]] == [False, True]
    assert "fetch or import it again, with --replace" in result.stdout
