"""The one training loop, on the ONNX graph itself: losses, samples, teachers, checkpoints."""
