"""Whole models in one small file: the `.ccz` container, lossless; docs/ccz.md specifies it."""
