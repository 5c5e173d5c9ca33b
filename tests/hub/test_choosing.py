"""Which files of a repository are fetched: graphs before weights, safetensors before pickles, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from clipcli.bundle.hub.choosing import choose
from clipcli.bundle.hub.client import Listing, RemoteFile
from clipcli.errors import NotFoundError, UsageError

TEXTS = ["config.json", "preprocessor_config.json", "tokenizer.json", "README.md"]


def listing(*names: str, sizes: dict[str, int] | None = None) -> Listing:
    files = {
        name: RemoteFile(path=name, size=(sizes or {}).get(name, 10), sha256=None, git_sha1="0" * 40) for name in names
    }
    return Listing(repository="owner/model", commit="0" * 40, files=files, licence=None)


def chosen(*names: str, sizes: dict[str, int] | None = None, **wishes: Any) -> tuple[str, set[str]]:
    choice = choose(listing(*names, sizes=sizes), **wishes)
    assert choice.size_bytes == sum(file.size for file in choice.files)
    return choice.kind, {file.path for file in choice.files}


SHARDS = ["model.safetensors.index.json", *(f"model-0000{number}-of-00002.safetensors" for number in (1, 2))]
GRAPHS = [
    f"onnx/{tower}_model{ending}.onnx" for tower in ("vision", "text") for ending in ("", "_fp16", "_quantized", "_q4")
]


def test_the_most_exact_graphs_with_their_data_and_the_smallest_that_knows_the_scale() -> None:
    both = ["onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model.onnx_data"]
    names = [*GRAPHS, "onnx/text_model.onnx_data", "onnx/text_model.onnx_data_1", *both, *TEXTS, "model.safetensors"]
    sizes = {"onnx/model.onnx": 1, "onnx/model.onnx_data": 500, "onnx/model_quantized.onnx": 200}
    kind, files = chosen(*names, sizes=sizes)
    pair = {
        "onnx/vision_model.onnx",
        "onnx/text_model.onnx",
        "onnx/text_model.onnx_data",
        "onnx/text_model.onnx_data_1",
    }
    assert (kind, files) == ("graphs", {*pair, "onnx/model_quantized.onnx", *TEXTS})
    assert chosen(*names, sizes=sizes, logits_known=True)[1] == {*pair, *TEXTS}


def test_the_precisions_asked_for() -> None:
    _, files = chosen(*GRAPHS, *TEXTS, precisions=("fp16", "int8"))
    endings = ("_fp16", "_quantized")
    assert files - set(TEXTS) == {f"onnx/{one}_model{end}.onnx" for one in ("vision", "text") for end in endings}
    assert "onnx/vision_model_fp16.onnx" in chosen(*GRAPHS[1:])[1]  # fp32 lacks its image graph
    with pytest.raises(NotFoundError, match="has no int8 graphs"):
        chosen(*[name for name in GRAPHS if "quantized" not in name], precisions=("int8",))
    with pytest.raises(UsageError, match="unknown precision 'q4'"):
        chosen(*GRAPHS, precisions=("q4",))


def test_immich_without_what_is_for_other_devices() -> None:
    wanted = {
        "config.json", "visual/model.onnx", "visual/onnx__MatMul_7", "textual/model.onnx", "textual/tokenizer.json",
        "visual/preprocess_cfg.json",
    }  # fmt: skip
    others = ["visual/model.armnn", "textual/rknpu/rk3588/model.rknn", "visual/fp16/model.onnx"]
    assert chosen(*wanted, *others) == ("graphs", wanted)
    with pytest.raises(NotFoundError, match="fp32 only"):
        chosen(*wanted, precisions=("int8",))


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (
            ["open_clip_config.json", "open_clip_pytorch_model.bin", "open_clip_model.safetensors"],
            {"open_clip_model.safetensors"},
        ),
        (["open_clip_config.json", "open_clip_pytorch_model.bin"], {"open_clip_pytorch_model.bin"}),
        (["pytorch_model.bin", "model.safetensors"], {"model.safetensors"}),
        (["pytorch_model.bin", "tf_model.h5"], {"pytorch_model.bin"}),
        (["pytorch_model.bin", *SHARDS], set(SHARDS)),
        (["ViT-B-32.pt"], {"ViT-B-32.pt"}),
        (["ViT-B-32.pt", "model.safetensors"], {"model.safetensors"}),
    ],
)
def test_weights_once_and_rather_as_safetensors(names: list[str], weights: set[str]) -> None:
    kind, files = chosen(*names, *TEXTS)
    assert kind == "weights"
    assert files == {*weights, *TEXTS, *({"open_clip_config.json"} & set(names))}


@pytest.mark.parametrize(
    "names", [[], ["README.md"], ["model.safetensors"], ["config.json", "model.gguf"], ["one.pt", "other.pt"]]
)
def test_a_repository_without_a_model(names: list[str]) -> None:
    with pytest.raises(NotFoundError, match="owner/model"):
        choose(listing(*names))
