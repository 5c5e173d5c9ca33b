"""`clip train --doctor-only`: findings on stdout, nothing trained, exit code 12 where nothing can be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipcli.commands.data_doctor import run_doctor
from clipcli.commands.options import Format
from clipcli.errors import DataError, NotFoundError
from tests.training.tiny import Told, options, write_pairs
from trainer.run import train


def test_findings_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_pairs(tmp_path, 24)
    data.write_text(data.read_text() + "none.png,a picture that is not there\n")
    run_doctor(options(data, arch="RN-nano-64"), Format.json)
    findings = {found["name"]: found for found in json.loads(capsys.readouterr().out)}
    assert findings["missing file"]["count"] == 1
    assert "none.png" in findings["missing file"]["examples"][0]
    assert "small validation" in findings
    assert not (tmp_path / "runs").exists()


def test_findings_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_doctor(options(write_pairs(tmp_path, 24), arch="RN-nano-64"), None)
    out = capsys.readouterr().out
    assert "small validation" in out
    assert "missing file" not in out


def test_what_is_fatal_is_shown_first_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_pairs(tmp_path, 3)
    data.write_text(data.read_text() + "none.png,a picture that is not there\n")
    with pytest.raises(DataError, match="3 usable pairs") as caught:
        run_doctor(options(data, arch="RN-nano-64"), Format.csv)
    assert caught.value.exit_code == 12
    assert "missing file,1," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "last", "complaint"),
    [("elsewhere", "0.5 0.5", "no row has anything in a column 'elsewhere'"), ("soft", "1 0 0", "others have 2")],
)
def test_soft_labels_are_looked_at_and_leave_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, last: str, complaint: str
) -> None:
    data = write_pairs(tmp_path, 24)
    first, *lines = data.read_text().splitlines()
    soft = [*["0.5 0.5"] * (len(lines) - 12), *[last] * 12]  # some of them are trained on, whatever is held out
    data.write_text("\n".join([f"{first},soft", *(f"{line},{each}" for line, each in zip(lines, soft, strict=True))]))
    chosen = options(data, soft_labels=column)
    with pytest.raises(DataError, match=complaint):
        run_doctor(chosen, Format.json)
    findings = {found["name"]: found["examples"] for found in json.loads(capsys.readouterr().out)}
    assert complaint in findings["soft labels"][0]
    with pytest.raises(DataError, match=complaint):
        train(chosen, tmp_path / "run", Told())
    assert not (tmp_path / "run").exists()


def test_what_is_refused_before_the_first_step_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import run as runs

    def refuse(*_: object) -> None:
        raise DataError("not these")

    monkeypatch.setattr(runs, "row_plan", refuse)
    with pytest.raises(DataError, match="not these"):
        train(options(write_pairs(tmp_path, 24)), tmp_path / "run", Told())
    assert not (tmp_path / "run").exists()


def test_a_set_that_is_wanted_at_the_end_is_missed_now(tmp_path: Path) -> None:
    from clipcli.bundle.installed import shipped_model

    chosen = options(write_pairs(tmp_path, 24), start=str(shipped_model()), keep=(str(tmp_path / "gone.csv"),))
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        run_doctor(chosen, None)
