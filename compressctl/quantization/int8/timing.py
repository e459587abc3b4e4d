"""Which layers run slower on integers than in float, where that depends on shape and machine: they are timed.

Each doubtful shape is timed once, both ways, in its `surroundings`. What was measured is kept under the user's cache
folder by shape, processor and onnxruntime: the same model gets the same plan on the same machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Feeds
from compressctl.measure.machine import processor
from compressctl.measure.session import VERSION, Session
from compressctl.measure.sprint import sprint
from compressctl.model.graph import constant
from compressctl.model.save import serialize
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.placement import place
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.surroundings import LAYER, Surroundings, joined, read_by, surroundings, timeable
from compressctl.resources import Resources
from compressctl.scratch import temporary_folder, user_cache

_WIDE, _SMALL_KERNEL = 16, 5
MARGIN = 0.05  # integers may take so much longer: less is noise, and they are smaller
_ROUNDS = 20  # of bursts of whole models, whose differences are small
_FORMAT = 4  # of what is kept; to be raised whenever the small models change


@dataclass(frozen=True)
class Timing:
    """A layer with its surroundings, in seconds an inference: in float, and on integers."""

    float_s: float
    integer_s: float

    @property
    def slower(self) -> bool:
        """Whether integers lose by more than the margin."""
        return self.integer_s > (1 + MARGIN) * self.float_s

    @property
    def ratio(self) -> float:
        """Integers over float."""
        return self.integer_s / self.float_s


def doubtful(model: ir.Model, plan: QuantizationPlan) -> list[str]:
    """Return the static convolutions of a plan for which integers may be slower than floats.

    Those with 16 channels or more that are dense, or depthwise up to 5x5, win between other integers on every processor
    that has integer kernels. Groups, several outputs an input, few channels, 1-D and 3-D depend on shape and processor;
    so does any convolution between floats, which pays for rounding and back.
    """
    nodes = named(model.graph, plan.static)
    placement = place(model.graph, set(nodes))
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    return [node.name or "" for node in convolutions if not (_fast(node) and joined(node, placement))]


def _fast(node: ir.Node) -> bool:
    weight = constant(node.inputs[1])
    assert weight is not None
    group, (outputs, inputs), kernel = node.attributes.get_int("group", 1), weight.shape[:2], weight.shape[2:]
    dense = group == 1 and min(outputs, inputs) >= _WIDE
    depthwise = group == outputs and inputs == 1 and max(kernel) <= _SMALL_KERNEL
    return len(kernel) == 2 and (dense or depthwise)


def time_layers(
    model: ir.Model,
    plan: QuantizationPlan,
    names: Collection[str],
    feeds: Feeds,
    resources: Resources,
    *,
    reduced_range: bool,
) -> dict[str, Timing]:
    """Time layers of a plan, each in float and on integers.

    Args:
        model: in float; left as it is.
        plan: made for it; its other layers are taken to run on integers.
        names: of the layers to time.
        feeds: of the model, one inference.
        resources: threads, work folder, and progress: one tick a layer.
        reduced_range: as in `Settings`.

    Returns:
        the timings by the names of the layers; those that cannot stand alone, or are in bodies and read no fixed
        shape, are left out.

    Raises:
        ModelError, DataError: onnxruntime cannot run the model on the feeds.
    """
    nodes = [
        node
        for node in named(model.graph, names)
        if timeable(node) and (node.graph is model.graph or _fixed_shape(read_by(node)) is not None)
    ]
    if not nodes:
        return {}
    shapes = observed_shapes(model, nodes, feeds, resources)
    chosen = set(named(model.graph, plan.static))
    known = _Known([reduced_range])
    timings: dict[str, Timing] = {}
    for node in resources.progress.track(nodes, "time layers", total=len(nodes)):
        name = node.name or ""
        around = surroundings(node, shapes[name], place(model.graph, chosen - {node}), dict(model.opset_imports))
        static = name in plan.static
        key = [around.key, static]
        timings[name] = known.get(key) or known.put(key, _timed(around, static, reduced_range))
    return timings


def time_models(in_float: ir.Model, result: ir.Model, feeds: Feeds, workdir: Path) -> Timing:
    """Time a whole model, in float and quantized; kept as the timings of layers are, under the bytes of both.

    Raises:
        ModelError, DataError: onnxruntime cannot run a model on the feeds.
    """
    files = [serialize(model, workdir) for model in (in_float, result)]
    hashes = [hashlib.sha256(file if isinstance(file, bytes) else file.read_bytes()).hexdigest() for file in files]
    known = _Known([])
    key = [hashes, {name: list(array.shape) for name, array in feeds.items()}]
    return known.get(key) or known.put(key, _timed_whole(files, feeds))


def _timed_whole(files: Sequence[bytes | Path], feeds: Feeds) -> Timing:
    """Time two models in two sessions each, in turned order: where its memory lies makes a session fast or slow."""
    there = sprint(files, feeds, rounds=_ROUNDS)
    back = sprint(files[::-1], feeds, rounds=_ROUNDS)
    return Timing(min(there[0], back[1]), min(there[1], back[0]))


def observed_shapes(
    model: ir.Model, nodes: Sequence[ir.Node], feeds: Feeds, resources: Resources
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each node's small model reads, by the node's name, as it is in one inference."""
    known = {node.name or "": _fixed_shape(read_by(node)) for node in nodes}
    unknown = [node for node in nodes if known[node.name or ""] is None]
    found = {name: shape for name, shape in known.items() if shape is not None}
    if unknown:
        clone = model.clone()
        clone.graph.outputs.clear()
        outputs = {}
        for node, value in [(one, read_by(one)) for one in named(clone.graph, [node.name or "" for node in unknown])]:
            size = ir.node("Shape", [value])
            clone.graph.append(size)
            size.outputs[0].name = f"{node.name}_input_shape"
            size.outputs[0].type = ir.TensorType(ir.DataType.INT64)
            clone.graph.outputs.append(size.outputs[0])
            outputs[node.name or ""] = size.outputs[0].name
        ran = Session(clone, threads=resources.threads, workdir=resources.workdir).run(feeds)
        found |= {name: tuple(int(size) for size in ran[output]) for name, output in outputs.items()}
    return found


