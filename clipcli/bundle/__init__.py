"""A model on disk: what it says about itself, its tokenizer, its preprocessing, its ONNX Runtime sessions."""
