"""What a model is made of, and what each pass could do to it, for `compressctl inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compressctl.container.opened import opened
from compressctl.measure.trial import usual_fit
from compressctl.model.load import Loaded, described_inputs, interface, load_model
from compressctl.model.size import count
from compressctl.model.stored import making_nodes
from compressctl.model_folder import model_file
from compressctl.passes import PASSES, simplify
from compressctl.passes.base import Context
from compressctl.probation import on_probation
from compressctl.quantization.int8.plan import make_plan
from compressctl.report.inspection import Inspection, Layer
from compressctl.scratch import temporary_folder
from compressctl.selection import Selection
from compressctl.storage.halves import open_halves
from compressctl.tensorspec import TensorSpec, parse_tensor_specs


def inspect_model(path: Path, inputs: Sequence[str] = ()) -> Inspection:
    """Load a model and look at it.

    Args:
        path: an ONNX, TorchScript or .ccz file, or a folder that holds a model.
        inputs: `NAME:SHAPE[:DTYPE]` for TorchScript, or sizes of dynamic dimensions.

    Raises:
        ModelError, UsageError: the file cannot be used.
    """
    path, sized = model_file(path), parse_tensor_specs(inputs)
    with on_probation(path), opened(path) as file:
        return replace(inspect_loaded(load_model(file, sized), sized), path=str(path))


def inspect_loaded(loaded: Loaded, sized: Mapping[str, TensorSpec]) -> Inspection:
    """Look at a model that is loaded; `sized` has the sizes of inputs by name, where they were given."""
    model = loaded.model
    specs = interface(model)
    dims = {
        dim: size
        for spec in specs[0]
        for dim, size in zip(spec.shape, sized[spec.name].shape if spec.name in sized else (), strict=False)
        if isinstance(dim, str) and isinstance(size, int)
    }
    size = count(model, dims)
    unpacking = {node.name for node in making_nodes(model.graph)}  # what they make is part of the layers that read it
    with temporary_folder() as folder:
        inputs = described_inputs(loaded, sized, {})
        context = Context(baseline=model, workdir=folder, fit=usual_fit(model, inputs))
        simplified = simplify.Config().run(model, context)
        ready = simplified.model.clone()
        open_halves(ready)
        previews = {config.name(): config.preview(ready, context) for config in PASSES}
    plan, notes = make_plan(ready, "auto", Selection(), calibrated=True, embeddings=True)
    kinds = {**dict.fromkeys(plan.static, "static"), **dict.fromkeys(plan.dynamic, "dynamic")}
    return Inspection(
        path=str(loaded.path),
        inputs=specs[0],
        outputs=specs[1],
        opset=model.opset_imports.get("", 0),
        parameters=size.parameters,
        bytes=sum(layer.bytes for layer in size.by_layer),
        macs=None if size.uncounted else size.macs,
        layers=tuple(Layer(layer, kinds.get(layer.node, "")) for layer in size.by_layer if layer.node not in unpacking),
        passes={"simplify": simplified.notes, "quantize": notes}
        | {name: told for name, told in previews.items() if told is not None},
        notes=loaded.notes,
    )
