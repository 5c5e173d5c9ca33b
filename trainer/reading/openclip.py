"""The original release's TorchScript files, OpenCLIP's folders, and bare checkpoints of either."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clipcli.bundle.foreign.json_files import fail_on_unknown, licence_of, read_json, section, three
from clipcli.bundle.foreign.weights import OPENCLIP_CONFIG
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.errors import ModelError, UsageError
from trainer.config import Activation
from trainer.reading.apple import is_apple
from trainer.reading.found import CLIP_MEAN, CLIP_STD, Choices, Found
from trainer.reading.names import from_openclip
from trainer.reading.sizes import Known, check_stated, describe
from trainer.reading.tokenizer_files import Words, clip_words, words_of_folder
from trainer.reading.vocabulary import OPENAI_MARKERS, OPENCLIP_MARKERS
from trainer.reading.weights_file import is_torchscript, read_tensors, tensors_in

__all__ = ["read_checkpoint", "read_folder"]

_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_LONGEST_CODE = 8 << 20  # bytes of a TorchScript source

# What each of a configuration's settings has to be, or ... where it is looked at below.
_MODEL = {"embed_dim": ..., "quick_gelu": ..., "custom_text": ..., "vision_cfg": ..., "text_cfg": ...}
_MODEL |= {"init_logit_bias": ..., "init_logit_scale": ..., "nonscalar_logit_scale": ...}
_VISION = {
    **dict.fromkeys(("image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "act_kwargs"), ...),
    **dict.fromkeys(("timm_model_name", "timm_model_pretrained", "patch_dropout", "timm_drop", "timm_drop_path"), ...),
    "timm_pool": ...,
    "timm_proj": ...,
    "pool_type": "tok",
    "pos_embed_type": "learnable",
}
_TEXT = {
    **dict.fromkeys(("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "act_kwargs"), ...),
    **dict.fromkeys(("hf_tokenizer_name", "tokenizer_kwargs", "no_causal_mask", "proj_bias", "pool_type"), ...),
    **dict.fromkeys(("norm_kwargs", "pad_id", "eos_id"), ...),
    "proj_type": "linear",
}
# timm's names of SigLIP's image towers, how many heads each has, and which compute GELU by its approximation.
_TIMM_TOWER = re.compile(r"vit_(base|large|so400m|giantopt)_patch\d+_siglip_\d+")
_MOBILE_TOWERS = ("fastvit_mci0", "fastvit_mci1", "fastvit_mci2", "vit_base_mci_224")
_TIMM_HEADS = {"base": 12, "large": 16, "so400m": 16, "giantopt": 16}
_TIMM_TANH = re.compile(r"vit_(base_patch32|so400m_patch16|giantopt_patch16)_siglip_\d+|vit_large_patch16_siglip_512")


def read_checkpoint(path: Path, choices: Choices) -> Found:
    """A single file. Raises UsageError where it leaves something open, ModelError."""
    tensors = tensors_in(read_tensors(path))
    state = from_openclip(tensors)
    scripted = is_torchscript(path)
    stated = _activation_in_code(path) if scripted else None
    activation = choices.activation if stated is None else choices.agrees(stated, str(path))
    config = describe(state, Known(activation=activation, heads_of_64=scripted))
    if config.sigmoid:
        raise UsageError(f"{path} is a sigmoid model without its tokenizer: import the folder it came in")
    words = clip_words(
        path, config.text.vocab_size, choices.tokenizer, OPENAI_MARKERS if scripted else OPENCLIP_MARKERS
    )
    size, apple = config.image.image_size, is_apple(tensors)
    prepared = Preprocess(image_size=size, mean=CLIP_MEAN, std=CLIP_STD)
    if apple:  # as the package does that Apple publishes beside its weights
        prepared = Preprocess(image_size=size, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3)
    of = "Apple's package does" if apple else "for the original CLIP"
    notes = [] if scripted else [f"pictures are prepared as {of}: the file says nothing of it"]
    kind = "MobileCLIP of Apple" if apple else "checkpoint"
    return Found(
        kind="TorchScript of the original CLIP" if scripted else kind,
        config=config,
        state=state,
        preprocess=prepared,
        tokenizer=words.file,
        text_cleaning=words.cleaning,
        pad_id=words.pad_id,
        weights=path,
        notes=(*notes, *words.notes),
    )


def read_folder(folder: Path, choices: Choices) -> Found:
    """A folder as OpenCLIP publishes it. Raises UsageError, ModelError."""
    where = str(folder / OPENCLIP_CONFIG)
    values = read_json(folder / OPENCLIP_CONFIG)
    model = section(values, "model_cfg", where)
    vision, text = section(model, "vision_cfg", where), section(model, "text_cfg", where)
    fail_on_unknown(model, _MODEL, where)
    fail_on_unknown(vision, _VISION, f"{where}: vision_cfg")
    fail_on_unknown(text, _TEXT, f"{where}: text_cfg")
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{folder} has a configuration but no weights ({' or '.join(_WEIGHTS)})")
    state = from_openclip(tensors_in(read_tensors(weights)))
    config = describe(state, _known(model, vision, text, choices, state, where))
    check_stated(
        config, {} if "timm_model_name" in vision else vision, text, width="width", layers="layers", where=where
    )
    if config.text.form == "clip" and text.get("pool_type", "argmax") != "argmax":
        raise ModelError(f"{where}: text is pooled by {text['pool_type']!r}, which is not known here")
    words = _words(folder, text, config.text.vocab_size, choices)
    return Found(
        kind="OpenCLIP folder",
        config=config,
        state=state,
        preprocess=_preprocess(section(values, "preprocess_cfg", where), config.image.image_size, where),
        tokenizer=words.file,
        text_cleaning=words.cleaning,
        pad_id=words.pad_id,
        licence=licence_of(folder),
        weights=weights,
        notes=(*choices.overruled(_activation(model, text), OPENCLIP_CONFIG), *words.notes),
    )


def _known(
    model: Mapping[str, Any],
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    choices: Choices,
    state: Mapping[str, Tensor],
    where: str,
) -> Known:
    timm = vision.get("timm_model_name")
    of_image, heads = _activation(model, vision), vision.get("width", 768) // vision.get("head_width", 64)
    if timm is not None:
        tower = _TIMM_TOWER.fullmatch(str(timm))
        if tower is None and timm not in _MOBILE_TOWERS:
            raise ModelError(f"the image tower {timm} is not known here")
        heads = 12 if tower is None else _TIMM_HEADS[tower[1]]
        of_image = "gelu_tanh" if _TIMM_TANH.fullmatch(str(timm)) else "gelu"
    norm = (text.get("norm_kwargs") or {}).get("eps", 1e-5)
    if norm != (1e-6 if "text_tower.projection_bias" in state else 1e-5):
        raise ModelError(f"the text tower's layer norms have an epsilon of {norm}, which is not known here")
    return Known(
        activation=choices.agrees(of_image, where),
        text_activation=choices.agrees(_activation(model, text), where),
        image_heads=heads,
        text_heads=text.get("heads", 8),
        causal=not text.get("no_causal_mask", False),
        image_size=vision.get("image_size") if isinstance(vision.get("image_size"), int) else None,
    )


def _activation(model: Mapping[str, Any], tower: Mapping[str, Any]) -> Activation:
    if model.get("quick_gelu"):
        return "quick_gelu"
    chosen = tower.get("act_kwargs") or {}
    if chosen not in ({}, {"approximate": "tanh"}, {"approximate": "none"}):
        raise ModelError(f"the activation's settings {chosen} are not known here")
    return "gelu_tanh" if chosen == {"approximate": "tanh"} else "gelu"


def _preprocess(values: Mapping[str, Any], size: int, where: str) -> Preprocess:
    """Where a setting is left out, OpenCLIP takes the original's."""
    resize, interpolation = values.get("resize_mode") or "shortest", values.get("interpolation") or "bicubic"
    wanted = values.get("size", size)
    if wanted not in (size, [size, size]):
        raise ModelError(f"{where}: pictures of {wanted} pixels for a tower of {size}")
    return Preprocess(
        image_size=size,
        resize=resize,
        interpolation=interpolation,
        mean=three(values["mean"], where) if values.get("mean") else CLIP_MEAN,
        std=three(values["std"], where) if values.get("std") else CLIP_STD,
    )


