"""Which layers harm a result most, and what to change in the recipe to spare them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from glob import escape
from typing import Any

from compressctl.explanation.schema import LayerRow, RecipePatch, WorstLayer

MOST = 5  # layers to name
_LOUD_DB = 40.0  # quieter noise (1 % of the amplitude) harms no output
_LOUD_SHARE = 0.1  # of the noise that all layers bring to the outputs
_LOST_DB = 6.0  # that a layer itself adds, where its harm cannot be measured
_CHANCE = 0.05  # that any of the layers is said to cost accuracy, where none does (Bonferroni)
_CAP_DB = 100.0  # what has no noise counts as this much
_EDGED = ("quantize", "qat", "quantize_weights")
_EXCLUDING = (*_EDGED, "prune", "sparsify", "cluster", "low_rank", "clip", "store")


def worst_layers(rows: Sequence[LayerRow], lost: Mapping[str, float | None]) -> tuple[WorstLayer, ...]:
    """Return the layers that stand out, the worst first, 5 at most.

    Those whose weights cost accuracy beyond chance come first, by how much; then those that bring a tenth or more of
    the noise to the model's outputs, where that is more than 1 % of their amplitude; then those whose harm cannot be
    measured and that lose 6 dB or more between what they read and what they give.

    Args:
        rows: the layers.
        lost: SQNR of what each reads less that of its output, in the result, by name.
    """
    noises = {row.name: 10 ** (-row.harm.sqnr_db / 10) for row in rows if row.harm is not None}
    total, sure = sum(noises.values()), _CHANCE / max(1, len(noises))
    ranked: list[tuple[tuple[int, float, float], LayerRow, str]] = []
    for row in rows:
        after, fallen = _fall(row)
        where = "" if after is None else f"; its output falls to {fallen:.1f} dB at {after}"
        lost_db = lost.get(row.name)
        if row.harm is None:
            if lost_db is not None and lost_db >= _LOST_DB and (_last(row) or 0) < _LOUD_DB:
                text = f"its output is {lost_db:.1f} dB noisier than what it reads{where}"
                ranked.append(((2, -lost_db, 0.0), row, text))
            continue
        share = noises[row.name] / total if total else 0.0
        text = (
            f"its weights alone leave the outputs at {row.harm.sqnr_db:.1f} dB, {share:.0%} of the noise of all layers"
        )
        if row.harm.drop is not None and row.harm.drop.drop > 0 and row.harm.drop.p_value < sure:
            text = f"its weights alone cost {row.harm.drop.drop:.4g} of the metric, beyond chance; {text}{where}"
            ranked.append(((0, -row.harm.drop.drop, -noises[row.name]), row, text))
        elif share >= _LOUD_SHARE and row.harm.sqnr_db < _LOUD_DB:
            ranked.append(((1, -noises[row.name], 0.0), row, text + where))
    ranked.sort(key=lambda one: one[0])
    return tuple(WorstLayer(row.name, _fall(row)[0], text) for _, row, text in ranked[:MOST])


def patches(
    worst: Sequence[WorstLayer],
    rows: Sequence[LayerRow],
    entries: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, Collection[str]],
) -> tuple[RecipePatch, ...]:
    """Return, for each pass that harms some of the worst layers, its entry changed so that it spares them.

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
        if type_ not in _EXCLUDING or not spared:
            continue
        entry = {key: value for key, value in entries.get(label, {}).items() if key != "type" and value is not None}
        edges = [name for name in spared if name in _edges(type_, entry, rows)]
        others = [name for name in spared if name not in edges]
        reasons = []
        if edges:
            entry["edges"] = "int8"
            reasons.append(f"8 bits for the first and the last layers, as {', '.join(edges)} suffers most")
        if others:
            entry["exclude"] = [*entry.get("exclude", ()), *map(escape, others)]
            reasons.append(f"leave {', '.join(others)} alone, which it harms most")
        why = "; ".join(reasons)
        lines = [
            f"- type: {type_}",
            *(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()),
        ]
        found.append(RecipePatch(label, tuple(lines), why))
    return tuple(found)


def _edges(type_: str, entry: Mapping[str, Any], rows: Sequence[LayerRow]) -> set[str]:
    """Return the first and the last layers, where the pass gives them fewer than 8 bits and can give them 8."""
    products = [row.name for row in rows if row.op not in ("Gather", "LSTM", "GRU", "RNN")]
    default = "same" if type_ == "quantize_weights" else "int8"
    scheme = str(entry.get("scheme", "int8"))
    few = scheme.startswith(("w", "int", "ternary")) and not scheme.startswith("int8")
    return (
        {*products[:1], *products[-1:]} if type_ in _EDGED and few and entry.get("edges", default) == "same" else set()
    )


def _last(row: LayerRow) -> float | None:
    return row.sqnr[-1].sqnr_db if row.sqnr else None


def _fall(row: LayerRow) -> tuple[str | None, float]:
    """Return the pass after which the SQNR of a layer's output fell most, and to what."""
    before, label, most, reached = _CAP_DB, None, 0.0, _CAP_DB
    for one in row.sqnr:
        if one.sqnr_db is None:
            continue
        now = min(one.sqnr_db, _CAP_DB)
        if before - now > most:
            label, most, reached = one.after, before - now, now
        before = now
    return label, reached
