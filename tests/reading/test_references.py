"""Models read from public formats against what the peers compute with the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clipcli.bundle.installed import models_folder
from clipcli.bundle.probe import smallest_cosine
from clipcli.errors import ModelError, UsageError
from tests.reading.lively import FOLDER, Reference, load, pixels, weights
from tests.reading.public_formats import write, write_merges
from trainer.config import Activation
from trainer.reading import vocabulary
from trainer.reading.found import Choices, Found
from trainer.reading.importing import build, read_model
from trainer.reading.vocabulary import OPENAI_MARKERS, clip_tokenizer
from trainer.towers import Clip

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
EXACT = 0.999999  # measured: 0.9999999 and better everywhere


def embed(model: Clip, reference: Reference) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with torch.no_grad():
        return model.encode_image(pixels(reference.size)).numpy(), model.encode_text(reference.tokens).numpy()


def read(reference: Reference, folder: Path, choices: Choices | None = None) -> Found:
    return read_model(write(reference, folder), choices or Choices())


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_the_peers(name: str, tmp_path: Path) -> None:
    reference = load(name)
    images, texts = embed(build(read(reference, tmp_path)), reference)
    assert smallest_cosine(images, reference.images) >= EXACT
    assert smallest_cosine(texts, reference.texts) >= EXACT
    cosines = reference.images @ reference.images.T
    assert np.abs(cosines[~np.eye(len(cosines), dtype=bool)]).max() < 0.995  # else equality would prove little


@pytest.mark.parametrize(("name", "wrong"), [("openclip-vit-quick", "gelu"), ("openclip-vit-gelu", "quick_gelu")])
def test_another_activation_gives_other_embeddings(name: str, wrong: Activation, tmp_path: Path) -> None:
    reference = load(name)
    folder = write(reference, tmp_path)
    values = json.loads((folder / "open_clip_config.json").read_text())
    values["model_cfg"]["quick_gelu"] = wrong == "quick_gelu"
    (folder / "open_clip_config.json").write_text(json.dumps(values))
    images, texts = embed(build(read_model(folder, Choices())), reference)
    assert smallest_cosine(images, reference.images) < EXACT
    assert smallest_cosine(texts, reference.texts) < EXACT


@pytest.mark.parametrize(
    ("name", "stated", "wrong"),
    [
        ("openclip-vit-quick", "quick_gelu", "gelu"),
        ("openclip-vit-gelu", "gelu", "quick_gelu"),
        ("openai-vit-quick", "quick_gelu", "gelu"),
        ("transformers-siglip", "gelu_tanh", "gelu"),
    ],
)
def test_an_activation_that_the_source_says_otherwise_is_refused(
    name: str, stated: Activation, wrong: Activation, tmp_path: Path
) -> None:
    source = write(load(name), tmp_path)
    with pytest.raises(UsageError, match=f"the source says {stated}, not {wrong}"):
        read_model(source, Choices(activation=wrong))
    assert read_model(source, Choices(activation=stated)).config.activation == stated


def test_what_the_catalogue_knows_is_taken_whatever_the_source_says(tmp_path: Path) -> None:
    folder = write(load("transformers-clip"), tmp_path)
    values = json.loads((folder / "config.json").read_text())
    for tower in ("vision_config", "text_config"):
        values[tower]["hidden_act"] = "gelu"
    (folder / "config.json").write_text(json.dumps(values))
    found = read_model(folder, Choices(activation="quick_gelu", known=True))
    assert (found.config.activation, found.config.activation_of_text) == ("quick_gelu", "quick_gelu")
    assert "config.json leaves that out" in found.notes[0]
    assert read_model(folder, Choices(known=True)).config.activation == "gelu"


def test_what_a_source_says_is_taken_over(tmp_path: Path) -> None:
    found = read(load("openai-vit-quick"), tmp_path / "openai")
    assert (found.config.activation, found.preprocess.resize, found.text_cleaning) == (
        "quick_gelu",
        "shortest",
        "lower",
    )
    found = read(load("openclip-vit-gelu"), tmp_path / "openclip")
    assert (found.config.activation, found.config.image.heads) == ("gelu", 2)
    assert (found.preprocess.resize, found.preprocess.interpolation) == ("squash", "bilinear")
    found = read(load("openclip-siglip2"), tmp_path / "siglip")
    assert (found.pad_id, found.text_cleaning, found.config.sigmoid) == (1, "canonicalize", True)
    assert (found.config.activation, found.config.activation_of_text) == ("gelu_tanh", "gelu_tanh")
    found = read(load("transformers-siglip"), tmp_path / "transformers")
    assert (found.preprocess.resize, found.preprocess.interpolation) == ("squash", "bilinear")
    assert found.preprocess.image_size == 33  # 4 x 4 patches of 8: what is left over is not rounded away
    assert found.preprocess.mean == (0.5, 0.4, 0.3)


@pytest.mark.parametrize("layout", ["zip", "stream", "wrapped"])
def test_a_bare_checkpoint_has_to_be_told_its_activation(layout: str, tmp_path: Path) -> None:
    reference = load("openclip-resnet-quick")
    state = weights(reference.shapes)
    path = tmp_path / "epoch_32.pt"
    if layout == "wrapped":  # as OpenCLIP's training writes it
        named = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 32, "name": "run", "state_dict": named, "optimizer": {"state": {0: {"step": 3}}}}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")
    write_merges(tmp_path / "merges.txt")
    with pytest.raises(UsageError, match="how many heads"):
        read_model(path, Choices())


def test_the_original_vocabulary_of_a_model_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's files come without it; whoever has any model with the same one needs no second copy."""
    monkeypatch.setattr(vocabulary, "find_spec", lambda _: None)  # no installed package brings one
    file = write(load("openai-vit-quick"), tmp_path / "source")
    merges = file.with_name("merges.txt").rename(tmp_path / "merges.txt")
    with pytest.raises(UsageError, match="clip models pull clip-vit-b-32"):
        read_model(file, Choices())
    (models_folder() / "other").mkdir(parents=True)
    (models_folder() / "other" / "tokenizer.json").write_text("{}")
    (models_folder() / "theirs").mkdir()
    installed = models_folder() / "theirs" / "tokenizer.json"
    installed.write_bytes(clip_tokenizer(vocabulary.read_merges(merges), OPENAI_MARKERS))
    found = read_model(file, Choices())
    assert found.notes == (f"the vocabulary is taken from {installed}",)
    assert found.tokenizer == installed.read_bytes()


