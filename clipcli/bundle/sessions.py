"""ONNX Runtime sessions: quiet, on the device asked for, and honest about the device really got."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import DeviceError, ModelError, UsageError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["DEVICES", "open_session"]

DEVICES = ("auto", "cpu", "cuda")

_FATAL_ONLY = 4  # ONNX Runtime's severities run from 0 (verbose) to 4 (fatal); its errors reach us as exceptions anyway


def _driver_present() -> bool:
    """Whether an NVIDIA driver can be loaded at all: a cheap question, asked before the costly one."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _runtime() -> Any:
    """The onnxruntime module, silenced: it greets machines without a GPU with warnings on stderr."""
    import onnxruntime as runtime

    runtime.set_default_logger_severity(_FATAL_ONLY)
    return runtime


def _options(runtime: Any, threads: int | None) -> onnxruntime.SessionOptions:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        if threads < 1:
            raise UsageError("threads must be at least 1")
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the towers are chains of operators: there is nothing to run side by side
    return options


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _open(runtime: Any, path: Path, options: Any, providers: list[str]) -> onnxruntime.InferenceSession:
    try:
        return runtime.InferenceSession(os.fspath(path), sess_options=options, providers=providers)
    except Exception as error:  # the runtime's exceptions have no common base below Exception
        raise ModelError(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from None


def open_session(path: Path, *, device: str, threads: int | None) -> tuple[onnxruntime.InferenceSession, str]:
    """A session and the device it runs on, "cpu" or "cuda".

    `auto` takes CUDA where it works; an explicit `cuda` that ONNX Runtime silently replaces by the CPU raises
    DeviceError. Raises ModelError for a graph that cannot be loaded.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}: one of {', '.join(DEVICES)}")
    runtime = _runtime()
    options = _options(runtime, threads)
    offered = "CUDAExecutionProvider" in runtime.get_available_providers()
    if device == "cuda" and not offered:
        raise DeviceError("no CUDA here: this ONNX Runtime is built without it (pip install onnxruntime-gpu)")
    if device == "cpu" or not offered or (device == "auto" and not _driver_present()):
        return _open(runtime, path, options, ["CPUExecutionProvider"]), "cpu"
    with (
        contextlib.suppress(Exception),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        runtime.preload_dlls()  # CUDA libraries that pip installed; it prints what it does not find
    session = _open(runtime, path, options, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    # The list of available providers promises CUDA that will not load; only the session knows.
    if session.get_providers()[0] == "CUDAExecutionProvider":
        return session, "cuda"
    if device == "cuda":
        raise DeviceError("CUDA cannot be used: ONNX Runtime fell back to the CPU (driver or CUDA libraries missing)")
    return session, "cpu"
