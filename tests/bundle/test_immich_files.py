"""Immich's layout with files missing, or with a vocabulary from somewhere else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from clipcli.bundle.encoder import Model
from clipcli.errors import ModelError, UsageError
from tests.bundle.test_foreign import HUNDRED, TEXTS, bring
from tests.foreign_layouts import make_immich


def test_immich_with_a_tokenizer_from_elsewhere(tmp_path: Path) -> None:
    folder = make_immich(tmp_path / "model")
    own = folder / "textual" / "tokenizer.json"
    expected = Model.load(bring(folder, HUNDRED).folder, device="cpu").encode_texts(TEXTS)
    elsewhere = own.rename(tmp_path / "tokenizer.json")
    with pytest.raises(UsageError, match=r"tokenizer.json is missing: .*--tokenizer FILE"):
        bring(folder, HUNDRED, replace=True)
    for chosen in (elsewhere, elsewhere.parent):
        answers = dataclasses.replace(HUNDRED, tokenizer=chosen)
        assert (Model.load(bring(folder, answers, replace=True).folder).encode_texts(TEXTS) == expected).all()
    settings = folder / "textual" / "tokenizer_config.json"
    settings.write_text('{"pad_token": "<nobody>"}', "utf-8")
    with pytest.raises(UsageError, match="is another model's: it has no '<nobody>'"):
        bring(folder, answers, replace=True)
    settings.unlink()  # what OpenCLIP's own tokenizer fills with is known
    assert bring(folder, answers, replace=True).spec.pad_id == 0
    (tmp_path / "merges.txt").write_text("#version: 0.2\ni n\n", "utf-8")
    with pytest.raises(UsageError, match=r"merges.txt is no tokenizer.json"):
        bring(folder, dataclasses.replace(HUNDRED, tokenizer=tmp_path / "merges.txt"), replace=True)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["text_cfg"]["hf_tokenizer_name"] = "somebody/theirs"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UsageError, match=r"tokenizer_config.json is missing, which says what fills"):
        bring(folder, answers, replace=True)


@pytest.mark.parametrize("file", ["config.json", "visual/preprocess_cfg.json", "visual/model.onnx"])
def test_a_file_of_immich_that_is_missing(tmp_path: Path, file: str) -> None:
    folder = make_immich(tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(ModelError if file.endswith("onnx") else UsageError, match=f"{file} is missing"):
        bring(folder, HUNDRED)
