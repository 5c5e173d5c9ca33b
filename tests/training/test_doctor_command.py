"""`clip train --doctor-only`: findings on stdout, nothing trained, exit code 12 where nothing can be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipcli.commands.data_doctor import run_doctor
from clipcli.commands.options import Format
from clipcli.errors import DataError
from tests.training.tiny import options, write_pairs


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
