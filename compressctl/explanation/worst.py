"""Which layers a result is most sensitive to, and what to change in the recipe to spare them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from glob import escape
from typing import Any

from compressctl.explanation.schema import LayerRow, RecipePatch, WorstLayer
from compressctl.model.ops import LOOK_UPS, RECURRENT
from compressctl.passes import CONFIGS
from compressctl.plain import pass_lines
from compressctl.quantization.schemes import SCHEMES

MOST = 5  # layers to name
_LOUD_DB = 40.0  # quieter noise (1 % of the amplitude) disturbs no output
_LOUD_SHARE = 0.1  # of the noise that all layers bring to the outputs
_LOST_DB = 6.0  # that a layer itself adds, where its sensitivity cannot be measured
_CHANCE = 0.05  # that any of the layers is said to cost accuracy, where none does (Bonferroni)
_MOST_NOISE = 1e6


def rank(rows: Sequence[LayerRow], lost: Mapping[str, float | None]) -> list[tuple[LayerRow, str]]:
    """Return the layers that stand out, the worst first, 5 at most, each with the reason.

    Those whose weights cost accuracy beyond chance come first, by how much; then those that bring a tenth or more of
    the noise to the model's outputs, where that is more than 1 % of their amplitude; then those whose sensitivity is
    not known and that lose 6 dB or more between what they read and what they give.

    Args:
        rows: the layers.
        lost: SQNR of what each reads less that of its output, in the result, by name.
    """
    noises = {row.name: _noise(row.sensitivity.sqnr_db) for row in rows if row.sensitivity is not None}
    total, sure = sum(noises.values()), _CHANCE / max(1, len(noises))
    ranked: list[tuple[tuple[int, float, float], LayerRow, str]] = []
    for row in rows:
        lost_db = lost.get(row.name)
        if row.sensitivity is None:
            if lost_db is not None and lost_db >= _LOST_DB and (_last(row) or 0) < _LOUD_DB:
                text = f"its output is {lost_db:.1f} dB noisier than what it reads"
                ranked.append(((2, -lost_db, 0.0), row, text))
            continue
        share = noises[row.name] / total if total else 0.0
        level = f"{row.sensitivity.sqnr_db:.1f} dB"
        text = f"its weights alone leave the outputs at {level}, {share:.0%} of the noise of all layers"
        if row.sensitivity.drop is not None and row.sensitivity.drop.drop > 0 and row.sensitivity.drop.p_value < sure:
            text = f"its weights alone cost {row.sensitivity.drop.drop:.4g} of the metric, beyond chance; {text}"
            ranked.append(((0, -row.sensitivity.drop.drop, -noises[row.name]), row, text))
        elif share >= _LOUD_SHARE and row.sensitivity.sqnr_db < _LOUD_DB:
            ranked.append(((1, -noises[row.name], 0.0), row, text))
    ranked.sort(key=lambda one: one[0])
    return [(row, text) for _, row, text in ranked[:MOST]]


def worst_layer(row: LayerRow, why: str, sensitivities: Mapping[str, float]) -> WorstLayer:
    """Say of a layer which pass disturbs it: the one that adds most to the noise that its weights bring to the outputs.

    Args:
        row: the layer.
        why: it stands out.
        sensitivities: by label of each pass, in order, `Sensitivity.sqnr_db` of the weights after it; where there are
            none, the SQNR of the layer's output tells.
    """
    levels = sensitivities or {one.after: one.sqnr_db for one in row.sqnr if one.sqnr_db is not None}
    before, label, most = 0.0, None, 0.0
    for after, level in levels.items():
        now = _noise(level)
        if now - before > most:
            label, most = after, now - before
        before = now
    reached = next((one.sqnr_db for one in row.sqnr if one.after == label), None)
    return WorstLayer(
        row.name, label, why if reached is None else f"{why}; its output has {reached:.1f} dB after {label}"
    )


def patches(
    worst: Sequence[WorstLayer],
    rows: Sequence[LayerRow],
    entries: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, Collection[str]],
) -> tuple[RecipePatch, ...]:
    """Return, for each pass that disturbs some of the worst layers, its entry changed so that it spares them.

    Args:
        worst: the layers.
        rows: all layers, in graph order.
        entries: the entries of the recipe by label, without what is left at its default.
        names: of the nodes that each pass found, by label.
    """
    found = []
    for label in dict.fromkeys(layer.after for layer in worst if layer.after is not None):
        type_ = label.split()[-1]
        spared = [layer.name for layer in worst if layer.after == label and layer.name in names[label]]
        fields = CONFIGS[type_].model_fields
        if "exclude" not in fields or not spared:
            continue
        entry = {key: value for key, value in entries.get(label, {}).items() if key != "type" and value is not None}
        defaults = {name: field.default for name, field in fields.items()}
        edges = [name for name in spared if name in _edges({**defaults, **entry}, rows)]
        others = [name for name in spared if name not in edges]
        reasons = []
        if edges:
            entry["first_last"] = "int8"
            reasons.append(f"8 bits for the first and the last layers, as {', '.join(edges)} suffers most")
        if others:
            entry["exclude"] = [*entry.get("exclude", ()), *map(escape, others)]
            reasons.append(f"leave {', '.join(others)} alone, which it disturbs most")
        why = "; ".join(reasons)
        found.append(RecipePatch(label, tuple(pass_lines(type_, entry)), why))
    return tuple(found)


def _noise(decibels: float) -> float:
    """Return noise over signal; outputs that are not finite count as nothing but noise."""
    return _MOST_NOISE if math.isnan(decibels) else min(10 ** (-decibels / 10), _MOST_NOISE)


def _edges(options: Mapping[str, Any], rows: Sequence[LayerRow]) -> set[str]:
    """Return the first and the last layers, where the pass gives them fewer than 8 bits and can give them 8."""
    products = [row.name for row in rows if row.op not in RECURRENT | LOOK_UPS]
    scheme = SCHEMES.get(str(options.get("scheme")))
    few = scheme is not None and scheme.narrow
    return {*products[:1], *products[-1:]} if few and options.get("first_last") == "same" else set()


def _last(row: LayerRow) -> float | None:
    return row.sqnr[-1].sqnr_db if row.sqnr else None
