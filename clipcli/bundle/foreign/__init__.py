"""Models that other projects have exported to ONNX, read without torch."""
