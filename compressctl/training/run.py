"""The steps of one training, from the first or from a checkpoint, to the last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from compressctl.distributed import Process
from compressctl.errors import ModelError
from compressctl.notes import Note, warning
from compressctl.torchexec.module import GraphModule
from compressctl.training import checkpoint
from compressctl.training.checkpoint import State, Weights
from compressctl.training.distributed import average_
from compressctl.training.held_out import to_tensors
from compressctl.training.job import Job, Training
from compressctl.training.optimizer import schedule_factor, set_rate
from compressctl.training.options import TrainingOptions
from compressctl.training.setup import Setup, why_not_finite
from compressctl.training.teacher import Names

_Batch = tuple[dict[str, Tensor], dict[Names, Tensor], Tensor | None]


def conclude(module: GraphModule, state: State) -> Training:
    """Put the best weights of a finished training into the model, and say what was done."""
    _put(state.best.weights, module.weights)
    _put(state.best.statistics, module.statistics)
    module.write_back()
    notes = tuple(Note(*note) for note in state.notes)  # type: ignore[arg-type]
    best = state.best_rank[0]
    return Training(state.step, state.best_step, best, state.initial, tuple(state.history), notes)


class Run:
    """A training that goes on from `resumed`, or begins where that is None.

    Raises:
        ModelError: the loss of the held-out samples is not finite with the weights that came in.
    """

    def __init__(self, setup: Setup, options: TrainingOptions, job: Job, place: Process, resumed: State | None) -> None:
        self._setup, self._options, self._job, self._place = setup, options, job, place
        self._resources, self._device = job.resources, job.resources.device
        self._objective, self._optimizer = setup.objective, setup.optimizer
        self._module = setup.objective.student
        self._parameters = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        if resumed is None:
            self._state = self._begin()
        else:
            self._state = self._resume(resumed)
        self._shown = setup.held_out.shown(self._state.history[-1]["held_out"])
        self._parallel: nn.Module = self._objective
        if place.size > 1:
            self._parallel = DistributedDataParallel(self._objective)
            self._parallel.broadcast_buffers = False  # running statistics are averaged where they count

    def finish(self) -> State:
        """Make the steps that are left; return the final state, which is saved."""
        state = self._state
        stopped = self._make_steps()
        notes = [*self._setup.notes, *([warning(stopped)] if stopped else [])]
        if state.best_step == 0:
            came_in = self._setup.held_out.shown(state.initial)
            notes.append(warning(f"no step was better than the weights that came in ({came_in}), which stay"))
        state.notes = [astuple(note) for note in notes]
        state.finished = True
        self._save()
        return state

    def _make_steps(self) -> str | None:
        """Make the steps that are left; return why they ended before their time by a fault, or None."""
        state, options, steps = self._state, self._options, self._setup.steps
        evaluate_every = options.evaluate_every or self._setup.samples.steps_per_epoch
        for step in self._resources.progress.track(range(state.step, steps), self._describe, steps - state.step):
            fault = self._step(step)
            if fault is not None:
                return f"training stopped at step {step + 1} of {steps}: {fault}; the best weights before it are kept"
            state.step = step + 1
            if state.step % evaluate_every == 0 or state.step == steps:
                self._evaluate()
                if options.patience and state.stale >= options.patience:
                    break
            if state.step % options.checkpoint_every == 0:
                self._checkpoint()
        return None

    def _step(self, step: int) -> str | None:
        """Make one step; return why it cannot be made, or None.

        Raises:
            ModelError: it is the first step, so that the model itself is at fault.
        """
        feeds, targets, labels = self._batch(step)
        self._objective.train()
        self._seed(step)
        self._optimizer.zero_grad()
        loss = self._parallel(feeds, targets, labels)
        loss.backward()
        self._setup.clusters.hold()
        self._setup.zeros.hold()
        mean = loss.detach().clone()
        average_(self._place, [mean])
        value = float(mean)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._options.clip_norm or math.inf))
        if not (math.isfinite(value) and math.isfinite(norm)):
            self._seed(step)
            fault = why_not_finite(self._module, feeds, value)
            if step == 0:
                raise ModelError(f"training fails at its first step: {fault}")
            return fault
        set_rate(self._optimizer, self._options.learning_rate * schedule_factor(step, self._setup.steps, self._options))
        self._optimizer.step()
        self._setup.clusters.share()
        if self._job.constraint is not None:
            with torch.no_grad():
                self._job.constraint(self._module.weights)
        total, count = self._state.losses
        self._state.losses = total + value, count + 1
        return None

    def _batch(self, step: int) -> _Batch:
        """Return this process's part of the batch of a step."""
        setup = self._setup
        rows = setup.samples.rows(step)
        part = self._place.shard(len(rows))
        batch = setup.samples.at(rows[part])
        if setup.augment:
            feeds = setup.augment(batch.feeds, (self._resources.seed, 2, step), len(rows), part)
            targets = setup.teachers.run(feeds)
        else:
            feeds = batch.feeds
            targets = setup.teachers.targets(rows[part], feeds)
        labels = None if batch.labels is None else torch.from_numpy(batch.labels).to(self._device)
        return to_tensors(feeds, self._device), to_tensors(targets, self._device), labels

    def _seed(self, step: int) -> None:
        """Seed what is random inside the graph (Dropout) by the step, so that a resumed training draws the same."""
        key = np.random.SeedSequence((self._resources.seed, 3, step, self._place.rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))

    def _evaluate(self) -> None:
        """Judge the weights as they are; keep them if they are the best so far."""
        state = self._state
        average_(self._place, self._module.statistics.values())
        judged = self._setup.held_out.evaluate()
        total, count = state.losses
        state.losses = 0.0, 0
        state.stale += 1
        before = [evaluation["held_out"] for evaluation in state.history]
        if self._setup.held_out.better(judged, state.best_rank, before):
            state.best, state.best_step, state.stale = self._weights(), state.step, 0
            state.best_rank = judged.score, judged.loss
        state.history.append({"step": state.step, "loss": total / count, "held_out": judged.score})
        self._shown = self._setup.held_out.shown(judged.score)
        self._resources.progress.step(
            f"step {state.step} of {self._setup.steps}: loss {total / count:.4g}, {self._shown}"
        )

    def _describe(self) -> str:
        total, count = self._state.losses
        return f"train: loss {total / count:.4g}, {self._shown}" if count else f"train: {self._shown}"

    def _begin(self) -> State:
        score, loss, _ = self._setup.held_out.evaluate()
        if not math.isfinite(loss):
            raise ModelError(f"training cannot start: the loss of the held-out samples is {loss}")
        history = [{"step": 0, "loss": None, "held_out": score}]
        return State(0, None, None, self._weights(), 0, (score, loss), score, 0, (0.0, 0), history, [])

    def _resume(self, state: State) -> State:
        assert state.now is not None and state.optimizer is not None, "it is not finished"
        _put(state.now.weights, self._module.weights)
        _put(state.now.statistics, self._module.statistics)
        _put(state.now.adapters, dict(self._objective.adapters.items()))
        self._optimizer.load_state_dict(state.optimizer)
        state.now, state.optimizer = None, None
        return state

    def _checkpoint(self) -> None:
        """Save the state as it is."""
        state = self._state
        average_(self._place, self._module.statistics.values())
        state.now, state.optimizer = self._weights(), self._optimizer.state_dict()
        self._save()
        state.now, state.optimizer = None, None

    def _save(self) -> None:
        if self._job.checkpoint is not None and self._place.is_main:
            checkpoint.save(self._job.checkpoint, self._state)

    def _weights(self) -> Weights:
        adapters = dict(self._objective.adapters.items())
        return Weights(_copied(self._module.weights), _copied(self._module.statistics), _copied(adapters))


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _put(values: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])
