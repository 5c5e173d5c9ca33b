"""ONNX Runtime sessions: quiet, on the device asked for, and honest about the device really got."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as runtime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from clipcli.errors import DeviceError, ModelError, UsageError, pip_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

__all__ = ["DEVICES", "RUNTIME_ERRORS", "first_line", "may_use_cuda", "open_session"]

DEVICES = ("auto", "cpu", "cuda")

# What a session raises; these have no common base below Exception.
RUNTIME_ERRORS = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NoSuchFile,
    native.NotImplemented,
    native.RuntimeException,
    RuntimeError,
    ValueError,
)

# Severities run from 0 (verbose) to 4 (fatal). Errors reach us as exceptions; the rest is noise on a person's terminal.
_FATAL_ONLY = 4


# What CUDA is asked for: products of fp32 in fp32, not in the 19 bits of TF32; no trying out of every convolution for
# each new size of a batch; memory as it is needed, since others use the card as well.
_CUDA = (
    "CUDAExecutionProvider",
    {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
)


def open_session(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    kept: Path | None = None,
    often: bool = False,
) -> tuple[InferenceSession, str]:
    """A session and the device it runs on, "cpu" or "cuda".

    `auto` takes CUDA where it works, else the CPU. `kept` is the folder in which the graph is kept in a form that is
    opened sooner, or will be (`ready_graphs`); it is used on the CPU only, and `often` or for once.

    Raises:
        DeviceError: `cuda` was asked for, and ONNX Runtime would have fallen back to the CPU.
        ModelError: the graph cannot be loaded.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}: one of {', '.join(DEVICES)}")
    runtime.set_default_logger_severity(_FATAL_ONLY)
    runtime.disable_telemetry_events()  # once more, for a program that imported it before this package
    options = _options(threads)
    if device == "cuda" and not _offers_cuda():
        raise DeviceError("CUDA cannot be used: this ONNX Runtime is built without it (pip install onnxruntime-gpu)")
    if device == "cpu" or (device == "auto" and not may_use_cuda()):
        if kept is not None:
            from clipcli.bundle.ready_graphs import open_ready  # late: most sessions are not for a moment

            return open_ready(path, kept, lambda: _options(threads), _open_on_cpu, often=often), "cpu"
        return _open_on_cpu(path, options), "cpu"
    _preload_cuda()
    session = _open(path, options, [_CUDA, "CPUExecutionProvider"])
    # The list of available providers promises CUDA that will not load; only the session knows.
    if session.get_providers()[0] == "CUDAExecutionProvider":
        return session, "cuda"
    if device == "cuda":
        raise DeviceError(f"CUDA cannot be used: {_why_no_cuda()}")
    return session, "cpu"


def may_use_cuda() -> bool:
    """Whether it is worth trying: this runtime is built with CUDA, there is a driver, and CUDA's libraries load.

    A cheap question where there is no driver; else these are loaded, which is needed anyway where they are there.
    """
    return _offers_cuda() and _driver_present() and _cuda_loads()


@functools.cache
def _cuda_loads() -> bool:
    _preload_cuda()
    return _cuda_library_error() is None


def _offers_cuda() -> bool:
    return "CUDAExecutionProvider" in runtime.get_available_providers()


def first_line(error: BaseException) -> str:
    """The runtime's messages run over many lines; a person needs the first."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _options(threads: int | None) -> SessionOptions:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.inter_op_num_threads = 1  # a tower is a chain of operators: nothing in it can run side by side
    # Threads that turn while they wait for work take the cores from those that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        if threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        options.intra_op_num_threads = threads
    return options


def _open_on_cpu(path: Path, options: SessionOptions) -> InferenceSession:
    return _open(path, options, ["CPUExecutionProvider"])


def _open(path: Path, options: SessionOptions, providers: list[Any]) -> InferenceSession:
    try:
        return runtime.InferenceSession(os.fspath(path), sess_options=options, providers=providers)
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime cannot load {path}: {first_line(error)}") from error


def _driver_present() -> bool:
    """Whether an NVIDIA driver can be loaded at all: a cheap question, asked before the costly one."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _preload_cuda() -> None:
    """Load the CUDA libraries that pip installed, where it did; ONNX Runtime prints what it does not find."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), contextlib.suppress(OSError):
        runtime.preload_dlls()


def _why_no_cuda() -> str:
    """The reason that ONNX Runtime only writes to its log: no driver, or the first CUDA library that is missing."""
    if not _driver_present():
        return "no NVIDIA driver is installed"
    error = _cuda_library_error()
    if error is not None:
        return f"{first_line(error)} ({pip_line('cuda')} brings CUDA's libraries)"
    return "ONNX Runtime fell back to the CPU (no GPU it can use)"


def _cuda_library_error() -> OSError | None:
    """What keeps ONNX Runtime's part for CUDA from being loaded."""
    name = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(os.fspath(Path(runtime.__file__).parent / "capi" / name))
    except OSError as error:
        return error
    return None
