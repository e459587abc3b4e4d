"""Hold a fidelity floor: which layers of a plan must be quantized dynamically, or stay in float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from compressctl.data.source import Source
from compressctl.measure.fidelity import OutputFidelity, fidelity
from compressctl.measure.floor import Floor, shortfall
from compressctl.measure.session import Session
from compressctl.model.scores import gives_words, score_outputs
from compressctl.quantization.int8.outliers import rank_inputs
from compressctl.quantization.int8.plan import QuantizationPlan
from compressctl.quantization.int8.sensitivity import Build, Sensitivity, rank, shortest_prefix
from compressctl.resources import Resources

_BATCH = 8
_PARTS = 48  # of the model, ranked before their layers are: the rank of each costs a session
_SAMPLES = 32  # SQNR needs fewer; an agreement of 84 % is told from one of 95 %
_TOKENS = 1024  # of a language model: each is an answer, and a sample holds many


@dataclass(frozen=True)
class Held:
    """A plan that holds the floor, or comes as near as it can.

    Attributes:
        plan: the plan.
        before, after: the outputs' fidelity under the plan that was given, and under this one.
        dynamic: layers that became dynamic, worst first.
        weights: layers that compute in float on 8-bit weights, worst first.
        float: layers that stay in float, worst first.
        holds: whether the floor holds.
        ranking: what was measured on the way; empty where the given plan holds.
    """

    plan: QuantizationPlan
    before: tuple[OutputFidelity, ...]
    after: tuple[OutputFidelity, ...]
    dynamic: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    float: tuple[str, ...] = ()
    holds: bool = True
    ranking: tuple[Sensitivity, ...] = ()


class Judge:
    """Measures fidelity to the float model on the first samples of a source.

    Args:
        build: quantizes a clone; the empty plan gives the float model.
        source: samples; labels are not needed.
        floor: what every output must reach.
        resources: threads, work folder and progress.

    Attributes:
        words: whether the model is a language model. Its logits are large, so few samples are run, one at a time.
    """

    def __init__(self, build: Build, source: Source, floor: Floor, resources: Resources) -> None:
        self._build, self._source, self._floor, self._resources = build, source, floor, resources
        self._reference = self._open(QuantizationPlan())
        self._model = build(QuantizationPlan())
        self._scores = score_outputs(self._model)
        self.words = gives_words(self._model)
        self._samples, self._batch = (_windows(source), 1) if self.words else (_SAMPLES, _BATCH)

    def measure(self, plan: QuantizationPlan) -> tuple[OutputFidelity, ...]:
        """Return the fidelity of the float outputs under a plan."""
        outputs = fidelity(
            self._reference,
            self._open(plan),
            self._source,
            self._batch,
            most=self._samples,
            scores=self._scores,
            fitted=True,
        )
        reals = {spec.name for spec in self._reference.outputs if "float" in spec.dtype}
        return tuple(output for output in outputs if output.name in reals)

    def accepts(self, outputs: Sequence[OutputFidelity]) -> bool:
        """Whether every output is at the floor, or above."""
        return not shortfall(outputs, self._floor)

    def holds(self, plan: QuantizationPlan) -> bool:
        """Whether the floor holds under a plan."""
        return self.accepts(self.measure(plan))

    def rank(self, plan: QuantizationPlan, parts: Sequence[Sequence[str]]) -> list[Sensitivity]:
        """Rank parts of a plan, each by its first layer."""
        return rank(self._build, plan, self._source, self._resources, samples=self._samples, parts=parts)

    def rank_inputs(self, names: Sequence[str]) -> list[Sensitivity]:
        """Rank layers by what rounding their inputs alone does to their own outputs."""
        batches = (batch.feeds for batch in self._source.some(1, min(self._samples, len(self._source))))
        return rank_inputs(self._model, names, batches, self._resources)

    def _open(self, plan: QuantizationPlan) -> Session:
        return Session(self._build(plan), threads=self._resources.threads, workdir=self._resources.workdir)


def hold(judge: Judge, plan: QuantizationPlan, dynamic: Collection[str]) -> Held:
    """Move the most sensitive layers until the floor holds.

    First to dynamic quantization, where they are static and have such a form, else to 8-bit weights under floats; where
    that is not enough, all of them to the latter, and then to float. Within each, the fewest of the ranking.

    Args:
        judge: measures.
        plan: what to quantize.
        dynamic: the static layers of the plan that have a dynamic form.

    Raises:
        ModelError: an output cannot be compared.
    """
    before = judge.measure(plan)
    if judge.accepts(before):
        return Held(plan, before, before)
    layers, ranking = _ranking(judge, plan)

    def softened(names: Sequence[str]) -> QuantizationPlan:
        moved = [name for name in names if name in dynamic and name in plan.static]
        return plan.dynamically(moved).weights_alone([name for name in names if name not in moved])

    for move in (softened, plan.weights_alone, replace(plan, weights=()).without):
        moved = _fewest(judge, layers, move)
        if moved is not None:
            held = move(moved)
            dynamic_, weights, rest = (
                tuple(name for name in moved if name in part)
                for part in (held.layers, held.weights, {*moved} - {*held.layers, *held.weights})
            )
            return Held(held, before, judge.measure(held), dynamic_, weights, rest, True, tuple(ranking))
    return Held(plan, before, before, holds=False, ranking=tuple(ranking))


def _fewest(judge: Judge, layers: Sequence[str], move: Callable[[Sequence[str]], QuantizationPlan]) -> list[str] | None:
    return shortest_prefix(layers, lambda names: bool(names) and judge.holds(move(names)))


def _ranking(judge: Judge, plan: QuantizationPlan) -> tuple[list[str], list[Sensitivity]]:
    """Rank the layers; of many, only those of the worst parts one by one, the rest behind them in order of the parts.

    Many layers of a language model are ranked by their own outputs: see `outliers`.

    Returns:
        all layers, worst first, and what was measured of single ones.
    """
    layers = list(plan.layers)
    if len(layers) <= _PARTS:
        sensitivities = judge.rank(plan, [[name] for name in layers])
        return [sensitivity.layer for sensitivity in sensitivities], sensitivities
    if judge.words:
        sensitivities = judge.rank_inputs(layers)
        ranked = [sensitivity.layer for sensitivity in sensitivities]
        return [*ranked, *(name for name in layers if name not in {*ranked})], sensitivities
    size = -(-len(layers) // _PARTS)
    parts = {layers[start]: layers[start : start + size] for start in range(0, len(layers), size)}
    ordered = [name for sensitivity in judge.rank(plan, list(parts.values())) for name in parts[sensitivity.layer]]
    sensitivities = judge.rank(plan, [[name] for name in ordered[:_PARTS]])
    return [sensitivity.layer for sensitivity in sensitivities] + ordered[_PARTS:], sensitivities


def _windows(source: Source) -> int:
    """Return how many samples of a language model hold enough tokens."""
    first = next(iter(source.some(1, 1)))
    tokens = max((array.size for array in first.feeds.values() if array.ndim == 2), default=1)
    return min(_SAMPLES, -(-_TOKENS // max(tokens, 1)))
