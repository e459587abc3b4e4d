"""Rewrites that keep what a model computes and make it smaller, faster and easier to quantize: one rule a file."""
