"""Models put in, found, chosen and taken out, by the functions behind `clip models`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path

import pytest

from clipcli.bundle import installed, placing
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import (
    default_name,
    find_model,
    install,
    list_models,
    models_folder,
    remove,
    set_default,
)
from clipcli.bundle.spec import MODEL_FILE, read_spec, write_spec
from clipcli.bundle.stamps import STAMPS_FILE
from clipcli.errors import ModelError, NoSpaceError, NotFoundError, UsageError
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "source")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the model that comes with the package."""
    folder = make_tiny_bundle(tmp_path / "shipped", name="starter", seed=5)
    monkeypatch.setattr(installed, "shipped_model", lambda: folder)
    return folder


@pytest.fixture
def none_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "shipped_model", lambda: None)


def entries() -> set[str]:
    folder = models_folder()
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_models_folder_is_the_persons_own_unless_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_folder().is_relative_to(home)
    monkeypatch.setenv("CLIP_MODELS", "~/elsewhere")
    assert models_folder() == home / "elsewhere"


def test_installed_is_found_loaded_and_renamed(source: Path) -> None:
    folder = install(source, name="mine")
    assert folder == models_folder() / "mine"
    assert find_model("mine") == folder
    model = Model.load(folder, device="cpu")
    assert model.name == "mine"
    assert model.identity == read_spec(source).identity
    assert model.encode_texts(["red"]).shape[0] == 1
    assert entries() == {"mine"}
    assert {path.name for path in folder.iterdir()} == {path.name for path in source.iterdir()} | {STAMPS_FILE}


def test_only_recorded_files_are_copied(source: Path) -> None:
    (source / "stray.txt").write_text("not part of the model", "utf-8")
    assert not (install(source, name="mine") / "stray.txt").exists()


def test_a_taken_name_is_kept_unless_replacing(source: Path, tmp_path: Path) -> None:
    install(source, name="mine")
    other = make_tiny_bundle(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="already installed"):
        install(other, name="mine")
    assert read_spec(find_model("mine")).identity == read_spec(source).identity
    install(other, name="mine", replace=True)
    assert read_spec(find_model("mine")).identity == read_spec(other).identity
    assert entries() == {"mine"}


def test_an_installed_model_may_replace_itself(source: Path) -> None:
    folder = install(source, name="mine")
    install(folder, name="mine", replace=True)
    assert Model.load(find_model("mine"), device="cpu").encode_texts(["red"]).shape[0] == 1


@pytest.mark.parametrize("file", ["image.onnx", "text.fp16.onnx", "tokenizer.json", "probe.npz"])
def test_a_damaged_file_is_not_installed(source: Path, file: str) -> None:
    flip_a_byte(source / file)
    with pytest.raises(ModelError, match=rf"damaged: {file} does not have the recorded SHA-256"):
        install(source, name="mine")
    assert entries() == set()


def test_a_missing_file_is_not_installed(source: Path) -> None:
    (source / "probe.npz").unlink()
    with pytest.raises(ModelError, match=r"probe\.npz is missing"):
        install(source, name="mine")


@pytest.mark.parametrize("file", ["text.onnx", "image.fp16.onnx", "tokenizer.json"])
def test_a_file_that_is_not_vouched_for_is_not_installed(source: Path, file: str) -> None:
    spec = read_spec(source)
    files = {name: facts for name, facts in spec.files.items() if name != file}
    write_spec(source, dataclasses.replace(spec, files=files))
    with pytest.raises(ModelError, match=f"{file} is not recorded"):
        install(source, name="mine")
    assert entries() == set()


