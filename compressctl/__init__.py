"""compressctl: command-line model compression. ONNX or TorchScript in; a smaller, faster, proven ONNX file out."""

import os

# Said before anything imports onnxruntime, in this process or in those that it starts: onnxruntime's own switch
# comes after the import, which by then has written a device id under the user's home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
