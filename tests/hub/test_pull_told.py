"""What `clip models pull` says before and instead of fetching."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from clipcli.bundle.encoder import Model
from clipcli.bundle.hub import catalogue, pulling
from clipcli.bundle.hub.catalogue import known_models
from clipcli.bundle.installed import models_folder
from clipcli.bundle.probe import smallest_cosine
from clipcli.commands import bringing
from tests.hub.loopback import Hub
from tests.reading.lively import load
from tests.reading.public_formats import write
from trainer.reading import vocabulary

Clip = Callable[..., Any]


def last(result: Any, code: int) -> str:
    assert result.exit_code == code, result.stderr
    return str(result.stderr.splitlines()[-1])


@pytest.mark.parametrize("address", ["bogus", "ftp://hub.example", "https://", "http:// there"])
def test_an_endpoint_that_is_no_address(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert "HF_ENDPOINT is no address of a hub" in last(pull(), 2)
    assert hub.requests == []


def test_a_token_that_is_not_accepted(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    assert "set HF_TOKEN" in last(pull(), 4)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    told = last(pull(), 4)
    assert "the token given, by HF_TOKEN or a login, was not accepted" in told
    assert "hf_wrong" not in told
    hub.faults.status = {"api": (401, {})}
    hub.token = None
    assert "was not accepted" in last(pull(), 9)


def test_what_is_tried_is_said_at_once(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert pull().stderr.splitlines()[0] == "asking http://127.0.0.1:9 for owner/model"
    assert "asking" not in pull("--offline").stderr


def test_names_that_are_nearly_right(clip: Clip) -> None:
    assert "did you mean clip-vit-b-32" in last(clip("models", "pull", "clip-vit-b-23"), 4)
    assert "is pulled as hf:openai/clip-vit" in last(clip("models", "pull", "openai/clip-vit"), 4)
    assert "did you mean" not in last(clip("models", "pull", "zzzzzz"), 4)


def test_the_help_is_whole(clip: Clip) -> None:
    usage = clip("models", "pull", "--help").stdout.split("\n\n")[0]
    assert usage.count("[") == usage.count("]")


def test_weights_without_a_vocabulary_are_not_fetched(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in hub.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    (hub.folder / "open_clip_config.json").write_text("{}")
    (hub.folder / "open_clip_model.safetensors").write_bytes(bytes(64))
    monkeypatch.setattr(vocabulary, "find_spec", lambda _: None)  # no installed package brings one
    assert "give --tokenizer FILE" in last(pull(), 2)
    assert not any("resolve" in request for request in hub.requests)
    (hub.folder / "merges.txt").write_text("#version: 0.2\n")
    assert "give --tokenizer FILE" not in last(pull(), 8)


def test_a_logit_scale_that_no_graph_tells_is_asked_for_before_fetching(pull: Clip, hub: Hub) -> None:
    (hub.folder / "onnx" / "model.onnx").unlink()
    assert "give --logit-scale" in last(pull(), 2)
    assert not any("resolve" in request for request in hub.requests)
    assert pull("--logit-scale", "50").exit_code == 0


def test_ctrl_c_says_how_to_go_on(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pulling, "fetch", interrupted)
    broken = pull()
    assert hub.requests
    assert broken.exit_code == 130
    assert "the same command goes on from there" in broken.stderr


def test_the_catalogue_knows_the_activation_better_than_the_source(
    clip: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's models were passed on with configurations that forget QuickGELU; such a model would look alive."""
    shutil.rmtree(hub.folder)
    reference = load("openclip-resnet-quick")
    write(reference, hub.folder)
    path = hub.folder / "open_clip_config.json"
    values = json.loads(path.read_text())
    del values["model_cfg"]["quick_gelu"]
    path.write_text(json.dumps(values))
    known = dataclasses.replace(known_models()[0], name="theirs", repository="owner/model")
    assert (known.comes_as, known.activation) == ("weights", "quick_gelu")
    monkeypatch.setattr(catalogue, "known_models", lambda: (known,))
    assert "trained with quick_gelu: leave out --activation" in last(
        clip("models", "pull", "theirs", "--activation", "gelu"), 2
    )
    pulled = clip("models", "pull", "theirs")
    assert pulled.exit_code == 0, pulled.stderr
    assert "leaves that out and is not followed" in pulled.stderr
    texts = Model.load(models_folder() / "theirs", device="cpu").encode_tokens(reference.tokens.numpy())
    assert smallest_cosine(texts, reference.texts) > 0.99999


def test_known_weights_without_the_extra_ask_nobody(clip: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "_OF_TRAIN", ("no_such_package",))
    (told,) = clip("models", "pull", "clip-rn50").stderr.splitlines()
    assert told.startswith("clip: clip-rn50, which comes as weights, needs the extra 'train': ")
    assert clip("models", "pull", "clip-rn50").exit_code == 10
    assert hub.requests == []


def test_offline_says_which_model_is_missing_and_what_works(
    clip: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--offline forbids it" in last(clip("models", "pull", "clip-vit-b-32", "--offline"), 9)
    monkeypatch.setenv("CLIP_OFFLINE", "1")
    told = last(clip("models", "pull", "clip-vit-b-32"), 9)
    assert told.startswith("clip: clip-vit-b-32 is not installed: this needs the network, and CLIP_OFFLINE forbids it")
    assert "clip models import PATH" in told
    assert "to be fetched again" in last(clip("models", "pull", "clip-vit-b-32", "--replace"), 9)
    assert hub.requests == []
