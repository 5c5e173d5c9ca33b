from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

class DescriptorPool:
    def Add(self, file: FileDescriptorProto) -> None: ...
    def FindMessageTypeByName(self, name: str) -> Any: ...
