"""Which weights and which units of a model can go, and what becomes of the others."""
