"""kill -9 at random moments of `clip embed`: what was committed stays, and one batch at most is done again.

    python -m benchmarks.kill_embed --kills 500

Half of the kills come at a moment drawn from the whole run, half shortly after a phase drawn first has begun. Between
kills files are added, changed, moved and deleted. A round of kills begins with no library or with one of an earlier
schema, and ends with a run that is left alone. After every kill, on a copy of what lies on the disk:

- PRAGMA integrity_check and foreign_key_check find nothing, and no process is left over;
- every vector that was there before, or whose batch was reported as committed, is there as long as a file has its
  content, and so are the tags;
- a batch is there whole or not at all, and of the pictures handed to the model no more than one batch is missing.

Ends with 1 when any of that fails, and keeps the folder for a look.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.after_kill import Broken, nobody_left, phase_of, state_of, version_of
from benchmarks.told_embed import PHASES
from clipcli.library.schema import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parents[1]
IN_FLIGHT = 8
PICTURES = 48
KILLS_A_ROUND = 20
SLOW_S = 0.012  # a batch in the model, so that kills land there
AIMS = {
    "embed": ("opening", "migrating", "loading", "scanning", "reading", "embedding", "writing", "forgetting",
              "finishing", "closing"),
    "search": ("opening", "caching", "caching", "closing"),
}  # fmt: skip


@dataclass(kw_only=True)
class Findings:
    """What came of the kills. `again` is how many pictures have to be embedded once more, by kill."""

    phases: Counter[str] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)
    rounds: int = 0
    survived: int = 0  # processes that had ended before the signal came; they count nowhere else
    lasts_s: float = 1.0  # a run that nobody disturbs

    @property
    def kills(self) -> int:
        return sum(self.phases.values())

    def lines(self) -> list[str]:
        """For a person: a bar per phase."""
        said = [f"{self.kills} kills in {self.rounds} rounds: no integrity failure, no committed row lost"]
        said += [f"  {phase:<12}{self.phases[phase]:>5}  {'#' * (self.phases[phase] // 2)}" for phase in self.phases]
        worst = max(self.again, default=0)
        said.append(
            f"done again after a kill: {sum(n * times for n, times in self.again.items())} pictures in all, "
            f"at most {worst} (a batch is {IN_FLIGHT}), none after {self.again[0]} kills"
        )
        return said


def kill_runs(folder: Path, bundle: Path, *, kills: int, seed: int, released: list[Path]) -> Findings:
    """So many kills in `folder`, which is empty. `released` are libraries of earlier schemas. Raises Broken."""
    chance = random.Random(seed)
    findings = Findings(phases=Counter(dict.fromkeys(reversed(PHASES), 0)))
    while findings.kills < kills:
        place = folder / f"round {findings.rounds}"
        start = chance.choice([None, *released])
        one = _Round(place, bundle, chance, findings, None if start is None else start.read_bytes())
        wanted = min(findings.kills + KILLS_A_ROUND, kills)
        while findings.kills < wanted:
            one.kill()
        one.finish()
        findings.rounds += 1
        shutil.rmtree(place)
    return findings


class _Round:
    """One library from its beginning to its being whole."""

    def __init__(
        self, place: Path, bundle: Path, chance: random.Random, findings: Findings, library: bytes | None
    ) -> None:
        self._place, self._bundle, self._chance, self._findings = place, bundle, chance, findings
        self._photos, self._db, self._log = place / "photos", place / "library" / "library.db", place / "log"
        self._photos.mkdir(parents=True)
        self._made = 0
        self._vectors: set[tuple[str, bytes]] = set()
        self._tags: set[tuple[int, str]] = set()
        self._environment = os.environ | {"XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
        for _ in range(PICTURES):
            self._add()
        if library is not None:
            self._db.parent.mkdir()
            self._db.write_bytes(library)
            self._vectors, self._tags, _ = state_of(self._db)

    def kill(self) -> None:
        """Begin a run (one in eight is a search, which makes a cache), kill it, and look at what is left."""
        searching = self._db.exists() and self._chance.random() < 0.125
        self._log.unlink(missing_ok=True)
        process = self._begin(search=searching)
        aim = self._aim(searching)
        if aim is None:
            time.sleep(self._chance.uniform(0, self._findings.lasts_s))
        else:
            self._wait_for(process, f"+{aim}\n")
            time.sleep(self._chance.uniform(0, self._chance.choice((0.0002, 0.002, 0.02))))  # some phases are short
        process.send_signal(signal.SIGKILL)
        died = process.wait() == -signal.SIGKILL
        nobody_left(process.pid)
        log = self._log.read_text().splitlines() if self._log.exists() else ["+starting"]
        again = self._look(log)
        if died:
            self._findings.phases[phase_of(log)] += 1
            self._findings.again[again] += 1
        else:
            self._findings.survived += 1
        self._change_files()

    def _aim(self, searching: bool) -> str | None:
        """The phase to die in; None for any moment. A library that has to be migrated has to be for a few runs only."""
        if not searching and (not self._db.exists() or version_of(self._db) < SCHEMA_VERSION):
            return self._chance.choice(("migrating", "migrating", "opening", None))
        return self._chance.choice(AIMS["search" if searching else "embed"]) if self._chance.random() < 0.5 else None

    def finish(self) -> None:
        """Two runs that nobody disturbs: the first leaves nothing to do for the second."""
        for turn in range(2):
            self._log.unlink(missing_ok=True)
            started = time.monotonic()
            if self._begin(search=False).wait() != 0:
                raise Broken(f"the run after the kills failed ({self._place})")
            if not turn:
                self._findings.lasts_s = time.monotonic() - started
            log = self._log.read_text().splitlines()
            self._look(log)
            if turn and any(line.startswith("begun") for line in log):
                raise Broken("a whole library was embedded again")
        there = {digest for digest, _ in self._vectors}
        if not self._contents() <= there:
            raise Broken("a picture is missing at the end")

    def _begin(self, *, search: bool) -> subprocess.Popen[bytes]:
        told = [sys.executable, "-m", "benchmarks.told_embed", str(self._log), str(SLOW_S)]
        what = ["search", "red"] if search else ["embed", str(self._photos), "--batch-size", str(IN_FLIGHT)]
        return subprocess.Popen(
            [*told, *what, "--db", str(self._db), "-m", str(self._bundle)],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_for(self, process: subprocess.Popen[bytes], mark: str) -> None:
        """Until the process has come so far, as often as a number drawn says, or has ended."""
        times = self._chance.randint(1, 6) if mark in ("+embedding\n", "+writing\n") else 1
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if self._log.read_text().count(mark) >= times:
                    return
            time.sleep(0.0002)

    def _look(self, log: list[str]) -> int:
        """Check a copy of what is on the disk; how many pictures this run began and did not bring into the library."""
        if not self._db.exists():
            if self._vectors:
                raise Broken("the library is gone")
            return sum(int(line.split()[1]) for line in log if line.startswith("begun"))
        vectors, tags, found = state_of(self._db)
        if found != ["ok"]:
            raise Broken(f"integrity: {found}")
        there = self._contents()
        lost = {one for one in self._vectors - vectors if one[0] in there}
        if lost:
            raise Broken(f"{len(lost)} committed vectors are gone")
        digests = {digest for digest, _ in vectors}
        landed = 0
        for line in log:
            word, *batch = line.split()
            if word == "written" and not digests.issuperset(batch):
                raise Broken("a batch that was reported as committed is not there")
            if word == "writing":
                if batch and 0 < len(digests.intersection(batch)) < len(set(batch)):
                    raise Broken("half a batch is there")
                landed += len(batch) if digests.issuperset(batch) else 0
        begun = sum(int(line.split()[1]) for line in log if line.startswith("begun"))
        if not self._tags <= tags:
            raise Broken("tags are gone")
        if begun - landed > IN_FLIGHT:
            raise Broken(f"{begun - landed} pictures have to be done again")
        self._vectors, self._tags = vectors, tags
        return begun - landed

    def _contents(self) -> set[str]:
        return {hashlib.sha256(file.read_bytes()).hexdigest() for file in self._photos.rglob("*.png")}

    def _add(self) -> None:
        pixels = np.random.default_rng(self._chance.getrandbits(60)).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(self._photos / f"{self._made:05d}.png")
        self._made += 1

    def _change_files(self) -> None:
        """Some of what people do to their pictures while nobody watches."""
        for _ in range(self._chance.randint(0, 12)):
            self._add()
        files = sorted(self._photos.rglob("*.png"))
        for file in self._chance.sample(files, min(4, len(files))):
            do = self._chance.choice(("delete", "move", "change", "nothing"))
            if do == "delete" and len(files) > PICTURES:
                file.unlink()
            elif do == "move":
                target = self._photos / f"moved {self._made}" / file.name
                target.parent.mkdir(exist_ok=True)
                file.rename(target)
            elif do == "change":
                Image.new("RGB", (5, 5), tuple(self._chance.randbytes(3))).save(file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    from tests.library.released import VERSIONS, unpack
    from tests.tiny_bundle import make_tiny_bundle

    folder = Path(tempfile.mkdtemp(prefix="clip-kills-"))
    started = time.monotonic()
    try:
        released = [unpack(version, folder / "released" / f"{version}.db") for version in VERSIONS]
        bundle = make_tiny_bundle(folder / "tiny")
        findings = kill_runs(folder / "rounds", bundle, kills=given.kills, seed=given.seed, released=released)
    except Broken as broken:
        print(f"BROKEN: {broken}; what is left is in {folder}")
        return 1
    shutil.rmtree(folder)
    print("\n".join(findings.lines()))
    print(
        f"seed {given.seed}, {time.monotonic() - started:.0f} s; {findings.survived} runs ended before the signal came"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
