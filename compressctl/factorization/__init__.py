"""Layers as sequences of smaller ones: low-rank factors in the place of a weight."""
