"""Control flow: bodies are functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import number

Body = Callable[..., tuple[Any, ...]]


def If(cond: Tensor, *, then_branch: Body, else_branch: Body) -> tuple[Any, ...]:
    return then_branch() if number(cond) else else_branch()


def Loop(M: Tensor | None = None, cond: Tensor | None = None, *v_initial: Any, body: Body) -> tuple[Any, ...]:
    trips = None if M is None else int(number(M))
    running = True if cond is None else bool(number(cond))
    device = next((x.device for x in (M, cond, *v_initial) if isinstance(x, Tensor)), None)
    carried, count = list(v_initial), 0
    scanned: list[Sequence[Tensor]] = []
    while running and (trips is None or count < trips):
        going, *results = body(torch.tensor(count, device=device), torch.tensor(True, device=device), *carried)
        running = bool(number(going))
        carried, scanned = results[: len(carried)], [*scanned, results[len(carried) :]]
        count += 1
    return *carried, *[torch.stack(items) for items in zip(*scanned, strict=True)]


def Scan(
    *initial_state_and_scan_inputs: Tensor,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    states = list(initial_state_and_scan_inputs[:-num_scan_inputs])
    inputs = initial_state_and_scan_inputs[-num_scan_inputs:]
    axes = scan_input_axes or [0] * num_scan_inputs
    backwards = scan_input_directions or [0] * num_scan_inputs
    slices = [
        x.unbind(axis)[::-1] if reverse else x.unbind(axis)
        for x, axis, reverse in zip(inputs, axes, backwards, strict=True)
    ]
    scanned = []
    for parts in zip(*slices, strict=True):
        results = body(*states, *parts)
        states = list(results[: len(states)])
        scanned.append(results[len(states) :])
    outputs = []
    for index, items in enumerate(zip(*scanned, strict=True)):
        reverse = scan_output_directions[index] if scan_output_directions else 0
        axis = scan_output_axes[index] if scan_output_axes else 0
        outputs.append(torch.stack(items[::-1] if reverse else items, axis))
    return *states, *outputs


def OptionalHasElement(input: Any = None) -> Tensor:
    return torch.tensor(input is not None)


def OptionalGetElement(input: Any) -> Any:
    return input
