"""What goes into a ScriptModule and comes out of it: arguments, dynamic dimensions, random inputs, output names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressctl.arrays import Array
from compressctl.errors import ModelError, UsageError, nearest
from compressctl.model.graph import free_names
from compressctl.tensorspec import TensorSpec

Arrays = dict[str, Array]
Axes = dict[int, str]  # the dynamic dimensions of one tensor: axis -> name

_VALUED = re.compile(r"(?:Optional\[)?(?:List\[)?(?:int|float|bool|number|Scalar)\]?\]?")


@dataclass(frozen=True)
class Argument:
    """An argument of forward: a model input, or None and the value that takes its place."""

    spec: TensorSpec | None
    default: Any = None


def bind(script: torch.jit.ScriptModule, inputs: Mapping[str, TensorSpec], path: Path) -> tuple[Argument, ...]:
    """Match specs with forward's arguments: by name where all names are forward's own, else in its order.

    What is given a value becomes part of the model.

    Raises:
        UsageError: they do not match, or a value is missing; the message says what forward takes.
        ModelError: forward takes something that is neither a tensor nor a number and has no default.
    """
    declared = script.forward.schema.arguments[1:]  # type: ignore[attr-defined]
    values = {name: spec for name, spec in inputs.items() if spec.value is not None}
    inputs = {name: spec for name, spec in inputs.items() if name not in values}
    tensors = [a.name for a in declared if str(a.type) in ("Tensor", "Optional[Tensor]") and a.name not in values]
    required = [a.name for a in declared if not a.has_default_value() and a.name not in values]
    names = [a.name for a in declared]
    defaults = [f" = {a.default_value}" if a.has_default_value() else "" for a in declared]
    takes = ", ".join(f"{a.name}: {a.type}{default}" for a, default in zip(declared, defaults, strict=True))
    if unknown := [name for name in values if name not in names]:
        raise UsageError(f"{path}: forward({takes}) has no argument {unknown[0]!r}", nearest(unknown[0], names))
    if others := [a for a in declared if a.name in required and a.name not in tensors]:
        text = f"{path}: forward({takes}) takes more than tensors"
        if not all(_VALUED.fullmatch(str(a.type)) for a in others):
            raise ModelError(text, "wrap the module in one that takes tensors")
        raise UsageError(text, f"give the value, such as --input {others[0].name}=1")
    if not set(inputs).issubset(tensors):
        inputs = dict(zip(tensors, inputs.values(), strict=False)) if len(inputs) <= len(tensors) else {}
    if not inputs or not inputs.keys() >= set(required):
        example = " ".join(f"--input {name}:1x3x32x32" for name in required)
        raise UsageError(
            f"{path}: the inputs do not fit forward({takes})", f"give the shape of each, such as {example}"
        )
    return tuple(
        Argument(inputs[a.name])
        if a.name in inputs
        else Argument(None, _value(values[a.name], str(a.type), path) if a.name in values else a.default_value)
        for a in declared
    )


def _value(spec: TensorSpec, kind: str, path: Path) -> object:
    """Return the value of an argument of this type.

    Raises:
        UsageError: the value is not of the type.
        ModelError: the type is none of numbers.
    """
    if kind in ("Tensor", "Optional[Tensor]"):
        return torch.tensor(spec.value)
    wanted = re.sub(r"Optional\[(.*)\]", r"\1", kind)
    plain = wanted.removeprefix("List[").removesuffix("]")
    takes = {"int": ("int64",), "float": ("int64", "float32"), "bool": ("bool",), "number": ("int64", "float32")}
    if spec.dtype not in takes.get(plain, ()) or len(spec.shape) != wanted.startswith("List["):
        hint = "a number, true or false, or a list such as [1,2]"
        if plain not in takes:
            raise ModelError(
                f"{path}: forward takes a {kind} as {spec.name}", "wrap the module in one that takes tensors"
            )
        raise UsageError(f"{path}: --input {spec.name}=… is no {kind}", hint)
    return np.array(spec.value, np.float64 if plain == "float" else None).tolist()


def dynamic_axes(spec: TensorSpec, *, batch: bool) -> Axes:
    """Return an input's named and unknown dimensions; with `batch`, the first too where the spec gives its size."""
    axes = {axis: dim or f"{spec.name}_{axis}" for axis, dim in enumerate(spec.shape) if not isinstance(dim, int)}
    if spec.shape and (spec.shape[0] is None or (batch and isinstance(spec.shape[0], int))):
        axes[0] = "batch"
    return {axis: re.sub(r"\W", "_", name) for axis, name in sorted(axes.items())}


def random_feeds(specs: Sequence[TensorSpec], axes: Sequence[Axes], batch: int, size: int, seed: int) -> Arrays:
    """Return random inputs: standard normal, and for integers 0 or 1, which are valid as ids, as types and as masks.

    Args:
        specs: the inputs.
        axes: their dynamic dimensions.
        batch: the size of dynamic dimensions that are some input's first.
        size: the size of all other dynamic dimensions.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    batches = {names[0] for names in axes if 0 in names}
    feeds: Arrays = {}
    for spec, names in zip(specs, axes, strict=True):
        dims = [batch if names.get(i) in batches else size if i in names else dim for i, dim in enumerate(spec.shape)]
        shape = [dim for dim in dims if isinstance(dim, int)]
        values = random.standard_normal(shape) if spec.dtype.startswith("float") else random.integers(0, 2, shape)
        feeds[spec.name] = np.asarray(values, dtype=spec.dtype)
    return feeds


def call(function: Callable[..., Any], arguments: Sequence[Argument], tensors: Sequence[Any]) -> dict[str, Any]:
    """Call forward with `tensors` for the inputs among `arguments`; return the tensors it returns, by output name."""
    given = iter(tensors)
    result = function(*(next(given) if argument.spec else argument.default for argument in arguments))
    taken = {argument.spec.name for argument in arguments if argument.spec}
    outputs: dict[str, Any] = {}
    for name, tensor in leaves(result):
        unique = next(free_names(name or "output", taken))
        taken.add(unique)
        outputs[unique] = tensor
    return outputs


def leaves(value: Any, name: str | None = None) -> list[tuple[str | None, Any]]:
    """Flatten what forward returns into (name or None, tensor); names come from dicts and named tuples."""
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    children: list[tuple[str | None, Any]] = []
    if isinstance(value, dict):
        children = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        children = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (tuple, list)):
        children = [(name, item) for item in value]
    return [leaf for key, item in children for leaf in leaves(item, key)]
