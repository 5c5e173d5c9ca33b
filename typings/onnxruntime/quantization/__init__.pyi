from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

class QuantType(Enum):
    QInt8 = ...
    QUInt8 = ...
    QInt16 = ...
    QUInt16 = ...
    QInt4 = ...
    QUInt4 = ...

class QuantFormat(Enum):
    QDQ = ...
    QOperator = ...

class CalibrationMethod(Enum):
    MinMax = ...
    Entropy = ...
    Percentile = ...
    Distribution = ...

class CalibrationDataReader:
    def get_next(self) -> dict[str, NDArray[Any]] | None: ...

def quantize_dynamic(
    model_input: str | Path | ModelProto,
    model_output: str | Path,
    op_types_to_quantize: Sequence[str] | None = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    weight_type: QuantType = ...,
    nodes_to_quantize: Sequence[str] | None = None,
    nodes_to_exclude: Sequence[str] | None = None,
    use_external_data_format: bool = False,
    extra_options: Mapping[str, Any] | None = None,
) -> None: ...
def quantize_static(
    model_input: str | Path | ModelProto,
    model_output: str | Path,
    calibration_data_reader: CalibrationDataReader | None = None,
    quant_format: QuantFormat = ...,
    op_types_to_quantize: Sequence[str] | None = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    activation_type: QuantType = ...,
    weight_type: QuantType = ...,
    nodes_to_quantize: Sequence[str] | None = None,
    nodes_to_exclude: Sequence[str] | None = None,
    use_external_data_format: bool = False,
    calibrate_method: CalibrationMethod = ...,
    calibration_providers: Sequence[str] | None = None,
    extra_options: Mapping[str, Any] | None = None,
) -> None: ...