def _words(folder: Path, text: Mapping[str, Any], vocabulary: int, choices: Choices) -> Words:
    """OpenCLIP takes its own tokenizer unless the configuration names one of transformers."""
    cleaning = (text.get("tokenizer_kwargs") or {}).get("clean")
    if text.get("hf_tokenizer_name"):
        source = choices.tokenizer or folder / TOKENIZER_FILE
        return words_of_folder(source, vocabulary, cleaning or "whitespace")
    if cleaning not in (None, "lower"):
        raise ModelError(f"{folder / OPENCLIP_CONFIG}: the tokenizer's cleaning {cleaning!r} is not known here")
    return clip_words(folder, vocabulary, choices.tokenizer, OPENCLIP_MARKERS)


def _activation_in_code(path: Path) -> Activation | None:
    """TorchScript carries its program as text; read, never run, it tells one activation from the other."""
    found: set[Activation] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if "/code/" in info.filename and info.filename.endswith(".py") and info.file_size <= _LONGEST_CODE:
                    source = archive.read(info)
                    if b"1.702" in source or b"torch.sigmoid(torch.mul(" in source:  # newer ones name the number
                        found.add("quick_gelu")
                    if b"torch.gelu(" in source:
                        found.add("gelu")
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    return found.pop() if len(found) == 1 else None