def _fixed_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    sizes = None if value is None or value.shape is None else value.shape.dims
    fixed = [size for size in sizes or () if isinstance(size, int)]
    return tuple(fixed) if sizes is not None and len(fixed) == len(sizes) else None


def _timed(around: Surroundings, static: bool, reduced_range: bool) -> Timing:
    """Time a layer both ways."""
    settings = Settings(bias_correction=False, reduced_range=reduced_range)
    in_float = QuantizationPlan(static=around.integers)
    on_integers = QuantizationPlan((*around.integers, LAYER)) if static else QuantizationPlan(around.integers, (LAYER,))
    forms = []
    for plan in (in_float, on_integers):
        form = around.model.clone()
        apply_plan(form, plan, around.observations, settings)
        forms.append(form)
    (x,) = around.model.graph.inputs
    shape = _fixed_shape(x)
    assert shape is not None
    values = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return Timing(*sprint(forms, {x.name or "": values}))


class _Known:
    """What this machine was seen to take, in memory and on disk; a disk that cannot be written is done without.

    Args:
        how: JSON-able; what times depend on besides the machine and what is timed.
    """

    def __init__(self, how: object) -> None:
        self._how = [_FORMAT, VERSION, processor(), how]
        self._folder = user_cache("timings")
        self._seen: dict[str, Timing] = {}

    def get(self, what: object) -> Timing | None:
        """Return the timing of something JSON-able, or None."""
        name = self._name(what)
        if name not in self._seen:
            if self._folder is None:
                return None
            try:
                kept = json.loads((self._folder / name).read_text(encoding="utf-8"))
                self._seen[name] = Timing(float(kept["float_s"]), float(kept["integer_s"]))
            except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: measured anew
                return None
        return self._seen[name]

    def put(self, what: object, timing: Timing) -> Timing:
        """Keep a timing, and return it."""
        name = self._name(what)
        self._seen[name] = timing
        if self._folder is None:
            return timing
        kept = {"what": what, "float_s": timing.float_s, "integer_s": timing.integer_s}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary_folder(self._folder) as made:
                staged = made / name
                staged.write_text(json.dumps(kept), encoding="utf-8")
                staged.replace(self._folder / name)
        except OSError:  # read-only or full: the next run measures again
            pass
        return timing

    def _name(self, what: object) -> str:
        return hashlib.sha256(json.dumps([self._how, what], sort_keys=True).encode()).hexdigest()[:32] + ".json"
