"""Randomly initialised models in the shapes that people compress; the same bytes every time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.models import bert_base, mobilenet_v2, resnet50, vit

BUILDERS = {
    "resnet50": resnet50.build,
    "bert_base": bert_base.build,
    "mobilenet_v2": mobilenet_v2.build,
    "vit": vit.build,
}


def model_file(name: str, cache: Path) -> Path:
    """Return the path of a model in `cache`, built there if it is missing."""
    path = cache / f"{name}.onnx"
    if not path.exists():
        BUILDERS[name](path)
    return path
