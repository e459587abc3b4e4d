"""Figures in words: units, digits and intervals are the same in every report."""

from __future__ import annotations

import math

from compressctl.measure.accuracy import Comparison
from compressctl.measure.clocks import told
from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.interval import Interval
from compressctl.measure.measurement import Measurement
from compressctl.measure.metrics import is_share

PASTE = "To paste into a recipe"  # above the lines of a pass that repeat what it found out
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with an SI prefix and so many digits: 1.12 MB."""
    if value is None or math.isnan(value):
        return "?"
    rounded = float(f"{value:.{digits}g}")
    for factor, prefix in _UNITS:
        if abs(rounded) >= factor:
            return f"{rounded / factor:.{digits}g} {prefix}{unit}"
    return f"{value:g} {unit}".strip()


def ms(model: Measurement) -> str:
    """The median latency."""
    return "not measured" if model.latency is None else f"{model.latency.median_ms:.3g} ms"


def in_a_row(model: Measurement) -> str:
    """How many steps the latency of one was measured over, of a model with states; nothing of others."""
    steps = 1 if model.latency is None else model.latency.steps
    return "" if steps == 1 else f"{steps} steps in a row, states carried"


def clock(model: Measurement) -> str:
    """What latencies are, where they are not what the wall clock says."""
    return "CPU time, " if model.witnesses is not None and model.witnesses.clock == "cpu" else ""


def times(value: float | None) -> str:
    """A ratio without an interval."""
    return "" if value is None else f"x {value:.3f}"


def ratio(interval: Interval | None) -> str:
    """A ratio with its interval."""
    return "" if interval is None else told(interval)


def change(before: int, after: int) -> str:
    """The ratio of two counts where it is not 1."""
    return times(after / before) if before and before != after else ""


def score(metric: str | None, value: Interval | None) -> str:
    """A metric's value with its interval; fractions in percent."""
    if value is None or metric is None:
        return ""
    if is_share(metric):
        return f"{100 * value.value:.2f} % [{100 * value.low:.2f}, {100 * value.high:.2f}]"
    return f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"


def points(metric: str, value: float) -> str:
    """A difference of a metric: percentage points for fractions."""
    return f"{100 * value:+.2f} points" if is_share(metric) else f"{value:+.4f}"


def drop(metric: str | None, found: Comparison | Interval | None) -> str:
    """How much worse a metric is, with its interval."""
    if found is None or metric is None:
        return ""
    value = found.drop if isinstance(found, Comparison) else found.value
    if is_share(metric):
        return f"{points(metric, value)} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
    return f"{points(metric, value)} [{found.low:+.4f}, {found.high:+.4f}]"


def percent(share: float | None) -> str:
    """A share."""
    return "?" if share is None else f"{100 * share:.1f} %"


def decibels(value: float | None) -> str:
    """A signal-to-noise ratio."""
    if value is None or math.isnan(value):
        return "?"
    return "equal" if value == math.inf else f"{value:.1f} dB"


def nats(kl: Interval) -> str:
    """A divergence of next tokens, with its interval."""
    return f"{kl.value:.3g} nats [{kl.low:.3g}, {kl.high:.3g}]"


def fidelity(output: OutputFidelity) -> str:
    """How far an output is from the baseline's."""
    if output.values == 0:
        return "no values"
    return "equal" if output.max_abs_error == 0 else decibels(output.sqnr_db)
