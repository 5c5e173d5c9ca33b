"""The towers against the paper's sizes and against plain transcriptions of what it says."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.tiny import RESNET, VIT
from trainer.activations import QuickGELU
from trainer.architectures import architecture
from trainer.config import ArchConfig, ResNetConfig
from trainer.resnet import AttentionPool, Bottleneck, ModifiedResNet
from trainer.towers import Clip
from trainer.transformer import ResidualAttentionBlock

Weights = dict[str, Tensor]
VOCABULARY = 50
END = VOCABULARY - 1
TINY = [dataclasses.replace(arch, text=dataclasses.replace(arch.text, vocab_size=VOCABULARY)) for arch in (VIT, RESNET)]


@pytest.fixture(params=TINY, ids=lambda arch: arch.name)
def model(request: pytest.FixtureRequest) -> Clip:
    return make(request.param)


def make(arch: ArchConfig) -> Clip:
    """Weights that leave no branch silent: those of a fresh model hide mistakes behind zeros and ones."""
    torch.manual_seed(5)
    made = Clip(arch).eval()
    for name, tensor in made.state_dict().items():
        if name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2.0)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            nn.init.normal_(tensor, mean=0.3, std=0.3)
    return made


def pixels(count: int = 3, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def tokens(*lengths: int, context: int = 12) -> Tensor:
    """Rows with the end token at that length, zeros after it."""
    random = torch.Generator().manual_seed(2)
    rows = torch.zeros(len(lengths), context, dtype=torch.long)
    for row, length in zip(rows, lengths, strict=True):
        row[: length - 1] = torch.randint(1, END, (length - 1,), generator=random)
        row[length - 1] = END
    return rows


# https://github.com/openai/CLIP: sum(p.numel() for p in clip.load(name)[0].parameters())
@pytest.mark.parametrize(("name", "count"), [("ViT-B/32", 151_277_313), ("RN50", 102_007_137)])
def test_size_is_that_of_the_published_model(name: str, count: int) -> None:
    with torch.device("meta"):
        model = Clip(architecture(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_shapes_and_length(model: Clip) -> None:
    images, texts = model.encode_image(pixels()), model.encode_text(tokens(3, 12))
    assert (images.shape, texts.shape) == ((3, 16), (2, 16))
    for vectors in (images, texts):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    raw = model.encode_image(pixels(), normalise=False)
    assert not torch.allclose(raw.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(F.normalize(raw, dim=1), images)


def test_pictures_of_a_batch_do_not_meet(model: Clip) -> None:
    together = model.encode_image(pixels())
    alone = torch.cat([model.encode_image(one[None]) for one in pixels()])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_cutting_the_padding_changes_nothing(model: Clip) -> None:
    whole = tokens(3, 7, 5)
    torch.testing.assert_close(model.encode_text(whole), model.encode_text(whole[:, :7]), atol=1e-6, rtol=0)


def test_what_follows_the_end_changes_nothing(model: Clip) -> None:
    padded = tokens(4, 6)
    other = padded.clone()
    other[0, 4:] = torch.arange(1, 9)
    other[1, 6:] = END  # as in vocabularies that pad with the end token: the first one counts
    torch.testing.assert_close(model.encode_text(padded), model.encode_text(other), atol=1e-6, rtol=0)
    other[0, 2] += 1
    assert not torch.allclose(model.encode_text(padded)[0], model.encode_text(other)[0], atol=1e-3)


def test_a_word_is_heard_only_by_what_follows(model: Clip) -> None:
    """Causal: the activation at a place does not depend on later places."""
    one, other = tokens(9, 9)
    other[:4] = one[:4]
    tower = model.text_tower
    hidden = tower.transformer(tower.token_embedding(torch.stack([one, other])))
    torch.testing.assert_close(hidden[0, :4], hidden[1, :4], atol=1e-6, rtol=0)
    assert not torch.allclose(hidden[0, 4], hidden[1, 4], atol=1e-3)


def test_logit_scale_starts_as_in_the_paper_and_ends_at_100(model: Clip) -> None:
    fresh = Clip(model.config)
    assert fresh.clamped_logit_scale().item() == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        fresh.logit_scale.fill_(7.0)
    assert fresh.clamped_logit_scale().item() == pytest.approx(100, rel=1e-6)
    fresh.clamp_logit_scale()
    assert fresh.logit_scale.item() == pytest.approx(math.log(100), rel=1e-6)
    fresh.clamped_logit_scale().backward()
    assert fresh.logit_scale.grad is not None
    assert fresh.logit_scale.grad.item() > 0  # at the limit it can still learn to go down


def test_quick_gelu() -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    expected = torch.tensor([value / (1 + math.exp(-1.702 * value)) for value in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(QuickGELU()(x), expected, atol=1e-12, rtol=0)


def plain_block(x: Tensor, weights: Weights, heads: int, causal: bool, quick: bool) -> Tensor:
    """A pre-norm residual block around torch's own multi-head attention."""
    width = x.shape[2]
    attention = nn.MultiheadAttention(width, heads, batch_first=True)
    attention.load_state_dict({name[5:]: tensor for name, tensor in weights.items() if name.startswith("attn.")})
    attention.train()  # in evaluation mode another, fused path is taken
    mask = torch.full((x.shape[1],) * 2, float("-inf")).triu(1) if causal else None
    normed = F.layer_norm(x, (width,), weights["ln_1.weight"], weights["ln_1.bias"])
    x = x + attention(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
    normed = F.layer_norm(x, (width,), weights["ln_2.weight"], weights["ln_2.bias"])
    hidden = F.linear(normed, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"])
    hidden = hidden * torch.sigmoid(1.702 * hidden) if quick else F.gelu(hidden)
    return x + F.linear(hidden, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_block_against_multihead_attention(causal: bool, activation: str) -> None:
    torch.manual_seed(3)
    block = ResidualAttentionBlock(24, 3, "gelu" if activation == "gelu" else "quick_gelu", causal)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 5, 24)
    expected = plain_block(x, block.state_dict(), 3, causal, activation == "quick_gelu")
    rows = x.flatten(0, 1)
    torch.testing.assert_close(block(rows, 5).view(2, 5, 24), expected, atol=1e-5, rtol=1e-5)
    at = torch.tensor([3, 1])
    torch.testing.assert_close(block(rows, 5, at), expected[torch.arange(2), at], atol=1e-5, rtol=1e-5)


def parts(weights: Weights, prefix: str) -> Weights:
    return {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}


def test_vision_transformer_as_the_paper_says() -> None:
    model = make(TINY[0])
    weights = parts(model.state_dict(), "image_tower.")
    patches = F.unfold(pixels(), 16, stride=16).transpose(1, 2)  # (B, 4, 3 * 16 * 16)
    x = patches @ weights["conv1.weight"].flatten(1).T
    x = torch.cat([weights["class_embedding"].repeat(3, 1, 1), x], dim=1) + weights["positional_embedding"]
    x = F.layer_norm(x, (16,), weights["ln_pre.weight"], weights["ln_pre.bias"])
    x = plain_block(x, parts(weights, "transformer.resblocks.0."), 2, causal=False, quick=True)
    x = F.layer_norm(x[:, 0], (16,), weights["ln_post.weight"], weights["ln_post.bias"])
    torch.testing.assert_close(model.image_tower(pixels()), x @ weights["proj"], atol=1e-5, rtol=1e-5)


def test_text_transformer_as_the_paper_says() -> None:
    model = make(TINY[0])
    weights, given = parts(model.state_dict(), "text_tower."), tokens(5, 12, 2)
    x = weights["token_embedding.weight"][given] + weights["positional_embedding"]
    x = plain_block(x, parts(weights, "transformer.resblocks.0."), 2, causal=True, quick=True)
    x = F.layer_norm(x, (16,), weights["ln_final.weight"], weights["ln_final.bias"])
    ends = torch.stack([x[0, 4], x[1, 11], x[2, 1]])
    torch.testing.assert_close(model.text_tower(given), ends @ weights["text_projection"], atol=1e-5, rtol=1e-5)


def test_attention_pool_against_torch() -> None:
    torch.manual_seed(3)
    pool = AttentionPool(side=3, channels=12, heads=4, embedding_dim=7)
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.5)
    maps = torch.randn(2, 12, 3, 3)
    x = maps.flatten(2).permute(2, 0, 1)  # (9, B, C)
    x = torch.cat([x.mean(dim=0, keepdim=True), x]) + pool.positional_embedding[:, None]
    expected, _ = F.multi_head_attention_forward(
        query=x[:1],
        key=x,
        value=x,
        embed_dim_to_check=12,
        num_heads=4,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        need_weights=False,
    )
    torch.testing.assert_close(pool(maps), expected[0], atol=1e-5, rtol=1e-5)


def plain_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    shape = (1, -1, 1, 1)
    x = (x - weights[f"{name}.running_mean"].view(shape)) / (weights[f"{name}.running_var"].view(shape) + 1e-5).sqrt()
    return x * weights[f"{name}.weight"].view(shape) + weights[f"{name}.bias"].view(shape)


def plain_resnet(x: Tensor, weights: Weights, config: ResNetConfig) -> Tensor:
    """Section 2.4 in functions, up to the last map; weights by the names of the original release."""
    x = F.relu(plain_norm(F.conv2d(x, weights["conv1.weight"], stride=2, padding=1), weights, "bn1"))
    x = F.relu(plain_norm(F.conv2d(x, weights["conv2.weight"], padding=1), weights, "bn2"))
    x = F.relu(plain_norm(F.conv2d(x, weights["conv3.weight"], padding=1), weights, "bn3"))
    if config.stem_pool:
        x = F.avg_pool2d(x, 2)
    for stage, blocks in enumerate(config.layers, 1):
        for block in range(blocks):
            own = parts(weights, f"layer{stage}.{block}.")
            strided = stage > 1 and block == 0
            out = F.relu(plain_norm(F.conv2d(x, own["conv1.weight"]), own, "bn1"))
            out = F.relu(plain_norm(F.conv2d(out, own["conv2.weight"], padding=1), own, "bn2"))
            if strided:
                out, x = F.avg_pool2d(out, 2), F.avg_pool2d(x, 2)
            out = plain_norm(F.conv2d(out, own["conv3.weight"]), own, "bn3")
            if block == 0:
                x = plain_norm(F.conv2d(x, own["downsample.0.weight"]), own, "downsample.1")
            x = F.relu(out + x)
    return x


@pytest.mark.parametrize("stem_pool", [True, False])
def test_resnet_as_the_paper_says(stem_pool: bool) -> None:
    image = ResNetConfig(image_size=32, width=8, layers=(2, 2), heads=4, stem_pool=stem_pool)
    tower = make(dataclasses.replace(TINY[1], image=image)).image_tower
    assert isinstance(tower, ModifiedResNet)
    expected = tower.attnpool(plain_resnet(pixels(), tower.state_dict(), image))
    torch.testing.assert_close(tower(pixels()), expected, atol=1e-5, rtol=1e-5)


def test_residual_branches_of_a_fresh_resnet_are_silent() -> None:
    block = Bottleneck(32, 8)
    tower = Clip(TINY[1]).image_tower
    assert block.downsample is None
    gains = [module.bn3.weight for module in tower.modules() if isinstance(module, Bottleneck)]
    assert len(gains) == 2
    assert not any(gain.any() for gain in gains)
