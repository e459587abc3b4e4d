"""INT8 quantization: what to quantize, which ranges, which operators to write."""
