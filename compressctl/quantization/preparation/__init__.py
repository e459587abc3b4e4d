"""What makes a model easier to quantize, and leaves what it computes: scales moved between layers."""
