"""`python -m tests.reading.make_references`: what open_clip and transformers compute for small models.

Only where those are installed (docs/experiments.md). The values are committed; the tests need neither.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from torch import Tensor, nn

from tests.reading import lively

VOCABULARY = 49_408
TEXT = {"context_length": 12, "vocab_size": VOCABULARY, "width": 32, "heads": 4, "layers": 2}
NATIVE: dict[str, dict[str, Any]] = {
    "vit-quick": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {**TEXT, "width": 64, "heads": 1},
    },
    "vit-gelu": {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 28, "layers": 2, "width": 40, "head_width": 20, "mlp_ratio": 4.3637, "patch_size": 14,
        },
        "text_cfg": TEXT,
    },
    "resnet-quick": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": {**TEXT, "width": 64, "heads": 1},
    },
}  # fmt: skip


def main() -> None:
    for name, config in NATIVE.items():
        kept = copy.deepcopy(config)
        model = open_clip.model.CLIP(**config)
        _write(f"openclip-{name}", "open_clip", kept, model, clip_tokens(), config["vision_cfg"]["image_size"])
        if "quick" in name:
            _write(f"openai-{name}", "openai", {}, model, clip_tokens(), config["vision_cfg"]["image_size"])
    for version, tanh in (("1", False), ("2", True)):
        config = copy.deepcopy(open_clip.get_model_config(f"ViT-B-{'32-SigLIP2-256' if tanh else '16-SigLIP-256'}"))
        config["text_cfg"] |= {"width": 48, "heads": 4, "layers": 2, "vocab_size": 300, "context_length": 8}
        config["embed_dim"], config["vision_cfg"]["image_size"] = 48, 64
        kept = copy.deepcopy(config)
        model = open_clip.model.CustomTextCLIP(**{key: config[key] for key in config if key != "custom_text"})
        model.visual.trunk = small_siglip(tanh)
        _write(f"openclip-siglip{version}", "open_clip", kept, model, siglip_tokens(), 64)
    towers = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4}
    clip = transformers.CLIPConfig(
        text_config={**towers, "vocab_size": VOCABULARY, "max_position_embeddings": 12, "eos_token_id": VOCABULARY - 1},
        vision_config={**towers, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"},
        projection_dim=24,
    )
    _write("transformers-clip", "transformers", clip.to_dict(), transformers.CLIPModel(clip), clip_tokens(), 32)
    siglip = transformers.SiglipConfig(
        text_config={**towers, "vocab_size": 300, "max_position_embeddings": 8},
        vision_config={**towers, "image_size": 33, "patch_size": 8},
    )
    model = transformers.SiglipModel(siglip)
    _write("transformers-siglip", "transformers", siglip.to_dict(), model, siglip_tokens(), 33)


def small_siglip(tanh: bool) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=64, patch_size=16, embed_dim=48, depth=2, num_heads=12, class_token=False,
        global_pool="map", num_classes=0, act_layer="gelu_tanh" if tanh else None,
    )  # fmt: skip


def clip_tokens() -> Tensor:
    """Start, a few words, end, zeros."""
    random = np.random.RandomState(3)
    rows = np.zeros((4, 12), dtype=np.int64)
    for row, words in zip(rows, (0, 3, 7, 10), strict=True):
        row[0], row[words + 1] = VOCABULARY - 2, VOCABULARY - 1
        row[1 : words + 1] = random.randint(0, VOCABULARY - 2, words)
    return torch.from_numpy(rows)


def siglip_tokens() -> Tensor:
    """Words, end, padding that is seen."""
    random = np.random.RandomState(4)
    rows = np.ones((4, 8), dtype=np.int64)
    for row, words in zip(rows, (0, 2, 5, 7), strict=True):
        row[:words] = random.randint(3, 300, words)
    return torch.from_numpy(rows)


def _write(name: str, form: str, config: dict[str, Any], model: Any, tokens: Tensor, size: int) -> None:
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    state = lively.weights(shapes)
    if form == "openai":
        state = {key: tensor.half().float() if tensor.ndim > 1 else tensor for key, tensor in state.items()}
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        if form == "transformers":
            images = model.get_image_features(pixel_values=lively.pixels(size)).pooler_output
            texts = model.get_text_features(input_ids=tokens).pooler_output
        else:
            images, texts = model.encode_image(lively.pixels(size)), model.encode_text(tokens)
    library = transformers.__version__ if form == "transformers" else open_clip.__version__
    lively.save(
        lively.Reference(
            name=name,
            format=form,
            library=f"{'transformers' if form == 'transformers' else 'open_clip'} {library}",
            config=config,
            shapes=shapes,
            size=size,
            tokens=tokens,
            images=nn.functional.normalize(images, dim=-1).numpy(),
            texts=nn.functional.normalize(texts, dim=-1).numpy(),
        )
    )


if __name__ == "__main__":
    main()
