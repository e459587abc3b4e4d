"""AdaRound: learn which weights to round up and which down, so that each block of layers keeps its output.

Each weight is its lower integer plus h(V) in [0, 1], a rectified sigmoid that starts at the weight's own remainder.
Adam moves V to lessen the squared error of the block's output on calibration samples, while a regulariser, annealed,
drives h to 0 or 1. A block's inputs come from the model whose earlier blocks are quantized, its targets from the float
model.

Sources: Nagel et al. 2020 (arXiv:2004.10568), sections 3.2 and 3.3; blocks as in BRECQ, Li et al. 2021
(arXiv:2102.05426).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.arrays import Array, Floats32, Integers8
from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.distributed import this_process
from compressctl.layers.unseen import picked, unseen
from compressctl.measure.captures import Captures, section
from compressctl.notes import Note, done, skipped
from compressctl.numerics.qparams import along
from compressctl.numerics.rounding import neighbours, round_weights
from compressctl.quantization.int8.blocks import Block, cut
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import Quantizer, Settings, fold_weights
from compressctl.quantization.int8.trainable import make_trainable
from compressctl.resources import Resources
from compressctl.torchexec.determinism import deterministic
from compressctl.torchexec.module import GraphModule
from compressctl.training.distributed import torch_device

_SAMPLES = 512
_BATCH = 32
_LOW, _HIGH = -0.1, 1.1  # how far the sigmoid is stretched, so that it reaches 0 and 1
_TRAVEL = 20.0  # how far Adam can move V over all steps; h goes from 0 to 1 on a way of 4.8
_LARGEST_RATE = 0.2
_WARMUP = 0.2  # share of the steps without regulariser
_SHARPEST, _FLATTEST = 20.0, 2.0  # the regulariser's exponent, at first and at last
_LEAST_POWER = 1e-12  # of outputs that are zero on all samples
_REGULARISER = 10.0  # weight of the regulariser, against an error of 1 for rounding to the nearest


def adaround(
    model: ir.Model,
    plan: QuantizationPlan,
    observations: Observations,
    settings: Settings,
    source: Source,
    resources: Resources,
    *,
    steps: int = 400,
) -> tuple[dict[str, Integers8], tuple[Note, ...]]:
    """Learn the rounding of the weights of the static layers of `plan`.

    Args:
        model: the float model; left as it is.
        plan: made for it.
        observations: ranges of the tensors of `placement_of(model, plan)`.
        settings: the grids of the weights.
        source: calibration samples, of which the first 512 are used; labels are not needed.
        resources: progress (one tick a block), device ("auto": a GPU where there is one), and a work folder that holds
            the activations of all samples at one or two places of the graph; the seed gives the order of the samples.
        steps: steps of Adam a block, 32 samples each.

    Returns:
        The integers of each layer's weight, as `Settings.rounded` takes them, and notes on the error. A block whose
        error did not fall keeps the integers of rounding to the nearest.

    Raises:
        UsageError: there is no such device.
        ModelError: a block has operators that cannot be trained; they are listed.
        DataError: the disk is too small for the activations.
    """
    samples = First(source, _SAMPLES)
    quantized = model.clone()
    quantizers = {q.node.name or "": q for q in make_trainable(quantized, plan, observations, settings).quantizers}
    static = named(model.graph, plan.static)
    blocks = cut(model.graph, {node for node in static if node.graph is model.graph})
    learned: dict[ir.Value, Integers8] = {}  # scale -> integers: layers that share a weight share its rounding
    gains: list[float] = []
    blind: list[Note] = []
    device = torch_device(resources.device, this_process())
    threads = resources.threads
    with deterministic(threads, device), TemporaryDirectory(prefix="adaround-", dir=resources.workdir) as folder:
        ours, theirs = Path(folder, "quantized"), Path(folder, "float")
        ours.mkdir()
        theirs.mkdir()
        inputs = Captures(ours, (batch.feeds for batch in samples.batches(_BATCH)))
        targets = Captures(theirs, (batch.feeds for batch in samples.batches(_BATCH)))
        for index, block in enumerate(resources.progress.track(blocks, "adaround", len(blocks))):
            targets.advance(model, block.inputs, [*block.outputs, *block.others], threads)
            own = [quantizers[layer] for layer in block.layers]
            learner = _Learner(quantized, block, own, learned, inputs, targets, device)
            if learner.sees:
                gains.append(learner.learn(steps, np.random.default_rng([resources.seed, index])))
            else:
                blind += [unseen(layer, "rounded to the nearest") for layer in block.layers]
            learned.update(learner.integers())
            fold_weights(quantized, own, {q.node.name or "": learned[q.scale] for q in own})
            inputs.advance(quantized, block.inputs, [*block.outputs, *block.others], threads)
            later = {name for other in blocks[index + 1 :] for name in other.inputs}
            inputs.keep(later)
            targets.keep(later)
    rounded = {name: learned[quantizer.scale] for name, quantizer in quantizers.items() if quantizer.scale in learned}
    blind += [skipped("rounded to the nearest: it is in a body", n.name) for n in static if n.name not in rounded]
    mean = math.exp(float(np.mean(np.log(np.maximum(gains, 1e-6))))) if gains else 1.0
    text = f"adaround on {len(gains)} blocks: their squared error is {mean:.2g} of that of rounding to the nearest"
    return rounded, (done(text), *blind)


@dataclass
class _Soft:
    """A weight between its two neighbours on the grid, in units of its scale.

    Attributes:
        names: of the values that the weight is fed as.
        low, gap: the lower neighbour, and how far the upper one is from it.
        scale: broadcasts over the weight.
        v: what is learned.
        nearest: whether rounding to the nearest goes up.
    """

    names: list[str]
    low: Tensor
    gap: Tensor
    scale: Tensor
    v: Tensor
    nearest: Tensor

    def weight(self, share: Tensor) -> Tensor:
        return (self.low + self.gap * share) * self.scale

    def share(self) -> Tensor:
        return torch.clamp(torch.sigmoid(self.v) * (_HIGH - _LOW) + _LOW, 0, 1)

    def undecided(self, exponent: float) -> Tensor:
        return torch.where(self.gap > 0, 1 - (2 * self.share() - 1).abs() ** exponent, 0.0).sum()


class _Learner:
    """Learns the rounding of one block; `learned` holds what earlier blocks found for weights that they share."""

    def __init__(
        self,
        quantized: ir.Model,
        block: Block,
        quantizers: Sequence[Quantizer],
        learned: Mapping[ir.Value, Integers8],
        inputs: Captures,
        targets: Captures,
        device: str,
    ) -> None:
        self._block, self._inputs, self._targets, self._device = block, inputs, targets, device
        self._fixed: dict[str, Tensor] = {}
        self._soft: dict[ir.Value, _Soft] = {}
        for quantizer in quantizers:
            scale, name = quantizer.scale, quantizer.dequantized.name or ""
            if scale in learned:
                self._fixed[name] = self._tensor(learned[scale] * _along(quantizer))
            elif scale in self._soft:
                self._soft[scale].names.append(name)
            else:
                self._soft[scale] = self._start(quantizer)
        self._best = {scale: soft.nearest for scale, soft in self._soft.items()}
        fed = [quantizer.dequantized.name or "" for quantizer in quantizers]
        dtypes = targets.dtypes(block.outputs)
        moving = {value.name for value in picked(quantized.graph)}
        outputs = [name for name in block.outputs if dtypes[name].is_floating_point() and name not in moving]
        self._powers = {name: self._power(name) for name in outputs}
        self._module: GraphModule | None = None
        if outputs:
            part = section(quantized, [*block.inputs, *fed], outputs, inputs.dtypes(block.inputs))
            self._module = GraphModule(part, device=device).eval().requires_grad_(False)

    @property
    def sees(self) -> bool:
        """Whether samples tell anything of what the block gives."""
        return any(power > _LEAST_POWER for power in self._powers.values())

    def learn(self, steps: int, rng: np.random.Generator) -> float:
        """Learn; return the squared error over that of rounding to the nearest, at most 1."""
        unit = self._mean_error(self._best)
        if not self._soft or unit == 0:
            return 1.0
        optimizer = torch.optim.Adam([soft.v for soft in self._soft.values()], lr=min(_TRAVEL / steps, _LARGEST_RATE))
        weights = sum(soft.v.numel() for soft in self._soft.values())
        order: list[int] = []
        for step in range(steps):
            order = order or rng.permutation(self._inputs.batches).tolist()
            loss = self._error(order.pop(), {scale: soft.share() for scale, soft in self._soft.items()}) / unit
            progress = (step / steps - _WARMUP) / (1 - _WARMUP)
            if progress >= 0:
                exponent = _FLATTEST + (_SHARPEST - _FLATTEST) * (1 + math.cos(math.pi * progress)) / 2
                loss = loss + _REGULARISER / weights * sum(soft.undecided(exponent) for soft in self._soft.values())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        found = {scale: (soft.share() >= 0.5) & (soft.gap > 0) for scale, soft in self._soft.items()}
        error = self._mean_error(found)
        if error >= unit:
            return 1.0
        self._best = found
        return error / unit

    def integers(self) -> dict[ir.Value, Integers8]:
        """Return the integers of the weights by their scales."""
        reals = {scale: soft.low + soft.gap * self._best[scale] for scale, soft in self._soft.items()}
        return {scale: real.cpu().numpy().astype(np.int8) for scale, real in reals.items()}

    def _start(self, quantizer: Quantizer) -> _Soft:
        weight, qparams = quantizer.floats, quantizer.qparams
        low, high, share = neighbours(weight, qparams, quantizer.grid)
        nearest = (round_weights(weight, qparams, quantizer.grid) > low) & (high > low)
        sigmoid = np.clip((share - _LOW) / (_HIGH - _LOW), 1e-6, 1 - 1e-6)
        v = np.log(sigmoid / (1 - sigmoid)).astype(np.float32)
        return _Soft(
            names=[quantizer.dequantized.name or ""],
            low=self._tensor(low),
            gap=self._tensor(high - low),
            scale=self._tensor(_along(quantizer)),
            v=self._tensor(v).requires_grad_(True),
            nearest=self._tensor(nearest),
        )

    def _error(self, batch: int, up: Mapping[ir.Value, Tensor]) -> Tensor:
        """Return the squared error of a batch's outputs, relative to their power, with these shares rounded up.

        Where no sample of the batch reaches any output it is 0.
        """
        assert self._module is not None
        weights = {name: soft.weight(up[scale]) for scale, soft in self._soft.items() for name in soft.names}
        feeds = {name: self._tensor(self._inputs.get(name, batch)) for name in self._block.inputs}
        errors = []
        for name, output in self._module({**feeds, **self._fixed, **weights}).items():
            target = self._tensor(self._targets.get(name, batch))
            if output.numel() and output.shape == target.shape:
                errors.append((output - target).square().mean() / self._powers[name])
        return torch.stack(errors).mean() if errors else torch.zeros((), device=self._device, requires_grad=True)

    def _power(self, name: str) -> float:
        """Return the mean square of a target over the batches in which it has elements, above 0."""
        arrays = (self._targets.get(name, batch) for batch in range(self._targets.batches))
        powers = [float(np.square(array, dtype=np.float64).mean()) for array in arrays if array.size]
        return max(float(np.mean(powers)) if powers else 0.0, _LEAST_POWER)

    def _mean_error(self, up: Mapping[ir.Value, Tensor]) -> float:
        if self._module is None:
            return 0.0
        with torch.no_grad():
            return float(np.mean([float(self._error(batch, up)) for batch in range(self._inputs.batches)]))

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self._device)


def _along(quantizer: Quantizer) -> Floats32:
    """Return the scales of a weight, such that they broadcast over it."""
    return along(quantizer.qparams.scale, quantizer.axis, quantizer.floats.ndim)
