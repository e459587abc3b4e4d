"""Measurements as the pipeline sees them, with the figures that a test cares for."""

from compressctl.measure.accuracy import Comparison
from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.interval import Interval
from compressctl.measure.latency import Latency
from compressctl.measure.measurement import Measurement


def measurement(
    *,
    size: float = 0.5,
    latency: tuple[float, float, float] = (0.8, 0.75, 0.85),
    drop: tuple[float, float, float] = (0.0, -0.01, 0.01),
    score: tuple[float, float, float] = (0.9, 0.88, 0.92),
    memory: int | None = None,
    outputs: tuple[OutputFidelity, ...] = (),
) -> Measurement:
    """Return what a result measures whose input has 1,000 bytes and takes 2 ms."""
    return Measurement(
        path="out.onnx",
        bytes=int(1000 * size),
        parameters=250,
        nonzeros=250,
        macs=None,
        latency=Latency(2 * latency[0], 3 * latency[0], 100, 1.0, 2 * latency[1], 2 * latency[2]),
        latency_ratio=Interval(*latency),
        size_ratio=size,
        peak_memory=memory,
        score=Interval(*score),
        drop=Comparison(*drop, p_value=0.5),
        judged="labelled",
        fidelity=outputs,
    )


def output(sqnr: float, agreement: float | None = None, count: int = 100, name: str = "y") -> OutputFidelity:
    """Return what an output measures."""
    lost = None if agreement is None else 1 - agreement
    return OutputFidelity(name, agreement, count, sqnr, 1.0, 1.0, 0.1, values=1, expected_drop=lost)
