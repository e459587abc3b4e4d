"""A TorchScript file in, an ONNX model out, and the means to prove that they agree."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxscript  # noqa: F401  # torch.onnx needs it
import torch

from compressctl.errors import ModelError
from compressctl.model.torchscript.checks import Check
from compressctl.model.torchscript.export import Task, export_interpreted, export_scripted
from compressctl.model.torchscript.interface import Argument, Axes, bind, call, dynamic_axes, random_feeds
from compressctl.model.torchscript.interpreter import all_nodes
from compressctl.model.torchscript.states import Kept, State, find_states
from compressctl.model.torchscript.trust import load_trusted
from compressctl.notes import Note, done, warning
from compressctl.tensorspec import TensorSpec

_OUR_WORDS = (  # what torch says -> what it means
    (re.compile(r"No ONNX function found for <OpOverload\(op='aten\.(\w+)'"), "operator aten::{} has no form in ONNX"),
    (re.compile("data-dependent expression"), "what runs depends on values of tensors"),
)

# Sizes of the batch and of other dynamic dimensions, for the example and for two checks. torch.export takes 0 and 1 for
# constants; 32 survives five halvings by strided layers.
_SIZES = ((2, 32), (1, 32), (3, 64))


def to_onnx(
    path: Path, inputs: Mapping[str, TensorSpec], workdir: Path
) -> tuple[ir.Model, tuple[Note, ...], tuple[Check, ...]]:
    """Convert a whole file; see `torchscript.convert`."""
    with _quiet(), torch.no_grad():
        try:
            script = load_trusted(path)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"{path} cannot be read as TorchScript: {_reason(error)}") from error
        notes = _enter_inference(script, path)
        arguments = bind(script, inputs, path)
        model, more, checks = _export(script, arguments, path, workdir)
    return model, (*notes, *more), checks


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's warnings, log lines and prints; what matters is raised, and reported from there."""
    disabled = logging.root.manager.disable
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(stream) for stream in (1, 2)]
    with warnings.catch_warnings(), Path(os.devnull).open("w") as null:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            for stream in (1, 2):  # torch's C++ code prints whole graphs
                os.dup2(null.fileno(), stream)
            with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                yield
        finally:
            for stream, original in zip((1, 2), saved, strict=True):
                os.dup2(original, stream)
                os.close(original)
            logging.disable(disabled)


def _reason(error: BaseException) -> str:
    """Return the one line of torch's message that says what went wrong; TorchScript puts it below its traceback."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    line = raised[-1] if raised else lines[0] if lines else type(error).__name__
    line = line.partition(" For more information")[0].removeprefix("builtins.")
    return next((said.format(*found.groups()) for form, said in _OUR_WORDS if (found := form.search(line))), line)


def _enter_inference(script: torch.jit.ScriptModule, path: Path) -> list[Note]:
    """Put the module into inference mode; refuse one whose graph says otherwise."""
    saved_in_training = getattr(script, "training", False)
    if hasattr(script, "training"):  # a frozen module has no mode any more
        script.eval()
    for node in all_nodes(script.inlined_graph):
        if node.kind().startswith("aten::") and _trains(node):
            raise ModelError(
                f"{path} was saved in training mode: {node.kind().removeprefix('aten::')} is part of its graph",
                "call .eval() on the module before torch.jit.trace",
            )
    return [warning("saved in training mode; converted in inference mode", str(path))] if saved_in_training else []


def _trains(node: Any) -> bool:
    """Return whether a node's train flag is a constant True, and its dropout rate, where it has one, not 0."""
    if "train" not in node.schema():
        return False
    declared = torch._C.parse_schema(node.schema()).arguments
    values = {argument.name: value.toIValue() for argument, value in zip(declared, node.inputs(), strict=True)}
    rate = values.get("p", values.get("dropout", 1.0))  # None where it is computed
    return values.get("train", values.get("training")) is True and rate is not None and rate > 0


