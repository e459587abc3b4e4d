"""Weights alone in few bits: rounding them, and putting them into the graph."""
