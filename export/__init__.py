"""From a torch model to a bundle: ONNX graphs of several precisions, measured against torch, written whole."""