def _export(
    script: torch.jit.ScriptModule, arguments: tuple[Argument, ...], path: Path, workdir: Path
) -> tuple[ir.Model, list[Note], tuple[Check, ...]]:
    """Export with a dynamic batch, or where that cannot be, with the batch that the specs give."""
    specs = [argument.spec for argument in arguments if argument.spec]
    given = " ".join(map(str, specs))
    kept = Kept(script)
    reasons: list[str] = []
    for batch in (True, False):
        axes = tuple(dynamic_axes(spec, batch=batch) for spec in specs)
        try:
            states, samples = _samples(script, arguments, axes, kept, path)
        except (RuntimeError, ValueError, TypeError, torch.jit.Error) as error:
            if not batch:
                raise ModelError(f"{path} does not run on {given}: {_reason(error)}", "check --input") from error
            reasons.append(_reason(error))
            continue
        except ModelError as error:
            if not batch:
                raise
            reasons.append(error.message)
            continue
        axes += tuple(dynamic_axes(state.spec, batch=False) for state in states)
        task = Task(path, script, arguments, states, axes, samples, workdir)
        for export in (export_interpreted, export_scripted):
            try:
                model = export(task)
            except ModelError as error:  # no exporter could mend that
                raise ModelError(f"{path}: {error.message}", error.hint) from error
            except Exception as error:  # noqa: BLE001  # torch's exporters raise whatever goes wrong inside them
                reasons.append(_reason(error))
                continue
            notes = [
                done(
                    f"{s.attribute}, which the module keeps, is its input {s.spec.name} and output {s.output}",
                    str(path),
                )
                for s in states
            ]
            notes += [
                warning(f"{s.attribute} does not begin as zeros, which {s.spec.name} is fed at first", str(path))
                for s in states
                if kept.first(s.attribute) is not None and kept.first(s.attribute).count_nonzero()
            ]
            if not batch:
                notes.append(warning(f"the batch size is fixed as given: {reasons[0]}", str(path)))
            if export is export_scripted:
                notes.append(
                    done(f"converted by torch's older exporter, since torch.export says: {reasons[-1]}", str(path))
                )
            return model, notes, samples[1:]
    raise ModelError(f"{path} cannot be converted to ONNX with {given}: {reasons[0]}", "export it to ONNX from Python")


def _samples(
    script: torch.jit.ScriptModule, arguments: Sequence[Argument], axes: Sequence[Axes], kept: Kept, path: Path
) -> tuple[tuple[State, ...], tuple[Check, ...]]:
    """Run the module on random inputs of several sizes, each time twice where it keeps something from call to call.

    Returns:
        what it keeps, and the inputs and outputs of each call, states among them.
    """
    calls: list[list[Check]] = []
    changes: list[list[dict[str, Any]]] = []
    for sizes in _SIZES:
        kept.reset()
        calls.append([_run(script, arguments, axes, sizes, 0)])
        changes.append([kept.changed()])
        if changes[-1][0]:
            calls[-1].append(_run(script, arguments, axes, sizes, 1))
            changes[-1].append(kept.changed())
    kept.reset()
    if complex_one := next((name for name, y in calls[0][0].outputs.items() if y.dtype.kind == "c"), None):
        raise ModelError(f"{path}: {complex_one} is complex, which ONNX cannot return", "return its torch.view_as_real")
    firsts = {names[0] for names in axes if 0 in names}
    dims = [
        {name: batch if name in firsts else size for names in axes for name in names.values()} for batch, size in _SIZES
    ]
    names = [*calls[0][0].feeds, *calls[0][0].outputs]
    states = find_states(changes, dims, names, str(path))
    return states, tuple(
        chain.from_iterable(_with_states(*run, states, kept) for run in zip(calls, changes, strict=True))
    )


def _with_states(
    calls: Sequence[Check], changes: Sequence[dict[str, Any]], states: Sequence[State], kept: Kept
) -> Iterator[Check]:
    """Yield the calls of a run with the states that each was given and left."""
    before = {s.attribute: kept.first(s.attribute) for s in states}
    for check, after in zip(calls, changes, strict=True):
        feeds, outputs = dict(check.feeds), dict(check.outputs)
        for state in states:
            now, then = after[state.attribute], before[state.attribute]
            like = isinstance(then, torch.Tensor) and then.shape == now.shape
            feeds[state.spec.name] = (then if like else torch.zeros_like(now)).numpy()
            outputs[state.output] = now.numpy()
        yield Check(feeds, outputs)
        before = after


def _run(
    script: torch.jit.ScriptModule,
    arguments: Sequence[Argument],
    axes: Sequence[Axes],
    sizes: tuple[int, int],
    step: int,
) -> Check:
    """Run the module on random inputs, other ones a step, with sizes of the batch and of other dynamic dimensions."""
    specs = [argument.spec for argument in arguments if argument.spec]
    feeds = random_feeds(specs, axes, *sizes, seed=sizes[0] + 10 * step)
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # it would profile and compile what runs three times
        outputs = call(script, arguments, [torch.from_numpy(array) for array in feeds.values()])
    if not outputs:
        raise ValueError("forward returns no tensor")
    return Check(feeds, {name: tensor.detach().clone().numpy() for name, tensor in outputs.items()})
