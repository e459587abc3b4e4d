"""Which axes of which tensors must be cut together, and cutting them."""
