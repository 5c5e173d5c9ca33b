"""The table of named architectures: ours, the paper's, and those of the models of the world.

Names end in their image size in pixels where it is not 224 (`ViT-L/14@336px` is the original release's own spelling).
The sizes are those of the papers' tables and of the configurations that the weights were published with.
"""

from __future__ import annotations

from collections.abc import Iterator

from clipcli.errors import NotFoundError
from trainer.config import ArchConfig, MobileConfig, ResNetConfig, TextConfig, ViTConfig

__all__ = ["ARCHITECTURES", "architecture"]

Text = tuple[int, int, int]  # width, layers, heads

C4_VOCABULARY = 32_000  # SigLIP: sentencepiece on English C4
GEMMA_VOCABULARY = 256_000  # SigLIP 2


def _resnet(size: int, width: int, layers: tuple[int, ...], heads: int) -> ResNetConfig:
    return ResNetConfig(image_size=size, width=width, layers=layers, heads=heads)


def _vit(size: int, patch: int, width: int, layers: int, heads: int, mlp: int | None = None) -> ViTConfig:
    return ViTConfig(image_size=size, patch_size=patch, width=width, layers=layers, heads=heads, mlp_width=mlp)


def _text(width: int, layers: int, heads: int, context_length: int = 77) -> TextConfig:
    return TextConfig(width=width, layers=layers, heads=heads, context_length=context_length)


def _ours() -> Iterator[ArchConfig]:
    """Made for data and machines that the paper's would be too large for."""
    yield ArchConfig(
        name="RN-nano-64", embedding_dim=256, image=_resnet(64, 48, (2, 3, 3), 12), text=_text(192, 3, 4, 40)
    )
    yield ArchConfig(
        name="RN-small-128", embedding_dim=384, image=_resnet(128, 48, (2, 3, 4, 2), 24), text=_text(320, 6, 5)
    )
    yield ArchConfig(
        name="RN-nano-64-bag",
        embedding_dim=256,
        image=_resnet(64, 48, (2, 3, 3), 12),
        text=TextConfig(width=192, layers=1, heads=1, context_length=40, form="bag"),
    )
    yield ArchConfig(name="ViT-nano-64/8", embedding_dim=256, image=_vit(64, 8, 192, 6, 3), text=_text(192, 3, 4, 40))
    yield ArchConfig(name="ViT-tiny-128/16", embedding_dim=256, image=_vit(128, 16, 192, 12, 3), text=_text(256, 6, 4))
    yield ArchConfig(name="ViT-S/32", embedding_dim=384, image=_vit(224, 32, 384, 12, 6), text=_text(384, 12, 6))
    yield ArchConfig(name="ViT-S/16", embedding_dim=384, image=_vit(224, 16, 384, 12, 6), text=_text(384, 12, 6))


# Name, embedding, image tower, text tower: Radford et al. 2021, tables 19 and 20.
_PAPER: tuple[tuple[str, int, ResNetConfig | ViTConfig, Text], ...] = (
    ("RN50", 1024, _resnet(224, 64, (3, 4, 6, 3), 32), (512, 12, 8)),
    ("RN101", 512, _resnet(224, 64, (3, 4, 23, 3), 32), (512, 12, 8)),
    ("RN50x4", 640, _resnet(288, 80, (4, 6, 10, 6), 40), (640, 12, 10)),
    ("RN50x16", 768, _resnet(384, 96, (6, 8, 18, 8), 48), (768, 12, 12)),
    ("RN50x64", 1024, _resnet(448, 128, (3, 15, 36, 10), 64), (1024, 12, 16)),
    ("ViT-B/32", 512, _vit(224, 32, 768, 12, 12), (512, 12, 8)),
    ("ViT-B/16", 512, _vit(224, 16, 768, 12, 12), (512, 12, 8)),
    ("ViT-L/14", 768, _vit(224, 14, 1024, 24, 16), (768, 12, 12)),
    ("ViT-L/14@336px", 768, _vit(336, 14, 1024, 24, 16), (768, 12, 12)),
)


def _of_the_paper() -> Iterator[ArchConfig]:
    """As trained by OpenAI, and the same with the exact GELU that OpenCLIP trains with."""
    for name, dim, image, text in _PAPER:
        yield ArchConfig(name=name, embedding_dim=dim, image=image, text=_text(*text))
    for name, dim, image, text in _PAPER:
        yield ArchConfig(name=f"{name}-gelu", embedding_dim=dim, image=image, text=_text(*text), activation="gelu")


def _of_openclip() -> Iterator[ArchConfig]:
    """The large ones of OpenCLIP (Cherti et al. 2022, table 18)."""
    for name, dim, image, text in (
        ("ViT-H/14", 1024, _vit(224, 14, 1280, 32, 16), (1024, 24, 16)),
        ("ViT-g/14", 1024, _vit(224, 14, 1408, 40, 16, 6144), (1024, 24, 16)),
        ("ViT-bigG/14", 1280, _vit(224, 14, 1664, 48, 16, 8192), (1280, 32, 20)),
    ):
        yield ArchConfig(name=name, embedding_dim=dim, image=image, text=_text(*text), activation="gelu")


