"""What a module keeps from call to call: tensors that forward assigns or writes into become inputs and outputs.

A stateful module hides in its attributes what an ONNX graph is fed and returns. Numbers and strings that it keeps, such
as the sampling rate of the call before, stay as they are before the first call; two calls in a row show that this
makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from compressctl.errors import ModelError
from compressctl.model.graph import free_names
from compressctl.model.torchscript.interpreter import all_nodes
from compressctl.tensorspec import Dim, TensorSpec

_WRITE_LISTS = {f"aten::{name}" for name in ("append", "extend", "insert", "pop", "clear", "_set_item", "Delete")}


@dataclass(frozen=True)
class State:
    """An attribute that is an input of the graph, and an output.

    Attributes:
        attribute: its path in the module.
        spec: of the input; named dimensions are dynamic.
        output: the output that holds what forward leaves in it.
    """

    attribute: str
    spec: TensorSpec
    output: str


class Kept:
    """The attributes of a module that its forward may change."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        self._script = script
        self._first = {path: _copy(self._get(path)) for path in _watched(script)}

    def reset(self) -> None:
        """Give all attributes the values that they had at first."""
        for path, value in self._first.items():
            now = self._get(path)
            if isinstance(now, torch.Tensor) and isinstance(value, torch.Tensor) and now.shape == value.shape:
                now.copy_(value)  # others may share its memory
            else:
                owner, name = self._owner(path)
                owner.setattr(name, _copy(value))

    def first(self, path: str) -> Any:
        """Return the value that an attribute had at first."""
        return self._first[path]

    def changed(self) -> dict[str, Any]:
        """Return copies of the attributes that are not what they were at first, by path."""
        values = {path: self._get(path) for path in self._first}
        return {path: _copy(value) for path, value in values.items() if not _same(value, self._first[path])}

    def _owner(self, path: str) -> tuple[Any, str]:
        *scopes, name = path.split(".")
        owner = self._script._c
        for scope in scopes:
            owner = owner.getattr(scope)
        return owner, name

    def _get(self, path: str) -> Any:
        owner, name = self._owner(path)
        return owner.getattr(name)


def find_states(
    runs: Sequence[Sequence[dict[str, Any]]], dims: Sequence[dict[str, int]], taken: Iterable[str], about: str
) -> tuple[State, ...]:
    """Return the states of a module that ran several times in a row.

    Args:
        runs: for each run with other sizes, what had changed after each of its calls.
        dims: the size of each dynamic dimension by name, a run each.
        taken: names of inputs and outputs.
        about: begins messages.

    Raises:
        ModelError: the module keeps what no tensor of a fixed number of dimensions can stand for.
    """
    states, names = [], set(taken)
    for path in dict.fromkeys(path for run in runs for step in run for path in step):
        values = [[step.get(path) for step in run] for run in runs]
        kept = [value for run in values for value in run]
        if any(_holds_tensors(value) for value in kept):
            raise ModelError(f"{about}: forward keeps a container of tensors in {path}", "keep each in its attribute")
        if not all(isinstance(value, torch.Tensor) for value in kept):
            continue
        if any(len({tuple(value.shape) for value in run}) > 1 for run in values):  # type: ignore[union-attr]
            raise ModelError(
                f"{about}: what forward keeps in {path} grows from call to call", "hand it over as an input"
            )
        shape = _shape([tuple(run[0].shape) for run in values], dims)  # type: ignore[union-attr]
        if shape is None:
            raise ModelError(f"{about}: no dimension of the inputs gives the size of {path}, which forward keeps")
        stem = path.replace(".", "_").strip("_") or "state"
        name, output = (next(free_names(f"{stem}_{end}", names)) for end in ("in", "out"))
        names |= {name, output}
        dtype = str(kept[0].dtype).removeprefix("torch.")  # type: ignore[union-attr]
        states.append(State(path, TensorSpec(name, dtype, shape), output))
    return tuple(states)


def _shape(shapes: Sequence[tuple[int, ...]], dims: Sequence[dict[str, int]]) -> tuple[Dim, ...] | None:
    """Return sizes, and the names of dynamic dimensions that are as long in each run; None where there is none."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    result: list[Dim] = []
    for lengths in zip(*shapes, strict=True):
        fit = [name for name in dims[0] if [sizes[name] for sizes in dims] == list(lengths)]
        if len(set(lengths)) > 1 and not fit:
            return None
        result.append(lengths[0] if len(set(lengths)) == 1 else fit[0])
    return tuple(result)


def _watched(script: torch.jit.ScriptModule) -> list[str]:
    """Return the paths of attributes that forward assigns, and of what it could write into."""
    paths = {next(iter(script.inlined_graph.inputs())).debugName(): ""}
    assigned: dict[str, None] = {}
    read: dict[str, None] = {}
    in_place = False
    parameters = {name for name, _ in script.named_parameters(remove_duplicate=False)}
    for node in all_nodes(script.inlined_graph):
        kind = node.kind()
        if kind in ("prim::GetAttr", "prim::SetAttr"):
            owner = paths.get(next(iter(node.inputs())).debugName())
            if owner is None:  # what an If chose
                continue
            path = f"{owner}.{node.s('name')}".lstrip(".")
            if kind == "prim::SetAttr":
                assigned[path] = None
            elif (what := node.output().type().kind()) in ("ClassType", "InterfaceType"):
                paths[node.output().debugName()] = path
            elif what in ("TensorType", "ListType", "DictType") and path not in parameters:
                read[path] = None
        in_place |= kind in _WRITE_LISTS or (kind.endswith("_") and not kind.endswith("__"))
    return [*assigned, *(path for path in read if in_place and path not in assigned)]


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return type(value)(map(_copy, value)) if type(value) in (list, tuple) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _holds_tensors(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(isinstance(item, torch.Tensor) or _holds_tensors(item) for item in items)
