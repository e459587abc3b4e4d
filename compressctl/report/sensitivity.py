"""A table of sensitivity (see `pruning.sensitivity.table`) as a picture: one line a layer, in SVG."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 560, 400
_LEFT, _TOP, _BOTTOM = 64, 44, 48
_LINE = 14  # height of a line of the legend
_TICKS = 5
_FAINTEST = 1e-9  # noise that counts as none


def to_svg(table: dict[str, Any]) -> str:
    """Return the scores of all layers against their ratios; their noise in decibels where there are no scores."""
    rows, ratios = table["layers"], [0.0, *table["ratios"]]
    scored = table["metric"] is not None
    label = table["metric"] if scored else "noise of the outputs, dB"
    curves = [_scores(row, table["unpruned"]) if scored else [None, *map(_decibels, row["noise"])] for row in rows]
    finite = [y for curve in curves for y in curve if y is not None and math.isfinite(y)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    height = max(_HEIGHT, _TOP + _BOTTOM + _LINE * len(rows))
    bottom = height - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x * (_WIDTH - _LEFT), bottom - (y - low) / (high - low) * (bottom - _TOP)

    legend = 24 + 7 * max((len(row["layer"]) for row in rows), default=0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + legend}" height="{height}"'
        f' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_LEFT, 20, f"Each layer pruned alone, on {table['samples']} samples", "start"),
        _text((_LEFT + _WIDTH) / 2, height - 12, "share pruned", "middle"),
    ]
    for tick in range(_TICKS + 1):
        x, y = tick / _TICKS, low + tick / _TICKS * (high - low)
        across, up = place(x, low)[0], place(0, y)[1]
        parts += [f'<path d="M{across:.1f} {_TOP}V{bottom}M{_LEFT} {up:.1f}H{_WIDTH}" stroke="#ddd"/>']
        parts += [_text(across, bottom + 16, f"{x:.1f}", "middle"), _text(_LEFT - 6, up + 4, f"{y:.3g}", "end")]
    parts.append(_text(6, _TOP - 6, label, "start"))
    for index, (row, curve) in enumerate(zip(rows, curves, strict=True)):
        colour = _colour(index, len(rows))
        points = [place(x, y) for x, y in zip(ratios, curve, strict=True) if y is not None and math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        name = escape(row["layer"])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"><title>{name}</title></polyline>')
        at = _TOP + _LINE * (index + 0.5)
        parts.append(f'<path d="M{_WIDTH + 8} {at:.1f}h10" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(_WIDTH + 22, at + 4, row["layer"], "start"))
    return "\n".join([*parts, "</svg>", ""])


def _scores(row: dict[str, Any], unpruned: float) -> Sequence[float | None]:
    return [unpruned, *row["score"]]


def _decibels(noise: float) -> float:
    return 10 * math.log10(max(noise, _FAINTEST))


def _colour(index: int, count: int) -> str:
    """From blue, the first layer, to red, the last."""
    red, green, blue = colorsys.hls_to_rgb(0.66 * (1 - index / max(count - 1, 1)), 0.42, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
