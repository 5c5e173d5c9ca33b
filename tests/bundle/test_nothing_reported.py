"""ONNX Runtime keeps a database of what it is used for and reports it, unless told otherwise: nothing leaves here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import clipcli

STARTER = Path(clipcli.__file__).parent / "starter"
SESSION = """
import sys
from pathlib import Path
from clipcli.bundle.encoder import Model
Model.load(Path(sys.argv[1]), device="cpu").encode_texts(["a dog"])
"""


def test_no_database_of_what_was_run(tmp_path: Path) -> None:
    told = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", SESSION, str(STARTER)], env=environment, check=True)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith("onnxruntime")], left
