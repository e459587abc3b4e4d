"""compressctl: command-line model compression. ONNX or TorchScript in; a smaller, faster, proven ONNX file out."""

__version__ = "0.1.0"
