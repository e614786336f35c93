"""What the tests share: tiny checkpoints, references in NumPy, ONNX files, a hub."""
