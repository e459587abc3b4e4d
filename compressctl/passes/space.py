"""What a search may try of a pass: the parameters, when they apply to a model, and the passes that they stand for.

Every pass owns its part of the space, in its `run.py`, or where that is much in a `search.py` beside it. Parts meet in
the parameters that several of them read: `format`, how numbers are stored; `structure`, what is cut, in order;
`sparsity`, which single weights go; and `tune_epochs`, for how long the result of cutting is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal, Protocol

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.passes.base import Context, PassConfig

EPOCHS = (1, 3, 10, 30)
_MOST_SPARED = 6

Params = Mapping[str, Any]
Kind = Literal["float", "integer", "weights"]


class Stage(IntEnum):
    """The order in which the passes of a candidate run."""

    BEGIN = 0
    CUT = 1
    ZERO = 2
    TRAIN = 3
    FOLD = 4
    PREPARE = 5
    NUMBERS = 6
    RETRAIN = 7
    STORE = 8


@dataclass(frozen=True)
class Format:
    """A way to store numbers, a value of the parameter `format`.

    Attributes:
        name: the value.
        kind: float; integer, where activations are rounded as well; or weights alone.
        repeats: whether weights are floats of few values afterwards, which can be trained, and are stored as codes.
    """

    name: str
    kind: Kind
    repeats: bool = False

    @property
    def spares(self) -> bool:
        """Whether some layers may get a wider format than the others."""
        return self.kind != "float" and not self.repeats


@dataclass(frozen=True)
class Subject:
    """The model that a search is about.

    Attributes:
        model: after the passes that every candidate begins with.
        context: what passes are given.
        samples: to compare outputs on, or None.
        trains: whether there are samples to train on, and torch.
    """

    model: ir.Model
    context: Context
    samples: Source | None
    trains: bool

    @property
    def calibrated(self) -> bool:
        """Whether there are samples to calibrate on."""
        return self.context.calibration is not None


@dataclass(frozen=True)
class Space:
    """What candidates are made of: found out once, kept with the study, the same for all who share it.

    Attributes:
        formats: how numbers may be stored.
        structures: what may be cut: types of passes with commas between them, in order.
        choices: the values of other parameters that depend on the model, by name, the neutral one first.
        calibrated: whether there are samples to calibrate on.
        train: whether there are samples to train on.
        spare: layers that may get more bits than the others, the one that gains most by it first.
    """

    formats: tuple[Format, ...]
    structures: tuple[str, ...]
    choices: Mapping[str, tuple[Any, ...]]
    calibrated: bool
    train: bool
    spare: tuple[str, ...]

    @property
    def most_spared(self) -> int:
        """How many layers may be spared at once: never more than half of them."""
        return min(_MOST_SPARED, len(self.spare) // 2)

    @property
    def integer(self) -> str | None:
        """The plainest format that computes on integers, or None."""
        return next((format.name for format in self.formats if format.kind == "integer"), None)

    def has(self, *formats: str) -> bool:
        """Whether all of these formats are among those to choose from."""
        return {*formats} <= {format.name for format in self.formats}

    def format(self, params: Params) -> Format:
        """Return the format of a candidate."""
        return next(format for format in self.formats if format.name == params["format"])


def loses(params: Params) -> bool:
    """Whether a candidate loses units or weights, of which training brings something back."""
    return bool(params["structure"]) or params.get("sparsity", "none") != "none"


class Chooser(Protocol):
    """What chooses values: a trial of Optuna."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Choose one of several."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Choose a whole number from `low` to `high`."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        """Choose a number from `low` to `high`."""
        ...


class Draw:
    """A value for each parameter that was asked for; which ones those are may depend on the values of others.

    A parameter has the same choices always, whatever the others are.

    Args:
        trial: chooses them.
        space: what from.
    """

    def __init__(self, trial: Chooser, space: Space) -> None:
        self._trial, self.space = trial, space
        self.params: dict[str, Any] = {}

    @property
    def format(self) -> Format:
        """The format that was chosen."""
        return self.space.format(self.params)

    def choice(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of several values; there is nothing to ask where there is one."""
        self.params[name] = self._trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]
        return self.params[name]

    def whole(self, name: str, low: int, high: int) -> None:
        """Choose a whole number from `low` to `high`."""
        self.params[name] = self._trial.suggest_int(name, low, high)

    def number(self, name: str, low: float, high: float, step: float) -> None:
        """Choose a number from `low` to `high`."""
        self.params[name] = round(self._trial.suggest_float(name, low, high, step=step), 4)


class PassSpace:
    """A part of the search space; what a pass has no use for it leaves as it is here.

    Attributes:
        type: of the pass.
        monotone: parameters of which the larger value (1) or the smaller one (-1) surely loses no less.
        ladders: formats of which each surely loses no less than those before it.
        renames: whether layers have other names after it, so that none of them can be spared by name.
    """

    type: ClassVar[str] = ""
    monotone: ClassVar[Mapping[str, int]] = {}
    ladders: ClassVar[tuple[tuple[str, ...], ...]] = ()
    renames: ClassVar[bool] = False

    def formats(self, subject: Subject) -> Iterable[Format]:
        """Return the formats that fit a model."""
        return ()

    def cuts(self, subject: Subject) -> bool:
        """Whether the pass could cut a model; its type is then a value of `structure`."""
        return False

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        """Return the values of parameters that depend on the model, the neutral one first; none where all are."""
        return {}

    def draw(self, draw: Draw) -> None:
        """Ask for the parameters, where they apply."""

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterable[tuple[Stage, PassConfig]]:
        """Return the passes that parameters stand for.

        Args:
            params: of a candidate.
            space: what they were drawn from.
            spared: globs of the layers that get a wider format.
        """
        return ()

    def starts(self, space: Space) -> Iterable[tuple[int, Params]]:
        """Return what is known to be good and quick: the parameters that are not neutral, and its place among all."""
        return ()

    def layers(self, subject: Subject) -> tuple[str, ...]:
        """Return the names of the layers that it may give more bits than others."""
        return ()

    def sensitivities(self, subject: Subject, layers: Sequence[str]) -> Mapping[str, float]:
        """Return the noise that few bits in each of these layers alone bring to the outputs."""
        return {}
