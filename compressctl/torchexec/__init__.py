"""An ONNX graph as a differentiable torch module: what trains is the loaded graph itself."""
