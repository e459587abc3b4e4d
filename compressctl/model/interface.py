"""Giving one model the interface of another, so that it can take its place."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model.graph import all_values, unique_name
from compressctl.model.load import interface
from compressctl.notes import Note, done
from compressctl.tensorspec import Dim, TensorSpec


def match_interface(model: ir.Model, wanted: ir.Model, *, about: str) -> tuple[Note, ...]:
    """Rename the inputs and outputs of `model`, in place, to those of `wanted`; return a note for each new name.

    They are matched by name where both models use the same names, else by position. Types must be the same; an input
    must take every shape that `wanted` takes, and an output must not have a size that `wanted` does not return.

    Args:
        model: the model to rename.
        wanted: the model whose place it is to take.
        about: what to call `model` in errors (its path, say).

    Raises:
        ModelError: they do not fit; shows both sides.
    """
    sides = list(zip(("input", "output"), interface(model), interface(wanted), strict=True))
    pairs = {kind: _pairs(own, other) for kind, own, other in sides}
    fits = {"input": _takes_all_of, "output": _agree}
    for kind, own, other in sides:
        if len(own) != len(other) or not all(fits[kind](a, b) for a, b in pairs[kind]):
            raise ModelError(
                f"{about} cannot take the model's place: its {kind}s are {_shown(own)}, the model's {_shown(other)}",
                "names may differ; number, order, types and shapes may not",
            )
    new_names = {old.name: new.name for pair in pairs.values() for old, new in pair if old.name != new.name}
    _rename(model, new_names)
    if [_names(specs) for specs in interface(model)] != [_names(specs) for specs in interface(wanted)]:
        raise ModelError(f"{about} hands an input on as an output, so both cannot be renamed", "name them alike")
    return tuple(done(f"renamed to {new}", old) for old, new in new_names.items())


def _pairs(own: Sequence[TensorSpec], other: Sequence[TensorSpec]) -> list[tuple[TensorSpec, TensorSpec]]:
    if _names(own) == _names(other):
        by_name = {spec.name: spec for spec in other}
        return [(spec, by_name[spec.name]) for spec in own]
    return list(zip(own, other, strict=False))


def _names(specs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in specs}


def _takes_all_of(own: TensorSpec, other: TensorSpec) -> bool:
    return _alike(own, other) and all(
        not isinstance(a, int) or a == b for a, b in zip(own.shape, other.shape, strict=True)
    )


def _agree(own: TensorSpec, other: TensorSpec) -> bool:
    def differ(a: Dim, b: Dim) -> bool:
        return isinstance(a, int) and isinstance(b, int) and a != b

    return _alike(own, other) and not any(map(differ, own.shape, other.shape))


def _alike(own: TensorSpec, other: TensorSpec) -> bool:
    return own.dtype == other.dtype and len(own.shape) == len(other.shape)


def _shown(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"


def _rename(model: ir.Model, names: dict[str, str]) -> None:
    """Rename inputs and outputs; another value that bears one of the new names makes way."""
    ends = {value: new for value in (*model.graph.inputs, *model.graph.outputs) if (new := names.get(value.name or ""))}
    for value in ends:
        value.name = unique_name(model.graph, f"{value.name}_renamed")
    for value in [value for value in all_values(model.graph) if value.name in names.values() and value not in ends]:
        if not (value.is_graph_input() or value.is_graph_output()):
            value.name = unique_name(model.graph, f"{value.name}_inner")
    for value, name in ends.items():
        value.name = name
