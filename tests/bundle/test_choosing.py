"""`--precision auto`: on a processor the fastest variant known to be exact enough, elsewhere the default."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from clipcli.bundle import first_use
from clipcli.bundle.choosing import choose_variant, worst_cosine
from clipcli.bundle.spec import ModelSpec, Variant, read_spec
from clipcli.errors import NotFoundError
from tests.tiny_bundle import make_tiny_bundle

GOOD = {"image_min_cosine": 0.9998, "text_min_cosine": 0.999}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """fp32 by default, fp16, and an int8 that is exact enough. Files do not matter here."""
    monkeypatch.setattr(first_use, "_record", lambda: tmp_path / "parity.json")
    monkeypatch.setattr("clipcli.bundle.sessions.may_use_cuda", lambda: False)
    made = read_spec(make_tiny_bundle(tmp_path / "tiny"))
    return with_int8(made, GOOD)


def with_int8(spec: ModelSpec, parity: dict[str, float] | None) -> ModelSpec:
    first = dataclasses.replace(spec.variants[0], precision="fp32", parity=None)
    variants = tuple(
        dataclasses.replace(first, precision=precision, parity=figures)
        for precision, figures in (("fp32", None), ("fp16", GOOD), ("int8", parity))
    )
    return dataclasses.replace(spec, variants=variants, default_precision="fp32")


def taken(spec: ModelSpec, device: str = "auto", precision: str = "auto") -> str:
    return choose_variant(spec, precision, device=device).precision


def test_the_fastest_where_its_parity_passes(spec: ModelSpec) -> None:
    assert taken(spec) == taken(spec, "cpu") == "int8"


@pytest.mark.parametrize(
    "parity",
    [None, {}, {"image_min_cosine": 0.9998}, GOOD | {"image_min_cosine": 0.97}, GOOD | {"text_min_cosine": 0.9}],
)
def test_the_default_where_it_does_not_or_nothing_is_known(spec: ModelSpec, parity: dict[str, float] | None) -> None:
    assert taken(with_int8(spec, parity)) == "fp32"
    halves = dataclasses.replace(with_int8(spec, parity), default_precision="fp16")
    assert taken(halves) == "fp16"


def test_not_int8_on_a_gpu_even_where_it_is_the_default(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(spec, "cuda") == "fp32"
    monkeypatch.setattr("clipcli.bundle.sessions.may_use_cuda", lambda: True)
    assert taken(spec) == "fp32"
    assert taken(spec, "cpu") == "int8"
    assert taken(dataclasses.replace(spec, default_precision="int8")) == "fp32"


def test_what_proved_poor_on_this_machine_is_not_taken_again(spec: ModelSpec) -> None:
    with pytest.raises(first_use.ModelError, match="auto will from now on"):
        first_use.check_first_use(spec, spec.variant("int8"), "image", "cpu", lambda: 0.5)
    assert taken(spec) == "fp32"


def test_a_wish_is_a_wish(spec: ModelSpec) -> None:
    assert taken(spec, precision="fp16") == "fp16"
    alone = dataclasses.replace(spec, variants=spec.variants[:1])
    assert taken(alone) == "fp32"
    with pytest.raises(NotFoundError):
        taken(alone, precision="int8")


def test_the_worst_of_both_towers() -> None:
    one = Variant(precision="int8", image="a.onnx", text="b.onnx", parity=GOOD)
    assert worst_cosine(one) == GOOD["text_min_cosine"]
    assert worst_cosine(dataclasses.replace(one, parity=None)) is None
