"""A graph with one constant, and what onnxruntime makes of the form in which it is stored."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort


def model_with(weight):
    """`y = x * weight`, of opset 13."""
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float x) => (float[{",".join(map(str, weight.shape))}] y) {{ y = Mul(x, w) }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return ir.from_proto(proto)


def folded(model, path):
    """Return what the graph computes for x = 1, and the operators that are left after onnxruntime loaded it."""
    onnx.save(ir.to_proto(model), path)
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    left = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    (result,) = session.run(None, {"x": np.array(1, np.float32)})
    return result, left
