"""Sources with weights, rows that belong into one batch, and pairs from a pipe, by the command and in a run."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipcli.commands.piped import put_down
from clipcli.commands.training_options import weighed
from clipcli.errors import DataError, NoSpaceError, UsageError
from tests.training.conftest import clip
from tests.training.tiny import PREPROCESS, Told, equal, options, state, stop_at, write_classes, write_pairs
from trainer.data import Data, prepare_data
from trainer.mixing import row_plan
from trainer.options import TrainOptions
from trainer.run import resume, train
from trainer.stopping import Interrupted


def prepared(chosen: TrainOptions, told: Told | None = None) -> Data:
    told = told or Told()
    return prepare_data(chosen, PREPROCESS, begin=told.begin, summarise=told.summary)


def grouped(folder: Path, count: int = 26, each: int = 4) -> Path:
    """`count` pairs with a column `scene`, `each` rows a scene."""
    pairs = write_pairs(folder, count)
    head, *lines = pairs.read_text("utf-8").splitlines()
    lines = [f"{line},{number // each}" for number, line in enumerate(lines)]
    pairs.write_text("\n".join([f"{head},scene", *lines]) + "\n", "utf-8")
    return pairs


def test_weights_on_the_command_line(tmp_path: Path) -> None:
    named = tmp_path / "a@7"
    named.write_text("")
    assert weighed(["a.csv@3", "b.parquet"]) == (["a.csv", "b.parquet"], (3.0, 1.0))
    assert weighed(["s-{0..9}.tar@0.5", "@2"]) == (["s-{0..9}.tar", "@2"], (0.5, 1.0))
    assert weighed(["me@home.csv", str(named)]) == (["me@home.csv", str(named)], None)
    with pytest.raises(UsageError, match=r"a.csv@1.2.3: what follows the @ is a weight"):
        weighed(["a.csv@1.2.3"])


def test_the_doctor_says_what_share_each_source_has(tmp_path: Path) -> None:
    pairs, classes = write_pairs(tmp_path / "p", 26), write_classes(tmp_path / "classes", 8)
    done = clip("train", f"{pairs}@3", classes, "--scratch", "--arch", "tiny-resnet", "--batch-size", 16,
                "--doctor-only", "--format", "json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = [record for record in json.loads(done.stdout) if record["name"] == "source"]
    assert [(record["count"], record["what"].split(" come")[0]) for record in found] == [
        (12, "of 16 pairs a step (75 %)"),
        (4, "of 16 pairs a step (25 %)"),
    ]
    assert "12 of 16 pairs a step (75 %) come from pairs; each of its" in done.stderr
    done = clip("train", f"{pairs}@0", classes, "--scratch", "--doctor-only")
    assert (done.exit_code, done.stderr) == (2, "clip: give as many weights as sources, each above 0\n")
    done = clip("train", f"{pairs}@3", classes, "--scratch", "--set", "weights=1,2", "--doctor-only")
    assert done.exit_code == 2
    assert "weights is given twice" in done.stderr


def test_a_source_too_small_for_its_place_is_refused(tmp_path: Path) -> None:
    pairs, classes = write_pairs(tmp_path / "p", 26), write_classes(tmp_path / "classes", 8)
    told = Told()
    with pytest.raises(DataError, match="classes gets no place among the pairs of a step"):
        prepared(options([pairs, classes], weights=(100.0, 1.0)), told)
    assert [(each.name, each.count) for each in told.summaries[0].findings if each.name == "source"] == [
        ("source", 8),
        ("source", 0),
    ]


def test_rows_of_a_group_share_their_batch_and_a_run_with_them_is_resumed(tmp_path: Path) -> None:
    pairs, classes = grouped(tmp_path / "p"), write_classes(tmp_path / "classes", 3)
    chosen = options([pairs, classes], group="scene", batch_size=12, epochs=2.0, validation=(str(pairs),),
                     chunk_size=4)  # fmt: skip
    told = Told()
    data = prepared(chosen, told)
    assert told.summaries[0].notes[-1] == ("7 groups by 'scene', half of them of 4 rows or more; 12 rows are alone")
    plan = row_plan(data.rows, data.groups, chosen)
    together = 0
    for step in range(12):
        numbers = plan(step).tolist()
        scenes = [data.rows[number].further[0] for number in numbers if data.rows[number].further]
        together += sum(scenes.count(scene) - 1 for scene in scenes if scene is not None)
    assert together / (12 * 8) > 2  # of 3 others; by chance 0.9
    straight, halting = tmp_path / "straight", tmp_path / "halting"
    train(chosen, straight, Told())
    with pytest.raises(Interrupted):
        train(chosen, halting, stop_at(4))
    resume(halting, Told())
    assert equal(state(straight), state(halting))


@pytest.mark.parametrize(
    ("column", "each", "message"),
    [("place", 4, "no row has anything in a column 'place'"), ("scene", 1, "each row has a 'scene' of its own")],
)
def test_groups_that_are_no_use(tmp_path: Path, column: str, each: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(options(grouped(tmp_path, each=each), group=column))


def packed(folder: Path, count: int = 26) -> bytes:
    pairs = write_pairs(folder, count)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for number, line in enumerate(pairs.read_text("utf-8").splitlines()[1:]):
            name, text = line.split(",")
            for ending, content in (("png", (folder / name).read_bytes()), ("txt", text.encode())):
                info = tarfile.TarInfo(f"{number:03d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def piped(tmp_path: Path, content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "clipcli", "train", "-", "--scratch", *arguments],
        input=content, capture_output=True, timeout=240, check=False, cwd=tmp_path,
        env={**os.environ, "CLIP_MODELS": str(tmp_path / "models"), "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


def test_pairs_from_a_pipe(tmp_path: Path) -> None:
    """They are put down beside the run, or for as long as the doctor looks at them."""
    content = packed(tmp_path / "data")
    done = piped(tmp_path, content, "--doctor-only", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert b"21 pairs to train on" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = piped(tmp_path, b"image,caption\n" * 100)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"what comes through standard input is no tar file" in done.stderr


class FillsTheDisk(io.BytesIO):
    """A pipe, behind whose first million bytes the disk is full."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().read(size)


def test_a_pipe_that_brings_more_than_the_disk_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = FillsTheDisk(packed(tmp_path / "data")[:512] + bytes(3_000_000))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    chosen = dataclasses.replace(options(tmp_path), data=("-",))
    with pytest.raises(NoSpaceError, match=r"is full after 1 MB .* fewer shards"), put_down(chosen, tmp_path / "run"):
        pytest.fail("it was not put down")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_run_on_shards_reads_pictures_from_them_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.data.available_memory", lambda: 0)
    content = packed(tmp_path / "data")
    for number in range(2):  # the same pictures twice: the same to each other, as bytes in memory were
        (tmp_path / f"s-{number}.tar").write_bytes(content)
    chosen = options(tmp_path / "s-{0..1}.tar", shuffle_buffer=6, epochs=1.0)
    data = prepared(chosen)
    assert data.summary.pictures == 26
    train(chosen, tmp_path / "straight", Told())
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "halting", stop_at(3))
    resume(tmp_path / "halting", Told())
    assert equal(state(tmp_path / "straight"), state(tmp_path / "halting"))