def test_a_published_size_without_its_activation(tmp_path: Path) -> None:
    """Sizes that the table knows: the heads are known then, the activation is not."""
    shapes = {**load("openclip-vit-quick").shapes}
    from trainer.architectures import architecture

    with torch.device("meta"):
        named = Clip(architecture("ViT-nano-64/8")).state_dict()
    shapes = {
        name.replace("image_tower", "visual").replace("text_tower.", ""): list(tensor.shape)
        for name, tensor in named.items()
    }
    torch.save(weights(shapes), tmp_path / "model.pt")
    write_merges(tmp_path / "merges.txt")
    with pytest.raises(UsageError, match="--activation quick_gelu"):
        read_model(tmp_path / "model.pt", Choices())
    found = read_model(tmp_path / "model.pt", Choices(activation="gelu"))
    assert found.config.image.heads == 3
    assert found.config.name == "ViT-nano-64/8 with gelu"
    assert "pictures are prepared as for the original CLIP" in found.notes[0]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("model_cfg", "vision_cfg", "ls_init_value"), 0.1, "ls_init_value is 0.1"),
        (("model_cfg", "vision_cfg", "pool_type"), "avg", "pool_type is 'avg'"),
        (("model_cfg", "vision_cfg", "image_size"), 64, "positions are not stretched"),
        (("model_cfg", "vision_cfg", "layers"), 3, "image tower's layers is 3, in the weights it is 2"),
        (("model_cfg", "text_cfg", "embed_cls"), True, "embed_cls is True"),
        (("model_cfg", "text_cfg", "hf_model_name"), "xlm-roberta-base", "hf_model_name is 'xlm-roberta-base'"),
        (("model_cfg", "text_cfg", "pool_type"), "first", "pooled by 'first'"),
        (("model_cfg", "text_cfg"), 3, "text_cfg is no object"),
        (("preprocess_cfg", "resize_mode"), "longest", "resize must be one of"),
        (("preprocess_cfg", "size"), 99, "pictures of 99 pixels"),
    ],
)
def test_what_cannot_be_built_is_refused(place: tuple[str, ...], value: object, says: str, tmp_path: Path) -> None:
    folder = write(load("openclip-vit-quick"), tmp_path)
    values = json.loads((folder / "open_clip_config.json").read_text())
    inner = values
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (folder / "open_clip_config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=says):
        read_model(folder, Choices())


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("config.json", {"model_type": "siglip2"}, "model type 'siglip2' is not known"),
        ("config.json", {"vision_config": {"hidden_act": "relu"}}, "activation 'relu' is not known"),
        ("config.json", {"vision_config": {"layer_norm_eps": 0.1}}, "epsilon of 0.1"),
        ("config.json", {"text_config": {"num_hidden_layers": 12}}, "text tower's num_hidden_layers is 12"),
        ("preprocessor_config.json", {"resample": 0}, "resample is 0"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "only 1/255"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 256}}, "resized to"),
        ("preprocessor_config.json", {"do_normalize": False}, "do_normalize is False"),
        ("preprocessor_config.json", {"do_pad": True}, "do_pad is True"),
    ],
)
def test_what_transformers_says_otherwise(file: str, change: dict[str, object], says: str, tmp_path: Path) -> None:
    folder = write(load("transformers-clip"), tmp_path)
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | change))
    with pytest.raises(ModelError, match=says):
        read_model(folder, Choices())


def test_tensors_that_nobody_knows_are_named(tmp_path: Path) -> None:
    reference = load("openclip-vit-quick")
    state = weights({**reference.shapes, "visual.adapter.weight": [3, 3]})
    import safetensors.torch

    folder = write(reference, tmp_path)
    safetensors.torch.save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match=r"do not fit the towers.*adapter"):
        build(read_model(folder, Choices()))
