"""Outputs below the fidelity floor in words, and what to do about them, by the recipe that ran."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from compressctl.measure.floor import VERDICT, Shortfall
from compressctl.notes import Note, warning
from compressctl.passes.quantize import Config as Quantize
from compressctl.quantization.schemes import SCHEMES
from compressctl.recipe.model import Recipe
from compressctl.training.options import TrainingOptions

_ABSURD = 7.0  # nats, above which a factor is no more than a large number
_CUTS = ("prune", "sparsify", "low_rank")
_ROUNDS = ("quantize", "quantize_weights", "qat")


def told(found: Shortfall) -> str:
    """Say what of an output is below the floor."""
    if found.what == "non-finite":
        where = found.inputs or "the samples"
        return f"{found.output} has {found.value:g} values NaN or infinite on {where}, where the input's are finite"
    if found.what == "SQNR":
        return f"{found.output} has an SQNR of {found.value:.1f} dB, the floor is {found.limit:g} dB"
    if found.what == "varying":
        against = f"what varies from sample to sample is {found.value:.1f} dB above the error"
        return f"{found.output}: {against}, the floor is {found.limit:g} dB"
    if found.what == "divergence":
        rise = f"perplexity is expected to rise x {_factor(found.value)}, the floor admits x {_factor(found.limit)}"
        return f"{found.output}: next tokens diverge by {found.value:.2g} nats: {rise}"
    value, limit = 100 * found.value, 100 * found.limit
    if found.what == "agreement":
        return f"{found.output} has the same class on top in {value:.1f} % of samples, the floor is {limit:g} %"
    return f"{found.output}: top-1 is expected to fall by {value:.1f} points, the floor admits {limit:g}"


def _factor(nats: float) -> str:
    """By how much perplexity rises, in words that stay short."""
    return f"{math.exp(nats):.3g}" if nats < _ABSURD else f"e^{nats:.0f}"


def degraded(recipe: Recipe, found: Sequence[Shortfall], *, made_up: bool) -> list[Note]:
    """Return a warning for each output below the floor, and one that says what may help.

    Args:
        recipe: what ran.
        found: the shortfalls.
        made_up: whether outputs were compared on numbers drawn at random.
    """
    if not found:
        return []
    lines = [warning(f"below the fidelity floor: {told(one)}") for one in found]
    advice = f"what may help: {', or '.join(_advice(recipe, made_up=made_up))}"
    if recipe.min_sqnr is not None or recipe.min_agreement is not None or recipe.max_kl is not None:
        return [*lines, warning(advice)]
    words = any(one.what == "divergence" for one in found)
    budget = f"--max-kl {VERDICT.divergence:.2g}" if words else f"--min-sqnr {VERDICT.sqnr_db:g}"
    return [*lines, warning(f"{advice}; {budget} makes it exit code 4")]


def _advice(recipe: Recipe, *, made_up: bool) -> Iterator[str]:
    types = {config.type for config in recipe.passes}
    if recipe.calibrate is None:
        yield "unlabelled samples (--calibrate) to fit layers to and to compare outputs on"
    elif made_up:
        yield "real samples as --calibrate: numbers drawn at random were given"
    elif any(getattr(config, "reconstruct", None) is False for config in recipe.passes):
        yield "reconstruction on the samples"
    if recipe.calibrate is not None:
        yield from sorted({f"--rounding {name}" for config in recipe.passes for name in _better(config)})
    if types & {*_CUTS}:
        yield "a smaller cut"
    if types & {*_ROUNDS}:
        yield "more bits or another scheme"
    if "cluster" in types:
        yield "more clusters"
    trained = any(isinstance(config, TrainingOptions) for config in recipe.passes)
    yield "more training" if trained else "training after it (finetune, qat)"
    if not (recipe.data and recipe.metric):
        yield "labels (--data, --metric), if accuracy is what counts: they outrank the floor"


def _better(config: object) -> tuple[str, ...]:
    """Return ways of rounding that keep outputs better than the one that was chosen."""
    chosen = getattr(config, "rounding", None)
    if chosen == "nearest" and isinstance(config, Quantize):
        return ("gptq", "adaround") if SCHEMES[config.scheme].kind == "static" else ()
    return ("gptq",) if chosen in ("nearest", "hqq", "awq") else ()
