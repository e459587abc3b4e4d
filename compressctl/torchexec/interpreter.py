"""Run a plan step by step: the reference of what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from compressctl.torchexec.plan import ExecutionPlan, Step

Observer = Callable[[Step, tuple[Any, ...]], None]


def run(
    plan: ExecutionPlan, values: Mapping[str, Any], *, training: bool, observe: Observer | None = None
) -> dict[str, Any]:
    """Return the outputs of a plan by name.

    Args:
        plan: the steps.
        values: a tensor for each input, initializer and captured value, by name.
        training: whether nodes such as Dropout behave as in training.
        observe: called after each step with what it gave.
    """
    live: dict[str, Any] = {**plan.constants, **values}
    for step in plan.steps:
        results = call(step, live, training)
        live.update((name, result) for name, result in zip(step.outputs, results, strict=False) if name)
        if observe is not None:
            observe(step, results)
        for name in step.releases:
            live.pop(name, None)
    return {name: live[name] for name in plan.outputs}


def call(step: Step, live: Mapping[str, Any], training: bool) -> tuple[Any, ...]:
    """Carry out one step."""
    keywords = dict(step.keywords)
    for name, body in step.bodies.items():
        keywords[name] = partial(_run_body, body, {name: live[name] for name in body.captures}, training)
    if step.trains:
        keywords["training"] = training
    result = step.function(*[None if name is None else live[name] for name in step.inputs], **keywords)
    # A list is one value, a sequence; several outputs come as a tuple.
    return result if isinstance(result, tuple) else (result,)


def _run_body(plan: ExecutionPlan, captured: Mapping[str, Any], training: bool, *inputs: Tensor) -> tuple[Any, ...]:
    results = run(plan, {**captured, **dict(zip(plan.inputs, inputs, strict=True))}, training=training)
    return tuple(results[name] for name in plan.outputs)
