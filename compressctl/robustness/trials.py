"""The conditions under which models are judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compressctl.data.source import Batch, Feeds, Source
from compressctl.measure.metric import Metric
from compressctl.notes import Note, skipped
from compressctl.resources import Resources
from compressctl.robustness.attack import fgsm
from compressctl.robustness.changed import Change
from compressctl.robustness.changes import ImageChange, blurred, brighter, flatter, noisy
from compressctl.robustness.inputs import InputSpread

NOISE = (0.1, 0.3)  # standard deviations of the input
BLUR = 1.0  # pixels
BRIGHTNESS = 0.5  # standard deviations of the input
CONTRAST = 0.5  # factor
ATTACK = 0.05  # standard deviations of the input


@dataclass(frozen=True)
class Trial:
    """A condition: its name, strength and description as in the report, and the change; None for none."""

    name: str
    strength: float
    text: str
    change: Change | None


def trials(
    baseline: Path,
    result: Path,
    samples: Source,
    metric: Metric,
    spread: dict[str, InputSpread],
    resources: Resources,
) -> tuple[list[Trial], tuple[Note, ...]]:
    """Return all conditions that apply to the inputs in `spread`, clean first, and what does not apply."""
    found, notes = [Trial("clean", 0.0, "the samples as they are", None)], []
    images = {name: one for name, one in spread.items() if one.layout is not None}
    found += _noises(spread, resources.seed)
    if not spread:
        notes.append(skipped("noise, blur and other brightness are left out: the model has no float inputs that vary"))
    elif not images:
        notes.append(skipped("blur, brightness and contrast are left out: no input is an image [N, 1 or 3, H, W]"))
    found += _image_trials(images)
    for name, path, whose in (("fgsm", baseline, "the input"), ("fgsm-result", result, "the result")):
        change = fgsm(path, samples, metric, spread, ATTACK, resources)
        if not isinstance(change, Note):
            text = f"a step of {ATTACK:g} standard deviations that raises the loss of {whose} model (FGSM)"
            found.append(Trial(name, ATTACK, text, change))
        elif change not in notes:
            notes.append(change)
    return found, tuple(notes)


def _noises(spread: dict[str, InputSpread], seed: int) -> Iterator[Trial]:
    for strength in NOISE if spread else ():

        def change(batch: Batch, start: int, strength: float = strength) -> Feeds:
            numbered = enumerate(spread.items())
            return {n: noisy(batch.feeds[n], one, strength, (seed, i), start) for i, (n, one) in numbered}

        yield Trial("noise", strength, f"Gaussian noise of {strength:g} standard deviations of the input", change)


def _image_trials(images: dict[str, InputSpread]) -> Iterator[Trial]:
    if not images:
        return

    def each(change: ImageChange) -> Change:
        def changed(batch: Batch, _: int) -> Feeds:
            return {name: change(batch.feeds[name], one) for name, one in images.items()}

        return changed

    yield Trial("blur", BLUR, f"Gaussian blur of {BLUR:g} pixel", each(lambda a, s: blurred(a, s, BLUR)))
    text = f"{BRIGHTNESS:g} standard deviations brighter"
    yield Trial("brightness", BRIGHTNESS, text, each(lambda a, s: brighter(a, s, BRIGHTNESS)))
    yield Trial("contrast", CONTRAST, f"x {CONTRAST:g} of the contrast", each(lambda a, s: flatter(a, s, CONTRAST)))
