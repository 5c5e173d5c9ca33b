"""Each kind of tower is exported once for all tests: the exporter takes two seconds a graph."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch

from clipcli.bundle.spec import ModelSpec
from export import bundle as bundle_module
from export.bundle import export_bundle
from tests.export.towers import PREPROCESS, make_towers, samples, save_vocabulary
from trainer.towers import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """An exported model: where, what it says, what was printed meanwhile, and the towers it was made from."""

    model: Clip
    folder: Path
    spec: ModelSpec
    tokenizer_file: Path
    printed: str


def _printed_meanwhile(work: Callable[[], ModelSpec]) -> tuple[ModelSpec, str]:
    """What goes to stdout and stderr by whatever way, C++ included."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+") as kept:
        saved = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(kept.fileno(), number)
        try:
            spec = work()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            for number, old in zip((1, 2), saved, strict=True):
                os.dup2(old, number)
                os.close(old)
        kept.seek(0)
        return spec, kept.read()


def _export(kind: str, folder: Path) -> Done:
    tokenizer = save_vocabulary(folder / "tokenizer.json")
    model = make_towers(kind, tokenizer.vocab_size)
    threads = torch.get_num_threads()
    spec, printed = _printed_meanwhile(
        lambda: export_bundle(
            model,
            folder=folder / "bundle",
            name=f"tiny-{kind}",
            tokenizer_file=folder / "tokenizer.json",
            preprocess=PREPROCESS,
            samples=samples(),
            licence="MIT",
        )
    )
    assert torch.get_num_threads() == threads
    return Done(
        model=model, folder=folder / "bundle", spec=spec, tokenizer_file=folder / "tokenizer.json", printed=printed
    )


@pytest.fixture(scope="session")
def done_vit(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _export("vit", tmp_path_factory.mktemp("export-vit"))


@pytest.fixture(scope="session")
def done_resnet(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _export("resnet", tmp_path_factory.mktemp("export-resnet"))


@pytest.fixture(params=["vit", "resnet"])
def done(request: pytest.FixtureRequest) -> Done:
    found = request.getfixturevalue(f"done_{request.param}")
    assert isinstance(found, Done)
    return found


@pytest.fixture
def fast(done_vit: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter is skipped; good for towers by `make_towers("vit")`."""
    image, text = (onnx.load(str(done_vit.folder / name)) for name in ("image.onnx", "text.onnx"))
    monkeypatch.setattr(bundle_module, "image_graph", lambda *given: image)
    monkeypatch.setattr(bundle_module, "text_graph", lambda *given: text)
