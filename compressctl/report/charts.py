"""Plots as positions in percent of their box, so that a page can draw them in any width without scaling its text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MARGIN = 0.06  # of the range, beyond the outermost values


@dataclass(frozen=True)
class Item:
    """What a row or point shows: its name, its value and that in words, its 95 % interval, and a tone of the page."""

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    tone: str = ""


@dataclass(frozen=True)
class Scale:
    """Values -> percent.

    Attributes:
        low, high: the values at 0 and at 100 %.
    """

    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Return where a value lies, in percent with two digits; what lies outside is put on the edge."""
        return round(min(max(100 * (value - self.low) / (self.high - self.low), 0), 100), 2)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return up to five round values as (percent, text)."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next((unit * step for step in _STEPS if unit * step >= rough), 10 * unit)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple((self(i * step), f"{i * step:.6g}") for i in range(first, last + 1))


@dataclass(frozen=True)
class Row:
    """A row of `Bars`: a bar from `start` to `end`, or a dot at `end`; None where the value is none."""

    label: str
    text: str
    tone: str
    start: float | None
    end: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bars:
    """Values under each other, as bars or as dots with intervals.

    Attributes:
        title: what is shown.
        rows: from top to bottom.
        dots: whether rows are dots; their scale does not begin at 0 then.
        limit: a line across all rows, in percent, or None.
        limit_text: what the line is.
    """

    title: str
    rows: tuple[Row, ...]
    dots: bool = False
    limit: float | None = None
    limit_text: str = ""


@dataclass(frozen=True)
class Point:
    """A numbered point, in percent from the left and from the top, and the box of its intervals."""

    number: str
    title: str
    tone: str
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Scatter:
    """Points over two axes, with their ticks."""

    title: str
    across: str
    up: str
    points: tuple[Point, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Curve:
    """A named line: its points as SVG writes them, in percent, and its hue in degrees."""

    name: str
    points: str
    hue: int


@dataclass(frozen=True)
class Lines:
    """Curves over two axes, with their ticks."""

    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


Chart = Bars | Scatter | Lines


def bars(title: str, items: Sequence[Item], *, limit: float | None = None, limit_text: str = "") -> Bars:
    """Return values as bars from 0."""
    scale = _scale([0.0, *_values(items), limit], margin=0)
    at = None if limit is None else scale(limit)
    return Bars(title, tuple(_row(item, scale, scale(0)) for item in items), False, at, limit_text)


def dots(title: str, items: Sequence[Item], *, limit: float | None = None, limit_text: str = "") -> Bars:
    """Return values as dots with their intervals, on a scale that shows what they differ in."""
    scale = _scale([*_values(items), limit])
    at = None if limit is None else scale(limit)
    return Bars(title, tuple(_row(item, scale, None) for item in items), True, at, limit_text)


def scatter(title: str, across: str, up: str, pairs: Sequence[tuple[Item, Item]]) -> Scatter:
    """Return points, each an item for its place across and one for its place up; label and tone are the first's."""
    pairs = [pair for pair in pairs if all(math.isfinite(item.value) for item in pair)]
    x_scale, y_scale = (_scale(_values([pair[axis] for pair in pairs])) for axis in (0, 1))
    points = []
    for x, y in pairs:
        (left, right), (low, high) = _ends(x, x_scale), _ends(y, y_scale)
        title_of = f"{x.text}; {y.text}"
        place = (x_scale(x.value), 100 - y_scale(y.value))
        points.append(Point(x.label, title_of, x.tone, *place, left, right, 100 - high, 100 - low))
    return Scatter(title, across, up, tuple(points), x_scale.ticks(), _upward(y_scale))


def lines(title: str, across: str, up: str, curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Lines:
    """Return named curves of (x, y); points that are not finite are left out."""
    finite = [(name, [point for point in points if all(map(math.isfinite, point))]) for name, points in curves]
    x_scale = _scale([x for _, points in finite for x, _ in points], margin=0)
    y_scale = _scale([y for _, points in finite for _, y in points], margin=0)
    drawn = []
    for index, (name, points) in enumerate(finite):
        path = " ".join(f"{x_scale(x):g},{100 - y_scale(y):g}" for x, y in points)
        drawn.append(Curve(name, path, _hue(index, len(finite))))
    return Lines(title, across, up, tuple(drawn), x_scale.ticks(), _upward(y_scale))


def _row(item: Item, scale: Scale, start: float | None) -> Row:
    end = None if math.isnan(item.value) else scale(item.value)
    low, high = (scale(x) if x is not None and math.isfinite(x) else None for x in (item.low, item.high))
    return Row(item.label, item.text, item.tone, start, end, low, high)


def _ends(item: Item, scale: Scale) -> tuple[float, float]:
    ends = (item.low, item.high)
    low, high = (x if x is not None and math.isfinite(x) else item.value for x in ends)
    return scale(low), scale(high)


def _values(items: Iterable[Item]) -> list[float | None]:
    return [value for item in items for value in (item.value, item.low, item.high)]


def _scale(values: Iterable[float | None], margin: float = _MARGIN) -> Scale:
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if low == high:
        low, high = (low, low + 1) if margin == 0 else (low - 0.5, high + 0.5)
    return Scale(low - margin * (high - low), high + margin * (high - low))


def _upward(scale: Scale) -> tuple[tuple[float, str], ...]:
    return tuple((100 - percent, text) for percent, text in scale.ticks())


def _hue(index: int, count: int) -> int:
    """From blue, the first, to red, the last."""
    return round(240 * (1 - index / max(count - 1, 1)))
