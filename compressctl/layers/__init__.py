"""Layers that multiply by constant matrices, seen alike: what they are and what they read."""
