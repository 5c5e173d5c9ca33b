"""`clip export`: runs and bundles in, installed models out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import find_model, install, list_models
from clipcli.bundle.spec import read_spec
from clipcli.errors import pip_line
from export.source import open_source
from tests.export.conftest import Done
from tests.export.towers import make_run, write_pairs

Export = Callable[..., Any]


@pytest.fixture
def export(fast: None) -> Export:
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "photos")


@pytest.fixture
def run(tmp_path: Path, pairs: Path) -> Path:
    return make_run(tmp_path / "run", photos=pairs)


def installed() -> set[str]:
    return {model.name for model in list_models() if not model.shipped}


def test_a_run_becomes_an_installed_model(export: Export, run: Path) -> None:
    result = export(run)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["variant", "fp32", "fp16", "int8"]
    assert "installed as my-birds" in result.stderr
    assert "made pictures" not in result.stderr
    model = Model.load(find_model("my-birds"), device="cpu")
    assert model.encode_texts(["a red car"]).shape == (1, 24)
    spec = model.spec
    assert spec.provenance == {"trained_on": ["pairs.csv"], "parity_on": ["pairs.csv"]}
    assert spec.metrics == {"epoch": 1, "score": 0.5}
    assert spec.variants[0].parity is not None
    assert spec.variants[0].parity["images"] == 8
    assert read_spec(run / "bundle").identity == spec.identity
    assert str(run.parent) not in (run / "bundle" / "model.json").read_text("utf-8")


def test_records_for_scripts(export: Export, run: Path) -> None:
    result = export(run, "--name", "birds", "--precision", "fp16", "--precision", "fp32", "--format", "json")
    assert result.exit_code == 0, result.stderr
    first, second = json.loads(result.stdout)
    assert (first["precision"], first["written"], second["precision"]) == ("fp16", True, "fp32")
    assert first["image_min_cosine"] > 0.9999
    assert first["path"] == str(find_model("birds"))
    assert read_spec(find_model("birds")).default_precision == "fp16"


def test_only_a_folder_when_nothing_is_to_be_installed(export: Export, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    result = export(run, "--no-install", "--output", target, "--precision", "fp32", "--licence", "CC0")
    assert result.exit_code == 0, result.stderr
    assert read_spec(target).licence == "CC0"
    assert installed() == set()
    assert not (run / "bundle").exists()


def test_an_earlier_export_in_the_run_stays(export: Export, run: Path) -> None:
    assert export(run, "--precision", "fp32").exit_code == 0
    other = export(run, "--precision", "fp16", "--name", "other", "--image-size", "32")  # the size it has: no change
    assert other.exit_code == 0, other.stderr
    assert "bundle stays as an earlier export left it; --replace writes it anew" in other.stderr
    assert [variant.precision for variant in read_spec(find_model("other")).variants] == ["fp16"]
    assert read_spec(run / "bundle").default_precision == "fp32"
    refused = export(run, "--no-install", "--precision", "fp16")
    assert (refused.exit_code, "holds an earlier export" in refused.stderr) == (2, True)
    assert export(run, "--no-install", "--precision", "fp16", "--replace").exit_code == 0
    assert read_spec(run / "bundle").default_precision == "fp16"
    assert read_spec(find_model("my-birds")).default_precision == "fp32"


def test_a_folder_of_ones_own_needs_no_free_name_and_loses_nothing(export: Export, run: Path, tmp_path: Path) -> None:
    taken, out = tmp_path / "photos", tmp_path / "out"
    assert export(run, "--precision", "fp32").exit_code == 0
    assert export(run, "--precision", "fp16", "-o", out).exit_code == 0  # 'my-birds' is installed, and stays
    assert read_spec(find_model("my-birds")).default_precision == read_spec(run / "bundle").default_precision == "fp32"
    assert "holds a model already" in export(run, "--precision", "fp32", "-o", out).stderr
    assert read_spec(out).default_precision == "fp16"
    both = export(run, "--precision", "fp32", "-o", out, "--replace", "--install", "--name", "second")
    assert both.exit_code == 0, both.stderr
    assert read_spec(out).default_precision == read_spec(find_model("second")).default_precision == "fp32"
    before = sorted(taken.iterdir())
    refused = export(run, "--precision", "fp32", "-o", taken, "--replace")
    assert (refused.exit_code, "is no model" in refused.stderr) == (2, True)
    assert sorted(taken.iterdir()) == before


def test_a_name_that_is_taken_is_found_out_before_the_work(export: Export, run: Path) -> None:
    assert export(run, "--name", "birds", "--precision", "fp32").exit_code == 0
    before = (find_model("birds") / "model.json").stat().st_mtime_ns
    again = export(run, "--name", "birds", "--precision", "fp16")
    assert again.exit_code == 2
    assert "already installed" in again.stderr
    assert (find_model("birds") / "model.json").stat().st_mtime_ns == before
    assert export(run, "--name", "birds", "--precision", "fp16", "--replace").exit_code == 0
    assert read_spec(find_model("birds")).default_precision == "fp16"


def test_without_photographs_it_says_what_it_measured_on(export: Export, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = export(run, "--precision", "fp32")
    assert result.exit_code == 0, result.stderr
    assert "made pictures" in result.stderr
    assert read_spec(find_model("my-birds")).provenance["parity_on"] == ["made pictures"]


def test_an_installed_model_is_exported_again_as_itself(export: Export, done_vit: Done, pairs: Path) -> None:
    install(done_vit.folder, name="mine")
    result = export("mine", "--precision", "int8", "--photos", pairs, "--replace")
    assert result.exit_code == 0, result.stderr
    spec = read_spec(find_model("mine"))
    assert [variant.precision for variant in spec.variants] == ["int8"]
    assert spec.identity == done_vit.spec.identity  # the vectors in libraries stay good
    assert spec.licence == "MIT"


def test_a_model_needs_some_place_to_go(export: Export, done_vit: Done) -> None:
    result = export(done_vit.folder, "--no-install")
    assert result.exit_code == 2
    assert "nowhere to write" in result.stderr


def test_check_measures_and_writes_nothing(export: Export, done_vit: Done, pairs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done_vit.folder.iterdir()}
    result = export(done_vit.folder, "--check", "--photos", pairs, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["precision"] for one in found] == ["fp32", "fp16", "int8"]
    assert all(one["images"] == 8 and one["image_min_cosine"] > 0.98 for one in found)
    assert {path: path.stat().st_mtime_ns for path in done_vit.folder.iterdir()} == before
    assert installed() == set()


def test_check_of_a_run_looks_at_its_bundle(export: Export, run: Path) -> None:
    assert export(run, "--no-install", "--precision", "fp16").exit_code == 0
    result = export(run, "--check", "--format", "json")
    assert result.exit_code == 0, result.stderr
    (only,) = json.loads(result.stdout)
    assert only["precision"] == "fp16"


def test_the_same_towers_for_larger_pictures(tmp_path: Path, pairs: Path) -> None:
    run = make_run(tmp_path / "run", "resnet", photos=pairs)
    arguments = ["export", str(run), "--image-size", "48", "--precision", "fp32"]
    result = CliRunner().invoke(app, arguments)  # through the real exporter
    assert result.exit_code == 0, result.stderr
    spec = read_spec(find_model("my-birds"))
    assert (spec.preprocess.image_size, spec.provenance["trained_at"]) == (48, 32)
    assert spec.metrics == {}  # they were of the other size
    assert spec.variants[0].parity is not None
    assert spec.variants[0].parity["image_min_cosine"] > 0.99999
    assert open_source(find_model("my-birds")).preprocess == spec.preprocess  # its weights fit: it can be trained on


def test_a_refused_variant_is_shown_as_such(export: Export, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export import bundle
    from tests.export.test_bundle import spoiled

    monkeypatch.setattr(bundle, "quantise", spoiled)
    result = export(run, "--format", "json")
    assert result.exit_code == 0
    assert "int8 is refused" in result.stderr
    *_, last = json.loads(result.stdout)
    assert (last["precision"], last["written"]) == ("int8", False)
    assert "wanted" in last["problem"]
    assert export(run, "--precision", "int8", "--replace").exit_code == 8


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["nowhere"], 4, "no model is called 'nowhere'"),
        (["{run}", "--precision", "fp8"], 2, "unknown precision 'fp8'"),
        (["{run}", "--name", "../up"], 2, "not a usable model name"),
        (["{run}", "--photos", "missing.csv"], 4, "missing.csv"),
        (["{run}", "--image-size", "24"], 2, "24 pixels are not more than the 32"),
        (["{run}", "--image-size", "44"], 2, "44"),
        (["{run}", "--image-size", "48", "--check"], 2, "--check measures the model that is there"),
    ],
)
def test_what_cannot_work_is_one_line(
    export: Export, run: Path, arguments: list[str], code: int, complaint: str
) -> None:
    result = export(*(argument.replace("{run}", str(run)) for argument in arguments))
    assert result.exit_code == code, result.stderr
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert installed() == set()


def test_a_model_without_weights_says_so(export: Export, tmp_path: Path) -> None:
    from tests.tiny_bundle import make_tiny_bundle

    result = export(make_tiny_bundle(tmp_path / "tiny"))
    assert result.exit_code == 8
    assert "without the weights" in result.stderr


def test_without_torch_the_extra_is_named(export: Export, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else original(name))
    result = export(run)
    assert result.exit_code == 10
    assert pip_line("train") in result.stderr
    assert result.stderr.count("\n") == 1
