"""INT8: what to quantize, which ranges, which operators to write; and what scheme `auto` measures."""
