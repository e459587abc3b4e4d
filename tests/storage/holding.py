"""A graph that hands out one constant of any type, and what onnxruntime makes of the form in which it is stored."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from compressctl.model.save import save_model
from tests import graphs


def model_of(array):
    """`y = Reshape(w, shape)`, of opset 13: bits are handed through as they are."""
    kind = {"float32": "float", "float64": "double"}.get(array.dtype.name, array.dtype.name)
    y = f"{kind}[{', '.join(f'd{axis}' for axis in range(array.ndim))}] y"
    return ir.from_proto(graphs.proto("y = Reshape(w, shape)", {"w": array}, f"int64[{array.ndim}] shape", y, 13))


def made(model, path, shape):
    """Return what onnxruntime makes of the constant, and the operators that are left after it loaded the file."""
    save_model(model, path, overwrite=True)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    left = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    (result,) = session.run(None, {"shape": np.array(shape)})
    return result, left
