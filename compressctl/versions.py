"""The versions that decide an output's bytes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from compressctl import __version__


def versions() -> dict[str, str]:
    """Return package -> version, compressctl first."""
    return {"compressctl": __version__, **{name: version(name) for name in ("numpy", "onnx", "onnx-ir", "onnxruntime")}}


def torch_version() -> str | None:
    """Return the version of torch, which decides what training gives; None where it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None