def test_damage_on_the_way_is_found_on_the_copy(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = shutil.copyfile

    def damaging(given: Path, out: Path) -> None:
        original(given, out)
        if Path(out).name == "image.onnx":
            flip_a_byte(Path(out))

    monkeypatch.setattr(shutil, "copyfile", damaging)
    with pytest.raises(ModelError, match=r"image\.onnx does not have"):
        install(source, name="mine")
    assert entries() == set()


def test_after_a_failed_replacement_the_old_model_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(source, name="mine")
    partial = placing.aside(folder)
    shutil.copytree(source, partial)
    original, calls = Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output"):
        placing.put_in_place(partial, folder)
    assert read_spec(folder).name == "mine"


def test_no_space_is_found_before_copying(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    with pytest.raises(NoSpaceError, match="needs"):
        install(source, name="mine")
    assert entries() == set()


def test_leftovers_of_a_killed_installation_are_swept_a_day_later(source: Path) -> None:
    install(source, name="mine")
    old, fresh = (placing.aside(models_folder() / "gone") for _ in range(2))
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "image.onnx").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    install(source, name="other")
    assert entries() == {"mine", "other", fresh.name}
    assert [model.name for model in list_models() if not model.shipped] == ["mine", "other"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".hidden", "-m", "name ", "x" * 65, "ends.", "tab\t", "ü"]
)
def test_names_that_could_lead_elsewhere_are_refused(source: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a usable model name"):
        install(source, name=name)
    with pytest.raises(UsageError, match="not a usable model name"):
        remove(name)


@pytest.mark.parametrize("name", ["starter", "Starter"])
def test_the_name_of_the_shipped_model_is_taken(source: Path, shipped: Path, name: str) -> None:
    with pytest.raises(UsageError, match="comes with clip: give another --name"):
        install(source, name=name, replace=True)
    assert [(model.name, model.shipped) for model in list_models()] == [("starter", True)]


def test_a_model_that_once_took_the_shipped_name_can_be_removed(source: Path, shipped: Path) -> None:
    install(source, name="other").rename(models_folder() / "starter")
    remove("starter")
    assert find_model("starter") == shipped


def test_a_folder_is_a_model_too(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(source)) == source
    monkeypatch.chdir(tmp_path)
    assert find_model("source").resolve() == source
    with pytest.raises(NotFoundError, match=r"no model in .*model\.json is missing"):
        find_model(str(tmp_path))


def test_an_installed_name_comes_before_a_folder_here(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_folder = install(source, name="source")
    monkeypatch.chdir(tmp_path)
    assert find_model("source") == installed_folder
    assert find_model("./source").resolve() == source


def test_an_unknown_name_lists_those_there_are(source: Path, shipped: Path) -> None:
    install(source, name="mine")
    with pytest.raises(NotFoundError, match=r"no model is called 'yours' \(installed: mine, starter\)"):
        find_model("yours")


def test_the_shipped_model_is_the_default_until_another_is_chosen(source: Path, shipped: Path) -> None:
    assert find_model(None) == shipped
    assert find_model("starter") == shipped
    mine = install(source, name="mine")
    assert find_model(None) == shipped
    set_default("mine")
    assert find_model(None) == mine
    assert [(model.name, model.default, model.shipped) for model in list_models()] == [
        ("mine", True, False),
        ("starter", False, True),
    ]
    set_default(None)
    assert find_model(None) == shipped
    set_default("starter")
    assert find_model(None) == shipped
    assert default_name() == "starter"


def test_an_unknown_default_is_refused(shipped: Path) -> None:
    with pytest.raises(NotFoundError, match="'nobody'"):
        set_default("nobody")
    assert default_name() is None


def test_a_default_that_has_gone_is_said(source: Path, shipped: Path) -> None:
    install(source, name="mine")
    set_default("mine")
    shutil.rmtree(models_folder() / "mine")
    with pytest.raises(NotFoundError, match="default model 'mine' is not installed any more"):
        find_model(None)


def test_no_model_at_all_is_said(none_shipped: None) -> None:
    with pytest.raises(NotFoundError, match="no default model"):
        find_model(None)
    assert list_models() == []


def test_removing_frees_what_it_says_and_forgets_the_default(source: Path, shipped: Path) -> None:
    folder = install(source, name="mine")
    held = sum(path.stat().st_size for path in folder.iterdir())
    set_default("mine")
    assert remove("mine") == held
    assert entries() == set()
    assert find_model(None) == shipped
    with pytest.raises(NotFoundError, match="no model is called 'mine'"):
        remove("mine")


def test_the_shipped_model_stays(shipped: Path) -> None:
    with pytest.raises(UsageError, match="came with this package"):
        remove("starter")


def test_a_damaged_model_is_listed_with_its_problem_and_can_be_removed(source: Path, none_shipped: None) -> None:
    folder = install(source, name="mine")
    (folder / MODEL_FILE).write_text("{", "utf-8")
    (model,) = list_models()
    assert (model.name, model.spec) == ("mine", None)
    assert "not JSON" in model.problem
    remove("mine")
    assert list_models() == []


# --- stamps: what loading notices after installation ---------------------------------------------------------------


def test_a_file_changed_after_installation_is_found_on_load(source: Path) -> None:
    folder = install(source, name="mine")
    time.sleep(0.01)
    flip_a_byte(folder / "image.onnx")
    with pytest.raises(ModelError, match=r"image\.onnx does not have the recorded SHA-256"):
        Model.load(folder)


def test_a_file_only_touched_is_hashed_again_and_good(source: Path) -> None:
    folder = install(source, name="mine")
    os.utime(folder / "image.onnx", (1, 1))
    assert Model.load(folder).name == "mine"


def test_unreadable_stamps_only_mean_no_stamps(source: Path) -> None:
    folder = install(source, name="mine")
    (folder / STAMPS_FILE).write_text("[", "utf-8")
    assert Model.load(folder).name == "mine"
