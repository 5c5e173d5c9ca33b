"""Graphs as ONNX Runtime has optimised them, kept in the cache folder, so that one is opened in a fraction of the time.

Opening a text tower takes far longer than running it once: its file is read and parsed, optimised, and its weights are
rearranged for many uses. Kept here it is optimised, and its weights lie in a file beside it that is mapped into memory,
which saves memory as well. For a search nothing is rearranged; for an index run, which uses its tower often, weights
are. Measured in docs/experiments.md.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as runtime

from clipcli.bundle.sessions import RUNTIME_ERRORS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

__all__ = ["GRAPH", "WEIGHTS", "graph_folder", "make_room", "open_ready", "ready_folder"]

GRAPH, WEIGHTS = "graph.onnx", "graph.weights"
_MAKING = ".making-"
_LEFT_FOR_S = 3600.0
_KEPT = 8  # graphs, those used last: two towers in two forms of two models
_WORTH_IT = 8 << 20  # bytes: what is smaller opens as quickly without
_IN_THE_GRAPH = "1024"  # bytes: smaller weights stay where shapes and constants are looked for

Opener = Callable[[Path, "SessionOptions"], "InferenceSession"]


def ready_folder(size_bytes: int, digest: str) -> Path | None:
    """Where the graph with this digest is kept or will be; None for one that is too small to be worth it."""
    return None if size_bytes < _WORTH_IT else graph_folder(digest)


def graph_folder(digest: str, form: str = "") -> Path:
    """Where this program keeps what was made of the graph with this digest on this machine, in one form of several."""
    import platformdirs

    graphs = platformdirs.user_cache_path("clip", appauthor=False) / "graphs"
    # What is optimised for one processor need not run on another, and a home may be on several machines.
    # As `platform.processor` tells on Windows; elsewhere that starts a program, and knows no more than the next.
    machine = "|".join((platform.node(), platform.machine(), os.environ.get("PROCESSOR_IDENTIFIER", "")))
    return graphs / f"{digest[:32]}{form}-{runtime.__version__}-{hashlib.sha256(machine.encode()).hexdigest()[:8]}"


def open_ready(
    path: Path, folder: Path, fresh_options: Callable[[], SessionOptions], opener: Opener, *, often: bool
) -> InferenceSession:
    """A session of the graph `path` on the CPU: the one kept in `folder`, else `path` itself, kept there for next time.

    `often`: it will be run many times, and is worth rearranging its weights for. Numbers are the same but for the last
    digits. Raises what `opener` raises for `path`.
    """
    if (folder / GRAPH).is_file():
        with suppress(*RUNTIME_ERRORS):
            session = runtime.InferenceSession(
                os.fspath(folder / GRAPH),
                sess_options=_as_kept(fresh_options(), often),
                providers=["CPUExecutionProvider"],
            )
            with suppress(OSError):
                os.utime(folder)  # used last
            return session
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or of a runtime that calls itself the same
    try:
        return _kept(path, folder, fresh_options())
    except (OSError, *RUNTIME_ERRORS):  # no room, no permission: slower, not impossible
        return opener(path, fresh_options())


def _as_kept(options: SessionOptions, often: bool) -> SessionOptions:
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not often:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _kept(path: Path, folder: Path, options: SessionOptions) -> InferenceSession:
    partial = make_room(folder.parent)
    try:
        options.optimized_model_filepath = os.fspath(partial / GRAPH)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", _IN_THE_GRAPH
        )
        session = runtime.InferenceSession(os.fspath(path), sess_options=options, providers=["CPUExecutionProvider"])
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        with suppress(OSError):  # another search was as quick
            partial.rename(folder)
        return session
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_room(graphs: Path) -> Path:
    """A new folder in `graphs` to write a graph to, before it is renamed to what it is kept as. Raises OSError."""
    graphs.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(graphs)
    return Path(tempfile.mkdtemp(dir=graphs, prefix=_MAKING))


def _sweep(graphs: Path) -> None:
    """Remove what was not used for longest, and what a killed search has left half-made."""
    with suppress(OSError):
        kept = sorted(
            (one for one in graphs.iterdir() if not one.name.startswith(_MAKING)),
            key=lambda one: one.stat().st_mtime,
            reverse=True,
        )
        left = [one for one in graphs.glob(f"{_MAKING}*") if time.time() - one.stat().st_mtime > _LEFT_FOR_S]
        for one in [*kept[_KEPT - 1 :], *left]:
            shutil.rmtree(one, ignore_errors=True)
