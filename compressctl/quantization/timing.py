"""Which layers run slower on integers than in float, where that depends on shape and machine: they are timed.

Each doubtful shape is timed once, both ways, in its `surroundings`. What was measured is kept under the user's cache
folder by shape, processor, threads and onnxruntime: the same model gets the same plan on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Feeds
from compressctl.errors import CompressctlError
from compressctl.measure.machine import processor
from compressctl.measure.session import VERSION, Session
from compressctl.measure.sprint import sprint
from compressctl.model.graph import constant
from compressctl.progress import Progress, Silent
from compressctl.quantization.apply import apply
from compressctl.quantization.placement import place
from compressctl.quantization.plan import Plan, named
from compressctl.quantization.quantizers import Settings
from compressctl.quantization.surroundings import Surroundings, surroundings, timeable

MARGIN = 0.05  # integers may take so much longer: less is noise, and they are smaller
_FORMAT = 1  # of what is kept; to be raised whenever the small models change


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


def time_layers(
    model: ir.Model,
    plan: Plan,
    doubtful: Callable[[ir.Node, Sequence[int]], bool],
    feeds: Feeds,
    *,
    reduced_range: bool,
    threads: int,
    workdir: Path,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Time the doubtful static layers of a plan, each in float and on integers.

    Args:
        model: in float; left as it is.
        plan: made for it; its other layers are taken to run on integers.
        doubtful: tells of a node, and the shape of what it reads, whether to time it.
        feeds: of the model, one inference.
        reduced_range: as in `Settings`.
        threads: of onnxruntime.
        workdir: an existing folder for temporary files.
        progress: one tick a layer.

    Returns:
        the timings by the names of the layers; layers that cannot stand alone are left out.
    """
    nodes = [node for node in named(model.graph, plan.static) if timeable(node)]
    shapes = observed_shapes(model, nodes, feeds, threads=threads, workdir=workdir)
    nodes = [node for node in nodes if doubtful(node, shapes.get(node.name or "", ()))]
    chosen = set(named(model.graph, plan.static))
    known = _Known(threads, reduced_range)
    timings: dict[str, Timing] = {}
    for node in (progress or Silent()).track(nodes, "time shapes", total=len(nodes)) if nodes else ():
        placement = place(model.graph, chosen - {node})
        around = surroundings(node, shapes[node.name or ""], placement, dict(model.opset_imports))
        timings[node.name or ""] = known.get(around) or known.put(around, _timed(around, reduced_range, threads))
    return timings


def observed_shapes(
    model: ir.Model, nodes: Sequence[ir.Node], feeds: Feeds, *, threads: int, workdir: Path
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each node reads first, by the node's name, as it is in one inference."""
    known = {node.name or "": _fixed_shape(node.inputs[0]) for node in nodes}
    unknown = [node for node in nodes if known[node.name or ""] is None]
    found = {name: shape for name, shape in known.items() if shape is not None}
    if unknown:
        clone = model.clone()
        clone.graph.outputs.clear()
        outputs = {}
        for node in named(clone.graph, [node.name or "" for node in unknown]):
            size = ir.node("Shape", [node.inputs[0]])
            clone.graph.append(size)
            size.outputs[0].name = f"{node.name}_input_shape"
            size.outputs[0].type = ir.TensorType(ir.DataType.INT64)
            clone.graph.outputs.append(size.outputs[0])
            outputs[node.name or ""] = size.outputs[0].name
        ran = Session(clone, threads=threads, workdir=workdir).run(feeds)
        found |= {name: tuple(int(size) for size in ran[output]) for name, output in outputs.items()}
    return found


def _fixed_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(int(size) for size in value.shape)  # type: ignore[call-overload]


def _timed(around: Surroundings, reduced_range: bool, threads: int) -> Timing:
    """Time a layer both ways."""
    settings = Settings(bias_correction=False, reduced_range=reduced_range)
    forms = []
    for static in (around.integers, (*around.integers, around.layer)):
        form = around.model.clone()
        apply(form, Plan(static=tuple(static)), around.observations, settings)
        forms.append(form)
    x = around.model.graph.inputs[0]
    shape = _fixed_shape(x)
    assert shape is not None
    values = np.random.default_rng(0).uniform(-4, 4, shape).astype(np.float32)
    return Timing(*sprint(forms, {x.name or "": values}, threads=threads))


class _Known:
    """Timings of this machine, in memory and on disk; a disk that cannot be written is done without."""

    def __init__(self, threads: int, reduced_range: bool) -> None:
        self._machine = [_FORMAT, VERSION, processor(), threads, reduced_range]
        self._folder = _cache_folder() / "timings"
        self._seen: dict[str, Timing] = {}

    def get(self, around: Surroundings) -> Timing | None:
        name = self._name(around)
        if name not in self._seen:
            try:
                kept = json.loads((self._folder / name).read_text(encoding="utf-8"))
                self._seen[name] = Timing(float(kept["float_s"]), float(kept["integer_s"]))
            except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: measured anew
                return None
        return self._seen[name]

    def put(self, around: Surroundings, timing: Timing) -> Timing:
        name = self._name(around)
        self._seen[name] = timing
        kept = {"layer": around.key, "float_s": timing.float_s, "integer_s": timing.integer_s}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as file:
                json.dump(kept, file)
            os.replace(file.name, self._folder / name)
        except OSError:  # read-only or full: the next run measures again
            pass
        return timing

    def _name(self, around: Surroundings) -> str:
        text = json.dumps([self._machine, around.key], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32] + ".json"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compressctl"
