"""Verification: hashes, tokenizer, parity on the probe; and the first use of a low precision on a machine."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from clipcli.bundle import damage
from clipcli.bundle import probe as probe_module
from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import read_probe, smallest_cosine, write_probe
from clipcli.bundle.spec import MODEL_FILE, read_spec, write_spec
from clipcli.bundle.stamps import check_hashes, file_facts
from clipcli.bundle.verify import verify
from clipcli.errors import ModelError, NotFoundError, mending_line
from tests.tiny_bundle import make_tiny_bundle, solid_pixels


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny")


def record_again(folder: Path) -> None:
    """Hashes as they are now: the bundle is whole, whatever was changed in it."""
    files = {path.name: file_facts(path) for path in folder.iterdir() if path.name != MODEL_FILE}
    write_spec(folder, dataclasses.replace(read_spec(folder), files=files))


def turn_probe(folder: Path, tower: str, angle: float) -> None:
    """Turn the recorded vectors of one tower, so that the model seems off by that angle."""
    probe = read_probe(folder, read_spec(folder))
    vectors = probe.image_embeddings if tower == "image" else probe.text_embeddings
    other = np.roll(vectors, 1, axis=1)
    other -= (other * vectors).sum(axis=1, keepdims=True) * vectors
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    turned = (np.cos(angle) * vectors + np.sin(angle) * other).astype(np.float32)
    name = "image_embeddings" if tower == "image" else "text_embeddings"
    write_probe(folder, dataclasses.replace(probe, **{name: turned}))
    record_again(folder)


def test_a_good_model_passes_everything(bundle: Path) -> None:
    checks = verify(bundle, device="cpu")
    assert [check.what for check in checks if not check.passed] == []
    whats = [check.what for check in checks]
    assert whats[: len(read_spec(bundle).files)] == list(read_spec(bundle).files)
    assert whats[-5:] == ["tokenizer", "fp32 image tower", "fp32 text tower", "fp16 image tower", "fp16 text tower"]
    measured = [check for check in checks if check.cosine is not None]
    assert all(check.cosine and check.floor and check.floor <= check.cosine <= 1.000001 for check in measured)


def test_a_damaged_file_is_the_only_news(bundle: Path) -> None:
    (bundle / "probe.npz").write_bytes(b"x" * (bundle / "probe.npz").stat().st_size)
    (bundle / "text.onnx").unlink()
    failed = {check.what: check.detail for check in verify(bundle) if not check.passed}
    assert set(failed) == {"probe.npz", "text.onnx"}
    assert "SHA-256" in failed["probe.npz"]
    assert "missing" in failed["text.onnx"]


@pytest.mark.parametrize("tower", ["image", "text"])
def test_vectors_that_differ_fail_by_their_precision(bundle: Path, tower: str) -> None:
    """0.01 radian is a cosine of 0.99995: too far for fp32, near enough for fp16."""
    turn_probe(bundle, tower, 0.01)
    failed = [check for check in verify(bundle, device="cpu") if not check.passed]
    assert [check.what for check in failed] == [f"fp32 {tower} tower"]
    assert failed[0].cosine == pytest.approx(np.cos(0.01), abs=1e-6)


def test_other_tokens_than_recorded_fail(bundle: Path) -> None:
    probe = read_probe(bundle, read_spec(bundle))
    tokens = probe.tokens.copy()
    tokens[0, 1] += 1
    write_probe(bundle, dataclasses.replace(probe, tokens=tokens))
    record_again(bundle)
    assert "tokenizer" in [check.what for check in verify(bundle, device="cpu") if not check.passed]


@pytest.mark.parametrize("damage", ["not a zip", "wrong shape", "field missing", "objects"])
def test_a_probe_that_does_not_fit_is_said(bundle: Path, damage: str, tmp_path: Path) -> None:
    probe = read_probe(bundle, read_spec(bundle))
    if damage == "not a zip":
        (bundle / "probe.npz").write_bytes(b"nothing")
    elif damage == "wrong shape":
        write_probe(bundle, dataclasses.replace(probe, images=probe.images[:, :-1]))
    elif damage == "field missing":
        np.savez(bundle / "probe.npz", images=probe.images)
    else:
        marker = tmp_path / "executed"
        np.savez(bundle / "probe.npz", images=np.array([Opener(marker)], dtype=object))
        record_again(bundle)
        assert not [check for check in verify(bundle) if check.what == "probe.npz" and "cannot" not in check.detail][1:]
        assert not marker.exists()
    record_again(bundle)
    (failed,) = [check for check in verify(bundle, device="cpu") if not check.passed]
    assert failed.what == "probe.npz"


class Opener:
    """Unpickled, it makes a file: the sign that something was executed."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.marker), "w")


