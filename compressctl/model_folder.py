"""A folder as Hugging Face has them, where a model is expected: model.onnx lies in it, or in its folder onnx/."""

from __future__ import annotations

from pathlib import Path

_PLACES = ("model.onnx", "onnx/model.onnx")


def model_file(path: Path) -> Path:
    """Return the model of a folder: model.onnx or onnx/model.onnx, or the only .onnx file in it.

    A path that is no folder, or one without such a file, comes back as it is: who opens it says what is wrong.
    """
    try:
        if not path.is_dir():
            return path
        found = [path / place for place in _PLACES if (path / place).is_file()] or sorted(path.glob("*.onnx"))
    except (OSError, ValueError):
        return path
    return found[0] if len(found) == 1 or (found and found[0].name == "model.onnx") else path
