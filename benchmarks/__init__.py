"""Side-by-side figures against onnxruntime's own quantizer: `python -m benchmarks` writes RESULTS.md."""