def test_without_a_probe_parity_is_not_vouched_for(bundle: Path) -> None:
    (bundle / "probe.npz").unlink()
    record_again(bundle)
    (failed,) = [check for check in verify(bundle) if not check.passed]
    assert failed.what == "parity"


def test_damage_of_the_shipped_model_says_what_brings_it_back(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle / "probe.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="import it again, with --replace"):
        check_hashes(bundle, read_spec(bundle))
    monkeypatch.setattr(damage, "SHIPPED_FOLDER", bundle.resolve())
    with pytest.raises(ModelError, match=f"comes with clip.*{re.escape(mending_line(bundle.name))}"):
        check_hashes(bundle, read_spec(bundle))
    (bundle / "model.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="comes with clip"):
        read_spec(bundle)


def test_no_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify(tmp_path)


def test_the_smallest_cosine_is_the_worst_pair() -> None:
    ours = np.array([[1, 0], [0, 2], [1, 1]], dtype=np.float32)
    theirs = np.array([[3, 0], [0, 1], [1, -1]], dtype=np.float32)
    assert smallest_cosine(ours[:2], theirs[:2]) == 1.0
    assert smallest_cosine(ours, theirs) == pytest.approx(0.0)
    assert smallest_cosine(ours, np.full_like(ours, np.nan)) == -1.0


# --- first use ---------------------------------------------------------------------------------------------------


def parity_record() -> Path:
    return platformdirs.user_cache_path("clip", appauthor=False) / "parity.json"


def test_a_low_precision_is_measured_once_on_a_machine(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    original = probe_module.tower_cosine

    def watched(model: Model, probe: probe_module.Probe, tower: str) -> float:
        measured.append(tower)
        return original(model, probe, tower)

    monkeypatch.setattr("clipcli.bundle.encoder.tower_cosine", watched)
    for _ in range(2):
        model = Model.load(bundle, precision="fp16", device="cpu")
        model.encode_texts(["red"])
        model.encode_texts(["blue"])
    assert measured == ["text"]
    model.encode_images(solid_pixels("red")[None])
    assert measured == ["text", "image"]
    assert len(json.loads(parity_record().read_text("utf-8"))) == 2


def test_fp32_needs_no_such_measurement(bundle: Path) -> None:
    Model.load(bundle, precision="fp32", device="cpu").encode_texts(["red"])
    assert not parity_record().exists()


def test_a_poor_variant_is_refused_at_first_use_and_ever_after(bundle: Path) -> None:
    turn_probe(bundle, "text", 0.1)
    for _ in range(2):
        model = Model.load(bundle, precision="fp16", device="cpu")
        with pytest.raises(ModelError, match=r"fp16 text tower of tiny is not exact enough.*cosine 0\.99"):
            model.encode_texts(["red"])
        with pytest.raises(ModelError, match="not exact enough"):
            model.encode_texts(["red"])  # the session that was opened is not used behind the error's back
        assert model.encode_images(solid_pixels("red")[None]).shape[0] == 1


def test_another_graph_of_the_same_model_is_measured_anew(bundle: Path) -> None:
    """An int8 form made again, from other calibration pictures, has the same identity."""
    Model.load(bundle, precision="fp16", device="cpu").encode_texts(["red"])
    (bundle / "text.fp16.onnx").write_bytes((bundle / "text.onnx").read_bytes())
    record_again(bundle)
    Model.load(bundle, precision="fp16", device="cpu").encode_texts(["red"])
    assert len(json.loads(parity_record().read_text("utf-8"))) == 2


def test_a_graph_nobody_vouches_for_fails(bundle: Path) -> None:
    spec = read_spec(bundle)
    write_spec(bundle, dataclasses.replace(spec, files={k: v for k, v in spec.files.items() if k != "image.onnx"}))
    (failed,) = [check for check in verify(bundle) if not check.passed]
    assert failed.what == "image.onnx"


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"'])
def test_a_damaged_record_only_costs_a_second_measurement(bundle: Path, content: str) -> None:
    parity_record().parent.mkdir(parents=True, exist_ok=True)
    parity_record().write_text(content, "utf-8")
    Model.load(bundle, precision="fp16", device="cpu").encode_texts(["red"])
    assert len(json.loads(parity_record().read_text("utf-8"))) == 1


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(bundle: Path) -> None:
    parity_record().parent.parent.mkdir(parents=True, exist_ok=True)
    parity_record().parent.write_text("a file where the folder should be", "utf-8")
    assert Model.load(bundle, precision="fp16", device="cpu").encode_texts(["red"]).shape[0] == 1
