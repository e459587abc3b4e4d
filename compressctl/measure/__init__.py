"""Measuring of model files in onnxruntime: latency, memory, accuracy, fidelity, profile."""
