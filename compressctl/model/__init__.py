"""Models: loading, saving, editing, checking and counting `onnx_ir` graphs."""