# Width, layers, heads, hidden width: Zhai et al. 2022, table 2; Alabdulmohsin et al. 2023 for So400m.
_SIGLIP_TOWERS: dict[str, tuple[int, int, int, int]] = {
    "B": (768, 12, 12, 3072),
    "L": (1024, 24, 16, 4096),
    "So400m": (1152, 27, 16, 4304),
    "g": (1536, 40, 16, 6144),
}
# Size, patch, pixels, and whether it is of the first SigLIP, of SigLIP 2, or of both.
_SIGLIP_SIZES: tuple[tuple[str, int, int, str], ...] = (
    ("B", 16, 224, "12"),
    ("B", 16, 256, "12"),
    ("B", 16, 384, "12"),
    ("B", 16, 512, "12"),
    ("B", 32, 256, "2"),
    ("L", 16, 256, "12"),
    ("L", 16, 384, "12"),
    ("L", 16, 512, "2"),
    ("So400m", 14, 224, "12"),
    ("So400m", 14, 384, "12"),
    ("So400m", 16, 256, "2"),
    ("So400m", 16, 384, "2"),
    ("So400m", 16, 512, "2"),
    ("g", 16, 256, "2"),
    ("g", 16, 384, "2"),
)

_SHORT_TEXTS = {"SigLIP-So400m/14": 16}  # tokens


def _of_siglip() -> Iterator[ArchConfig]:
    """Zhai et al. 2023 and Tschannen et al. 2025 ("SigLIP 2"). The text tower of g is that of So400m."""
    for family, vocabulary in (("1", C4_VOCABULARY), ("2", GEMMA_VOCABULARY)):
        for size, patch, pixels, families in _SIGLIP_SIZES:
            if family not in families:
                continue
            name = f"SigLIP{family.strip('1')}-{size}/{patch}" + ("" if pixels == 224 else f"-{pixels}")
            width, layers, heads, mlp = _SIGLIP_TOWERS[size]
            text_width, text_layers, text_heads, text_mlp = _SIGLIP_TOWERS["So400m" if size == "g" else size]
            yield ArchConfig(
                name=f"SigLIP{family if family == '2' else ''}-{size}/{patch}"
                + ("" if pixels == 224 else f"-{pixels}"),
                embedding_dim=width,
                image=ViTConfig(
                    image_size=pixels,
                    patch_size=patch,
                    width=width,
                    layers=layers,
                    heads=heads,
                    mlp_width=mlp,
                    form="siglip",
                ),
                text=TextConfig(
                    width=text_width,
                    layers=text_layers,
                    heads=text_heads,
                    mlp_width=text_mlp,
                    context_length=_SHORT_TEXTS.get(name, 64),
                    vocab_size=vocabulary,
                    form="siglip",
                    causal=False,
                ),
                activation="gelu_tanh",
                sigmoid=True,
            )


def _of_mobileclip() -> Iterator[ArchConfig]:
    """Vasu et al. 2024, table 1, and the second S0 (Faghri et al. 2025), whose text tower is that of the others."""
    large = TextConfig(width=512, layers=12, heads=8, causal=False)
    mixing = TextConfig(width=512, layers=4, heads=8, causal=False, form="mobile")
    for name, widths, layers, text in (
        ("MobileCLIP-S0", (64, 128, 256, 512), (2, 6, 10, 2), mixing),
        ("MobileCLIP2-S0", (64, 128, 256, 512), (2, 6, 10, 2), large),
        ("MobileCLIP-S1", (64, 128, 256, 512), (4, 12, 20, 4), large),
        ("MobileCLIP-S2", (80, 160, 320, 640), (4, 12, 24, 4), large),
    ):
        yield ArchConfig(
            name=name,
            embedding_dim=512,
            image=MobileConfig(image_size=256, widths=widths, layers=layers),
            text=text,
            activation="gelu",
        )
    image = ViTConfig(image_size=224, patch_size=16, width=768, layers=12, heads=12, form="mobile")
    yield ArchConfig(name="MobileCLIP-B", embedding_dim=512, image=image, text=_text(512, 12, 8), activation="gelu")


ARCHITECTURES: dict[str, ArchConfig] = {
    arch.name: arch for part in (_ours, _of_the_paper, _of_openclip, _of_siglip, _of_mobileclip) for arch in part()
}


def architecture(name: str) -> ArchConfig:
    """The named architecture, whatever the case of the letters.

    Raises:
        NotFoundError: no such name; the message lists those there are.
    """
    for known, arch in ARCHITECTURES.items():
        if known.lower() == name.lower():
            return arch
    raise NotFoundError(f"no architecture is called {name!r}; there are: {', '.join(ARCHITECTURES)}")
