"""Models after passes, as files, and what explanations are checked against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from pydantic import TypeAdapter

from compressctl.data.notation import open_source
from compressctl.explanation.explain import explain
from compressctl.explanation.schema import Explanation
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.passes.base import Context
from compressctl.recipe.model import Recipe
from compressctl.resources import Resources
from tests import graphs


def after(
    model: Path,
    passes: Sequence[Mapping[str, Any]],
    folder: Path,
    name: str = "after.onnx",
    *,
    calibrated: bool = True,
) -> Path:
    """Save a model after passes."""
    loaded = load_model(model).model
    calibration = open_source("digits:train[:64]", Session(model, threads=1).inputs) if calibrated else None
    context = Context(baseline=loaded.clone(), workdir=folder, calibration=calibration, threads=1)
    recipe = Recipe.model_validate({"model": "a", "output": "b", "passes": passes})
    for config in recipe.passes:
        loaded = config.run(loaded, context).model
    save_model(loaded, folder / name, overwrite=True)
    return folder / name


def changed(model: Path, name: str, change: Callable[[np.ndarray], np.ndarray], folder: Path) -> Path:
    """Save a model with one of its initializers changed."""
    proto = onnx.load(model)
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    onnx.save(proto, folder / "changed.onnx")
    return folder / "changed.onnx"


def two_bits(weight: np.ndarray) -> np.ndarray:
    """Round to {-2, -1, 0, 1} times a scale."""
    scale = np.abs(weight).max() / 2
    return (np.clip(np.round(weight / scale), -2, 1) * scale).astype(weight.dtype)


def explained(model: Path, stages: Sequence[tuple[str, Path]], folder: Path, data: str, **keys: Any) -> Explanation:
    """Explain with the metric top1 on labelled data; `metric=None` for none."""
    source = open_source(data, Session(model, threads=1).inputs)
    metric = keys.pop("metric", "top1")
    if metric is not None:
        keys |= {"metric": parse_metric(metric), "evaluation": source}
    found = explain(model, stages, source, Resources(workdir=folder), **keys)
    TypeAdapter(Explanation).dump_json(found)
    return found


def value(model: Path, name: str, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a value of a model, computed by onnxruntime without optimisations."""
    proto = onnx.load(model)
    if name not in [output.name for output in proto.graph.output]:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return graphs.run(proto, feeds, name)[0]


def sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    b, r = reference.astype(np.float64), other.astype(np.float64)
    return float(10 * np.log10(np.square(b).sum() / np.square(b - r).sum()))
