"""Which parameters a run changes, and by how much: `--tune`, and a smaller rate for layers further from the end.

full    everything
lora    low-rank changes of the matrices (`lora.py`), and the logit scale
head    the projections into the shared space, and the logit scale
image   the image tower; the text tower is locked, as where texts are as before and pictures are of another kind
text    the text tower; the image tower is locked (LiT, Zhai et al. 2022)

What is locked has no gradient: no graph is kept of it, and its batch norms keep their statistics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from trainer.lora import adapt
from trainer.options import TrainOptions
from trainer.towers import Clip

__all__ = ["choose_parameters", "layer_scales", "train_mode", "trained_numbers"]

HEADS = re.compile(
    r"image_tower\.(proj|projection_bias|attnpool\.c_proj\..*|head\..*)|text_tower\.(text_projection|projection_bias)"
)
LOGITS = ("logit_scale", "logit_bias")
# What is a layer, in the towers that there are; what stands before the first is at the bottom, all else at the top.
LAYERS = re.compile(r"(?:resblocks|stages)\.\d+(?:\.blocks\.\d+)?|layer\d+\.\d+|tower\.(?:before|behind)")
BOTTOM = re.compile(r"token_embedding|tower\.(positional|class)_embedding|tower\.(conv|bn)\d|ln_pre|stem")


def choose_parameters(model: Clip, options: TrainOptions) -> None:
    """Mark what is trained; `lora` parametrises the towers as well. Before any optimiser is made."""
    if options.tune == "lora":
        adapt(model, options.rank)
        return
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_moves(name, options.tune))


def _moves(name: str, tune: str) -> bool:
    if tune == "full" or name in LOGITS:
        return True
    if tune == "head":
        return HEADS.fullmatch(name) is not None
    return name.startswith(f"{tune}_tower.")


def trained_numbers(model: nn.Module) -> int:
    """How many numbers an optimiser changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def train_mode(model: Clip, *, freeze_batch_norm: bool) -> None:
    """As `model.train()`, but batch norms keep their statistics where asked, and where they are not trained."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and (freeze_batch_norm or not module.weight.requires_grad):
            module.eval()


def layer_scales(names: Iterable[str], decay: float) -> dict[str, float]:
    """Factor to the learning rate of each parameter: 1 at the end of each tower, and `decay` to the power of the layers
    between (Howard & Ruder 2018, section 3.1; Clark et al. 2020 for transformers)."""
    listed = list(names)
    if decay == 1.0:
        return dict.fromkeys(listed, 1.0)
    depths: dict[str, int] = {}
    for tower in ("image_tower.", "text_tower."):
        inside = [name for name in listed if name.startswith(tower)]
        layers = {name: found[-1] for name in inside if (found := LAYERS.findall(name))}
        order = {layer: place for place, layer in enumerate(dict.fromkeys(layers.values()), start=1)}
        for name in inside:
            depth = order[layers[name]] if name in layers else 0 if BOTTOM.search(name) else len(order) + 1
            depths[name] = len(order) + 1 - depth
    return {name: decay ** depths.get(name, 0) for name in listed}
