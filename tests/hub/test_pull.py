"""`clip models pull` against a hub on this machine that breaks off, lies, refuses, and asks to be left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import find_model, models_folder
from clipcli.bundle.spec import read_spec
from clipcli.bundle.verify import verify
from tests.hub.loopback import COMMIT, Hub
from tests.tiny_bundle import make_tiny_bundle

Clip = Callable[..., Any]
IMAGE, TEXT = "onnx/vision_model.onnx", "onnx/text_model.onnx"


def installed() -> list[str]:
    folder = models_folder()
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def stages() -> list[Path]:
    folder = models_folder() / ".pulls"
    return list(folder.iterdir()) if folder.is_dir() else []


def assert_refused(result: Any, code: int, told: str) -> None:
    assert result.exit_code == code, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("clip: ")
    assert told in last
    assert "Traceback" not in result.stderr
    assert installed() == []


def assert_sound() -> None:
    assert installed() == ["model"]
    assert all(check.passed for check in verify(find_model("model"), device="cpu"))
    assert stages() == []


def test_fetched_verified_installed_and_never_asked_for_again(pull: Clip, hub: Hub) -> None:
    result = pull()
    assert result.exit_code == 0, result.stderr
    assert "fp32" in result.stdout
    assert_sound()
    spec = read_spec(find_model("model"))
    assert (spec.provenance["repository"], spec.provenance["revision"]) == ("owner/model", COMMIT)
    assert spec.licence == "apache-2.0"
    assert any(request.startswith("cdn ") for request in hub.requests)
    asked = len(hub.requests)
    again = pull()
    assert (again.exit_code, again.stdout) == (0, "")
    assert "installed already" in again.stderr
    assert Model.load(find_model("model"), device="cpu").encode_texts(["red"]).shape == (1, 24)
    assert len(hub.requests) == asked


def test_cut_at_a_random_byte_fifty_times(pull: Clip, hub: Hub, waits: list[float]) -> None:
    hub.faults.cuts = 50
    result = pull()
    # A cut before the first byte gets nowhere, and is waited after; everything else simply goes on.
    assert result.exit_code == 0, result.stderr
    assert hub.faults.cuts == 0
    assert_sound()
    assert len([request for request in hub.requests if request.startswith("cdn ")]) >= 50


def test_processes_whose_connection_breaks_off_for_good(hub: Hub, home: Path, tmp_path: Path) -> None:
    """What has arrived stays, and the next process goes on."""
    hub.faults.cuts = 10_000
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    program = (
        "from clipcli.bundle.hub import client\n"
        "client.ATTEMPTS = 1\nclient.wait_after = lambda error, attempt: None\n"
        "from clipcli.app import main\nmain()\n"
    )
    command = [sys.executable, "-c", program, "models", "pull", "hf:owner/model"]
    seen = []
    for _ in range(6):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 9, done.stderr
        assert "the same command goes on from there" in done.stderr
        assert installed() == []
        seen.append(sum(path.stat().st_size for path in stages()[0].rglob("*") if path.is_file()))
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    hub.faults.cuts = 0
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert_sound()


def test_killed_while_pulling(hub: Hub, home: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    command = [sys.executable, "-m", "clipcli", "models", "pull", "hf:owner/model"]
    dice = random.Random(5)
    for _ in range(3):
        asked = len(hub.requests)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while len(hub.requests) == asked and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name in installed():
            assert all(check.passed for check in verify(find_model(name), device="cpu"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert installed() == ["model"]
    assert all(check.passed for check in verify(find_model("model"), device="cpu"))


@pytest.mark.parametrize("file", [IMAGE, "tokenizer.json", "config.json"])
def test_a_damaged_file_is_fetched_once_more_and_then_refused(pull: Clip, hub: Hub, file: str) -> None:
    hub.faults.corrupt = {file}
    assert_refused(pull(), 8, f"{file} of owner/model arrives damaged")
    hub.faults.corrupt = set()
    hub.faults.corrupt_once = {file}
    assert pull().exit_code == 0
    assert_sound()


@pytest.mark.parametrize("more", [500, -500])
def test_a_wrong_size(pull: Clip, hub: Hub, more: int) -> None:
    hub.faults.longer = {IMAGE: more}
    assert_refused(pull(), 8, f"{IMAGE} of owner/model arrives damaged")


def test_a_hub_that_knows_no_ranges(pull: Clip, hub: Hub) -> None:
    hub.faults.no_ranges = True
    hub.faults.cuts = 3
    assert pull().exit_code == 0
    assert_sound()


def test_what_is_not_there(clip: Clip, pull: Clip, hub: Hub) -> None:
    assert_refused(clip("models", "pull", "hf:owner/other"), 4, "owner/other is not at http://127.0.0.1")
    assert_refused(clip("models", "pull", "hf:owner/model@v9"), 4, "no such revision")
    hub.faults.status = {IMAGE: (404, {"X-Error-Code": "EntryNotFound"})}
    assert_refused(pull(), 4, IMAGE)
    assert_refused(clip("models", "pull", "nobody"), 4, "no model is known as 'nobody'")
    for address in ("hf:owner", "hf:../../etc", "hf:owner/model@../x", "hf:owner/model@"):
        assert_refused(clip("models", "pull", address), 2, "is no address of a model")


def test_a_private_repository_and_its_token(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    assert_refused(pull(), 4, "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert_refused(pull(), 4, "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = pull()
    assert result.exit_code == 0, result.stderr
    assert_sound()
    assert "hf_secret" not in result.stderr + result.stdout
    assert set(hub.told_to_cdn) == {""}  # another host is not told who asks


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (401, {}, "set HF_TOKEN"),
        (403, {}, "your HF_TOKEN may not read it"),
        (403, {"X-Error-Code": "GatedRepo"}, "agreed to its terms"),
        (500, {}, "answers 500"),
        (429, {"Retry-After": "3600"}, "try again in 3600 s"),
        (429, {"Retry-After": "7"}, "try again in 7 s"),
    ],
)
def test_a_hub_that_refuses(
    pull: Clip, hub: Hub, waits: list[float], status: int, headers: dict[str, str], told: str
) -> None:
    hub.faults.status = {IMAGE: (status, headers)}
    assert_refused(pull(), 9, told)
    asked = {"7": 5, "3600": 0}.get(headers.get("Retry-After", ""))
    if asked is not None:
        assert waits.count(float(headers["Retry-After"])) == (asked - 1 if asked else 0)


def test_a_hub_that_asks_to_wait_is_waited_for(pull: Clip, hub: Hub, waits: list[float]) -> None:
    hub.faults.passing = [(429, {"Retry-After": "3"}), (503, {})]
    assert pull().exit_code == 0
    assert waits[0] == 3.0
    assert_sound()
    hub.faults.status = {"api": (429, {"Retry-After": "2"})}
    result = pull("--replace")
    assert result.exit_code == 9
    assert waits.count(2.0) >= 4


def test_nobody_at_home(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert_refused(pull(), 9, "http://127.0.0.1:9 cannot be reached")
    assert len(waits) == 4


def test_offline_never_touches_the_network(clip: Clip, pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(pull("--offline"), 9, "--offline forbids it")
    for name in ("CLIP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
        assert_refused(pull(), 9, f"{name} forbids it")
        monkeypatch.delenv(name)
    assert hub.requests == []
    assert pull().exit_code == 0
    asked = len(hub.requests)
    monkeypatch.setenv("CLIP_OFFLINE", "1")
    for arguments in (["list"], ["show", "model"], ["verify", "model"], ["default", "model"]):
        assert clip("models", *arguments).exit_code == 0
    assert pull("--offline").exit_code == 0  # it is installed
    assert clip("models", "rm", "model").exit_code == 0
    assert len(hub.requests) == asked


def test_no_space_is_found_out_first(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert_refused(pull(), 7, "free")
    assert not any(request.startswith("cdn ") for request in hub.requests)


def test_a_disk_that_fills_up_keeps_what_has_come(pull: Clip, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.bundle.hub import download

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", str(models_folder()))

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "fsync", full)
        assert_refused(pull(), 7, "no space left")
    assert stages()
    assert pull().exit_code == 0
    assert_sound()


@pytest.mark.parametrize(
    "name",
    [
        "../outside.onnx",
        "onnx/../../outside",
        "/etc/passwd",
        "onnx\\..\\..\\outside",
        "C:/outside",
        "a\nb",
        "./x",
        "..",
    ],
)
def test_a_list_that_leads_outside_is_refused(pull: Clip, hub: Hub, name: str) -> None:
    hub.faults.listed = [{"rfilename": name, "size": 10, "blobId": "0" * 40}]
    assert_refused(pull(), 8, "leads out of a folder")
    assert not any("resolve" in request for request in hub.requests)
    assert stages() == []


def test_a_file_without_a_digest_is_not_trusted(pull: Clip, hub: Hub) -> None:
    (hub.folder / "tokenizer_config.json").unlink()
    hub.faults.listed = [{"rfilename": "tokenizer_config.json", "size": 10}]
    assert_refused(pull(), 8, "no digest of tokenizer_config.json")


def test_a_bundle_of_this_program(clip: Clip, pull: Clip, hub: Hub) -> None:
    shutil.rmtree(hub.folder)
    make_tiny_bundle(hub.folder, name="tiny")
    result = pull("--name", "mine")
    assert result.exit_code == 0, result.stderr
    assert installed() == ["mine"]
    assert all(check.passed for check in verify(find_model("mine"), device="cpu"))
    assert stages() == []
    values = json.loads((hub.folder / "model.json").read_text("utf-8"))
    values["files"]["image.onnx"]["bytes"] += 1
    (hub.folder / "model.json").write_text(json.dumps(values), "utf-8")
    assert pull("--name", "again").exit_code == 8
    assert installed() == ["mine"]


def test_another_model_of_that_name_stays(clip: Clip, pull: Clip, hub: Hub) -> None:
    source = make_tiny_bundle(models_folder() / "model", name="model")
    before = read_spec(source)
    result = pull()
    assert result.exit_code == 2
    assert "already installed" in result.stderr
    assert hub.requests == []
    assert pull("--replace").exit_code == 0
    assert read_spec(source).identity != before.identity


def test_two_at_once(pull: Clip, hub: Hub) -> None:
    from filelock import FileLock

    folder = models_folder() / ".pulls"
    folder.mkdir(parents=True)
    with FileLock(folder / f"owner--model@{COMMIT[:12]}.lock"):
        assert_refused(pull(), 2, "another process is pulling owner/model")
    assert pull().exit_code == 0


def test_downloads_that_nobody_came_back_to_are_thrown_away(pull: Clip, hub: Hub) -> None:
    old = models_folder() / ".pulls" / "owner--old@000000000000"
    old.mkdir(parents=True)
    (old / "half.part").write_bytes(b"half")
    long_ago = time.time() - 15 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    assert pull().exit_code == 0
    assert not old.exists()
