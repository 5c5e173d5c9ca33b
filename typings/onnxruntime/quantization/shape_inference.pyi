from pathlib import Path

from onnx import ModelProto

def quant_pre_process(
    input_model: str | Path | ModelProto | None = None,
    output_model_path: str | Path | None = None,
    skip_optimization: bool = False,
    skip_onnx_shape: bool = False,
    skip_symbolic_shape: bool = False,
    auto_merge: bool = False,
    verbose: int = 0,
) -> None: ...
