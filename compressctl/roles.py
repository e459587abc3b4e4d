"""What each input of a model is: samples, the same for all of them, a state that an output hands on, or a cache.

Files do not say. A state is told by its name, which is that of an output but for a word such as `in` and `out`; so is a
cache of keys and values, which grows with the text. Samples lie along the dimension that inputs share; what has no such
dimension is fed whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from compressctl.errors import UsageError, nearest
from compressctl.tensorspec import Dim, TensorSpec, agrees, filled

_BATCH = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)
_BEFORE = "in|input|i|prev|previous|past|old|init|initial|last"
_AFTER = "out|output|o|n|next|new|present|final|cur|current|updated"
_NUMBERED = (("", ""), ("|0", "|1|0"))  # h0 and h1, h_0 and h_n; but the number of a layer tells states apart
_NAMED_STATE = re.compile("state|hidden|cache|memory", re.IGNORECASE)
_PAST = re.compile("past|cache")
_CACHE = re.compile(r"past_key_values?")
_SPLIT = re.compile(r"[^0-9a-z]+")


def with_roles(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return a model's inputs with the roles that they seem to have; what is of unknown rank takes samples."""
    states = _states(inputs, outputs)
    batch = _batch([spec for spec in inputs if spec.name not in states] or inputs)
    alone = len(inputs) == 1
    if _lone(inputs, batch):
        return tuple(replace(spec, lone=True) if spec.shape else spec for spec in inputs)
    placed = [replace(spec, axis=_axis(spec, batch, alone=alone)) for spec in inputs]
    placed = [replace(spec, grows=_growing(spec, outputs)) for spec in placed]
    return tuple(
        spec if spec.name not in states or spec.grows is not None else _state(spec, states[spec.name], placed)
        for spec in placed
    )


def _state(spec: TensorSpec, output: str, inputs: Sequence[TensorSpec]) -> TensorSpec:
    """Return a state; one without an axis of samples is that of the sample that is fed, one at a time."""
    if spec.axis is not None:
        return replace(spec, state=output)
    if all(other.fixed_batch in (None, 1) for other in inputs):
        return replace(spec, axis=0, value=None, lone=True, state=output)
    return replace(spec, value=filled(spec.shape, 0.0))  # one for all samples: there is nothing to carry


def with_states(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], given: Mapping[str, str]
) -> tuple[TensorSpec, ...]:
    """Return inputs with the states that the user names: input -> output.

    Raises:
        UsageError: there is no such input or output, or they do not fit each other.
    """
    by_name = {spec.name: spec for spec in outputs}
    own = {spec.name: spec for spec in inputs}
    for name, output in given.items():
        where = f"--state {name}={output}"
        if name not in own:
            raise UsageError(f"{where}: the model has no input {name!r}", nearest(name, [*own]))
        if output not in by_name:
            raise UsageError(f"{where}: the model has no output {output!r}", nearest(output, [*by_name]))
        if not _fits(own[name], by_name[output]):
            raise UsageError(f"{where}: {by_name[output]} does not fit {own[name]}", "a state is an output of its form")
        own[name] = _state(own[name], output, inputs)
        if own[name].state is None:
            hint = "export the model with a batch of 1, or with an axis of samples in its states"
            raise UsageError(f"{where}: {own[name]} is one for all samples of a batch, and none is carried", hint)
    return tuple(own.values())


def _batch(inputs: Sequence[TensorSpec]) -> Dim:
    """Return the dimension that samples lie along: its name, its size, or None."""
    firsts = [spec.shape[0] for spec in inputs if spec.shape]
    named = [dim for spec in inputs for dim in spec.shape if isinstance(dim, str) and _BATCH.search(dim)]
    named += [dim for dim in firsts if isinstance(dim, str)]
    if named:
        return named[0]
    if None in firsts:
        return None
    tables = [spec.shape[0] for spec in inputs if len(spec.shape) > 1]
    return next(iter(tables or firsts), None)


def _lone(inputs: Sequence[TensorSpec], batch: Dim) -> bool:
    """Whether inputs have sizes of their own that no batch is among, as the nodes and edges of a graph."""
    return (
        isinstance(batch, str)
        and not _BATCH.search(batch)
        and any(batch not in spec.shape and any(isinstance(dim, str) for dim in spec.shape) for spec in inputs)
    )


def _axis(spec: TensorSpec, batch: Dim, *, alone: bool) -> int | None:
    if not spec.shape:
        return spec.axis
    if alone or not isinstance(spec.shape[0], int):
        return spec.shape.index(batch) if isinstance(batch, str) and batch in spec.shape else 0
    if len(spec.shape) == 1 and all(isinstance(dim, int) for dim in spec.shape):
        return None
    if batch in spec.shape:
        return spec.shape.index(batch)
    return 0 if spec.shape[0] == batch else None


def _growing(spec: TensorSpec, outputs: Sequence[TensorSpec]) -> int | None:
    """Return the axis along which a cache of keys and values [batch, heads, past, size] grows; None of what is none."""
    own = _stem(spec.name, _BEFORE)
    if spec.axis is None or len(spec.shape) < 3 or not _PAST.search(spec.name.lower()):
        return None
    if not any(_stem(output.name, _AFTER) == own and _fits(spec, output) for output in outputs):
        return None
    open_ = [axis for axis, dim in enumerate(spec.shape) if axis != spec.axis and not isinstance(dim, int)]
    return open_[0] if len(open_) == 1 else None


def _states(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Return the output of each input that is a state by its name; at least one input must be none."""
    found: dict[str, str] = {}
    for before, after in _NUMBERED:
        stems = [
            (_stem(output.name, _AFTER + after), output) for output in outputs if output.name not in found.values()
        ]
        for spec in inputs:
            if spec.name in found or not spec.shape or sum(not isinstance(dim, int) for dim in spec.shape) > 1:
                continue  # what grows with the text, as keys and values of attention do, has no zeros to begin with
            own = _stem(spec.name, _BEFORE + before)
            names = [output.name for stem, output in stems if own and stem == own and _fits(spec, output)]
            if len(spec.shape) == 1:  # lengths go in and out, too: only words that end a name tell a state
                names = [name for name in names if name == f"{spec.name.removesuffix('_in')}_out" != spec.name]
            if len(names) == 1:
                found[spec.name] = names[0]
    for spec in inputs:
        if spec.name not in found and _NAMED_STATE.search(spec.name):
            alike = [one.name for one in outputs if one.name not in found.values() and one.shape == spec.shape]
            if len(alike) == 1 and all(isinstance(dim, int) for dim in spec.shape):
                found[spec.name] = alike[0]
    return found if len(found) < len(inputs) else {}


def _stem(name: str, words: str) -> str:
    """Return a name without the words that tell before from after; empty where nothing is left that names it."""
    parts = [part for part in _SPLIT.split(_CACHE.sub("past", name.lower())) if part]
    left = [part for part in parts if not re.fullmatch(words, part)]
    if len(left) == len(parts) and left:  # written together: h0, stateN, r1i
        left[-1] = re.sub(f"(?<=[a-z0-9])(?:{words})$", "", left[-1])
    stem = "_".join(left)
    return "" if stem.isdecimal() else stem


def _fits(spec: TensorSpec, output: TensorSpec) -> bool:
    return spec.dtype == output.dtype and agrees(spec.shape, output.shape)
