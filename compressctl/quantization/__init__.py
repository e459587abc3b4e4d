"""Quantization: INT8 kernels (`int8`), weights alone (`weights`), and what prepares for either (`preparation`)."""
