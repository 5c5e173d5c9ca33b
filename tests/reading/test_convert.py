"""Models written for other libraries: under their names and shapes, and the same when they are read again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer

from clipcli.bundle.probe import smallest_cosine
from clipcli.bundle.spec import ModelSpec, Variant, read_spec, write_spec
from clipcli.bundle.stamps import file_facts
from clipcli.errors import ModelError, UsageError
from export.converting import convert_model
from export.weights import has_full_matrices, stored, write_weights
from tests.reading.lively import Reference, load, pixels
from tests.reading.public_formats import write
from trainer.architectures import architecture
from trainer.reading.found import Choices
from trainer.reading.importing import build, read_model
from trainer.writing.openclip import write_openclip
from trainer.writing.transformers_folder import write_transformers

CASES = [
    ("open-clip", "openclip-vit-quick"),
    ("open-clip", "openclip-vit-gelu"),
    ("open-clip", "openclip-resnet-quick"),
    ("transformers", "transformers-clip"),
    ("transformers", "transformers-siglip"),
]


def bundle_of(reference: Reference, tmp_path: Path) -> Path:
    """An imported model as `clip models import` leaves it, but for the graphs, which nobody looks at here."""
    found = read_model(write(reference, tmp_path / "source"), Choices())
    model, folder = build(found), tmp_path / "bundle"
    folder.mkdir()
    write_weights(folder, stored(model.state_dict(), exact=True))
    (folder / "tokenizer.json").write_bytes(found.tokenizer)
    config = model.config
    spec = ModelSpec(
        name="small",
        architecture=config.name,
        embedding_dim=config.embedding_dim,
        preprocess=found.preprocess,
        context_length=config.text.context_length,
        causal_text=config.text.causal,
        text_cleaning=found.text_cleaning,
        pad_id=found.pad_id,
        activation=config.activation,
        logit_scale=float(model.logit_scale.exp()),
        logit_bias=None if model.logit_bias is None else float(model.logit_bias),
        towers=json.loads(json.dumps(config.to_dict())),
        variants=(Variant(precision="fp32", image="image.onnx", text="text.onnx"),),
        default_precision="fp32",
        licence="mit",
        identity="0" * 64,
        files={path.name: file_facts(path) for path in folder.iterdir()},
    )
    write_spec(folder, spec)
    return folder


@pytest.mark.parametrize(("to", "name"), CASES)
def test_names_and_shapes_are_the_peers_and_the_embeddings_stay(to: str, name: str, tmp_path: Path) -> None:
    reference = load(name)
    folder = convert_model(bundle_of(reference, tmp_path), tmp_path / "written", to=to)
    (weights,) = folder.glob("*.safetensors")
    written = {key: list(tensor.shape) for key, tensor in safetensors.torch.load_file(weights).items()}
    counters = ("position_ids", "num_batches_tracked")
    theirs = {key: list(shape) for key, shape in reference.shapes.items() if not key.endswith(counters)}
    assert {key: shape for key, shape in written.items() if not key.endswith(counters)} == theirs
    found = read_model(folder, Choices())
    model = build(found)
    with torch.no_grad():
        assert smallest_cosine(model.encode_image(pixels(reference.size)).numpy(), reference.images) >= 0.999999
        assert smallest_cosine(model.encode_text(reference.tokens).numpy(), reference.texts) >= 0.999999
    again = read_model(tmp_path / "source", Choices()) if (tmp_path / "source").is_dir() else found
    assert (found.preprocess, found.licence) == (again.preprocess, "mit")
    # Token 0 is an exclamation mark, and transformers takes what fills a row for a marker: "!!" would be cut in two.
    filled = 49_407 if name == "transformers-clip" else again.pad_id
    assert found.pad_id == filled


def test_a_siglip_tower_goes_into_transformers_from_openclip(tmp_path: Path) -> None:
    reference = load("openclip-siglip1")
    made = bundle_of(reference, tmp_path)
    with pytest.raises(UsageError, match="none of these sizes"):
        convert_model(made, tmp_path / "back", to="open-clip")
    folder = convert_model(made, tmp_path / "written", to="transformers")
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["vision_config"]["hidden_act"]) == ("siglip", "gelu")
    model = build(read_model(folder, Choices()))
    with torch.no_grad():
        assert smallest_cosine(model.encode_text(reference.tokens).numpy(), reference.texts) >= 0.999999
    cleaned = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("A  photo, of_a CAT!")
    assert cleaned.ids == Tokenizer.from_file(str(made / "tokenizer.json")).encode("a photo of a cat").ids


def test_what_a_library_cannot_express_is_refused(tmp_path: Path) -> None:
    made = bundle_of(load("openclip-resnet-quick"), tmp_path)
    with pytest.raises(UsageError, match="transformers has no CLIP with a ResNet"):
        convert_model(made, tmp_path / "written", to="transformers")
    with pytest.raises(UsageError, match="--to is one of open-clip, transformers, not 'jax'"):
        convert_model(made, tmp_path / "written", to="jax")
    assert not (tmp_path / "written").exists()
    with pytest.raises(UsageError, match="is there already"):
        convert_model(made, tmp_path, to="open-clip")


def test_a_bag_of_words_is_no_text_tower_of_theirs(tmp_path: Path) -> None:
    made = bundle_of(load("openclip-resnet-quick"), tmp_path)
    spec, bag = read_spec(made), architecture("RN-nano-64-bag")
    for who, write_theirs in (("OpenCLIP", write_openclip), ("transformers", write_transformers)):
        with pytest.raises(UsageError, match=f"{who} has no text tower that is a bag of words"):
            write_theirs(tmp_path / who, spec, bag, {}, made)
        assert not (tmp_path / who).exists()


def test_a_model_without_weights_cannot_be_converted(tmp_path: Path) -> None:
    from clipcli.bundle.spec import read_spec

    made = bundle_of(load("openclip-vit-quick"), tmp_path)
    spec = read_spec(made)
    write_spec(made, dataclasses.replace(spec, files={}))
    with pytest.raises(ModelError, match="comes without weights"):
        convert_model(made, tmp_path / "written", to="open-clip")


def test_weights_that_half_precision_holds_take_half_the_space(tmp_path: Path) -> None:
    whole = {"a.weight": torch.full((4, 4), 1 / 3)}
    write_weights(tmp_path, stored(whole, exact=True))
    assert has_full_matrices(tmp_path / "weights.safetensors")
    write_weights(tmp_path, stored({"a.weight": whole["a.weight"].half().float()}, exact=True))
    assert not has_full_matrices(tmp_path / "weights.safetensors")
    write_weights(tmp_path, stored(whole))
    assert not has_full_matrices(tmp_path / "weights.safetensors")
