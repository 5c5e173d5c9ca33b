"""What is measured beside, installed into two environments of its own.

    python -m benchmarks.environments [--rclip FOLDER] [--torch FOLDER]

rclip asks for other versions than this project (NumPy, Pillow, the hub's library) and gets an environment that shares
nothing. The others see this project's packages through a `.pth` file, so that PyTorch lies on the disk once and both
sides of a comparison run the same. What is there already stays; what cannot be installed is said in a line and is
missing from the tables. Why each of them: docs/decisions/0001-dependencies.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PEERS", "Peer", "lacking", "main", "make_environment"]

ROOT = Path(__file__).resolve().parents[1]
RCLIP, TORCH = "rclip", "torch"
WINDOWS = sys.platform == "win32"

_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A distribution to install. `bare` leaves out what it asks for: torchvision has no build for a torch of the CPU
    alone, and what is imported of it has a stand-in (`torchvision_stub`).
    """

    environment: str
    name: str
    version: str
    bare: bool = False

    def __post_init__(self) -> None:
        if self.environment not in (RCLIP, TORCH):
            raise ValueError(f"no environment is called {self.environment!r}")

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


PEERS = (
    Peer(environment=RCLIP, name="rclip", version="3.3.0"),
    Peer(environment=TORCH, name="regex", version="2026.11.15"),
    Peer(environment=TORCH, name="timm", version="1.0.31", bare=True),
    Peer(environment=TORCH, name="open_clip_torch", version="3.3.0", bare=True),
    Peer(environment=TORCH, name="transformers", version="5.23.0"),
    Peer(environment=TORCH, name="usearch", version="2.26.6"),
    Peer(environment=TORCH, name="faiss-cpu", version="1.15.1"),
)


def interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if WINDOWS else "bin/python")


def make_environment(folder: Path, *, sharing: bool) -> Path:
    """Its interpreter. `sharing` lets it see what is installed beside the interpreter that runs this."""
    python = interpreter(folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if sharing:
        line = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        own = Path(subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip())
        seen = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        (own / "zz-project.pth").write_text("".join(f"{path}\n" for path in seen), encoding="utf-8")
    return python


def lacking(python: Path, peers: Sequence[Peer]) -> list[Peer]:
    """Those that the environment does not have in the version asked for."""
    line = [str(python), "-c", _VERSIONS, *(peer.name for peer in peers)]
    found = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return [peer for peer in peers if found.get(peer.name) != peer.version]


def install(python: Path, peer: Peer) -> str | None:
    """None when it is there now, else the last thing that pip said."""
    line = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.requirement]
    if peer.environment == TORCH:
        line += ["--constraint", str(ROOT / "constraints.txt"), *(["--no-deps"] if peer.bare else [])]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rclip", type=Path, default=ROOT / ".peers", metavar="FOLDER")
    parser.add_argument("--torch", type=Path, default=ROOT / ".peers-torch", metavar="FOLDER")
    given = parser.parse_args(arguments)
    for environment, folder in ((RCLIP, given.rclip), (TORCH, given.torch)):
        python = make_environment(folder, sharing=environment == TORCH)
        for peer in lacking(python, [one for one in PEERS if one.environment == environment]):
            print(f"installing {peer.requirement} into {folder}", file=sys.stderr, flush=True)
            if reason := install(python, peer):
                print(f"{peer.requirement} is left out: {reason}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
