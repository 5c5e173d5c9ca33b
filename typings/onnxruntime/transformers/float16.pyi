from collections.abc import Sequence

from onnx import ModelProto

DEFAULT_OP_BLOCK_LIST: list[str]

def convert_float_to_float16(
    model: ModelProto, *, keep_io_types: bool = False, op_block_list: Sequence[str] | None = None
) -> ModelProto: ...
