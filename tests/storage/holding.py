"""A graph that hands out one constant of any type, and what onnxruntime makes of the form in which it is stored."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from compressctl.model.save import save_model


def model_of(array):
    """`y = Reshape(w, shape)`, of opset 13: bits are handed through as they are."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    dims = [f"d{axis}" for axis in range(array.ndim)]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Reshape", ["w", "shape"], ["y"], "reshape")],
        "g",
        [onnx.helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [array.ndim])],
        [onnx.helper.make_tensor_value_info("y", kind, dims)],
        [onnx.numpy_helper.from_array(array, "w")],
    )
    return ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8))


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
