"""Latency of real models."""

import gc
import multiprocessing

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.walk import standing
from compressctl.errors import DataError, ModelError
from compressctl.measure.latency import SETS, LatencyOptions, compare_latency, latency
from tests.graphs import chain


def model(path, layers: int, width: int = 256):
    ir.save(chain(layers, width), path)
    return path


FEEDS = {"x": np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)}
WALK = standing(FEEDS)


def test_slower_faster_and_the_same_model(tmp_path) -> None:
    small, large = model(tmp_path / "small.onnx", 1), model(tmp_path / "large.onnx", 12)
    slower, same = compare_latency(small, [large, small], WALK, LatencyOptions(threads=1, seconds=0.8))
    (faster,) = compare_latency(large, [small], WALK, LatencyOptions(threads=1, seconds=0.5))
    assert 1 < slower.low <= slower.ratio <= slower.high
    assert faster.low <= faster.ratio <= faster.high < 1
    assert same.low <= same.ratio <= same.high
    assert same.high - same.low < slower.low - 1
    assert slower.result.median_ms > slower.baseline.median_ms > 0
    assert slower.result.p95_ms >= slower.result.median_ms
    assert slower.result.load_ms > 0
    assert slower.result.runs == slower.baseline.runs
    assert slower.result.low_ms <= slower.result.median_ms <= slower.result.high_ms
    assert slower.witnesses.cpu is not None  # one thread has a clock of its own


def test_a_model_against_itself_is_not_told_apart(tmp_path) -> None:
    path = model(tmp_path / "model.onnx", 4)
    runs = (
        compare_latency(path, [path], WALK, LatencyOptions(threads=1, seconds=0.5, seed=seed))[0] for seed in range(4)
    )
    assert any(run.low <= 1 <= run.high for run in runs)  # all four miss once in 100,000 times


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_printed_side_by_side_agrees_beside_other_work(threads: int, tmp_path) -> None:
    small, large = model(tmp_path / "small.onnx", 2, 512), model(tmp_path / "large.onnx", 6, 512)
    others = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(2)]
    for other in others:
        other.start()
    try:
        feeds = {"x": np.ones((4, 512), np.float32)}
        (found,) = compare_latency(large, [small], standing(feeds), LatencyOptions(threads=threads, seconds=0.3))
    finally:
        for other in others:
            other.kill()
            other.join()
    assert found.result.median_ms / found.baseline.median_ms == pytest.approx(found.ratio, rel=1e-9)
    assert found.low <= found.ratio <= found.high
    assert (found.witnesses.cpu is None) == (threads > 1)


def test_one_model_alone(tmp_path) -> None:
    alone = latency(model(tmp_path / "model.onnx", 2), WALK, LatencyOptions(threads=1, seconds=0.2))
    assert 0 < alone.median_ms <= alone.p95_ms
    assert alone.runs > SETS[0]


def test_what_cannot_run_is_an_error_and_leaves_the_garbage_collector_on(tmp_path) -> None:
    path = model(tmp_path / "model.onnx", 1)
    with pytest.raises(DataError, match="is fed the shape 4x255"):
        compare_latency(path, [path], standing({"x": FEEDS["x"][:, 1:]}), LatencyOptions())
    with pytest.raises(ModelError, match=r"missing\.onnx"):
        compare_latency(path, [tmp_path / "missing.onnx"], WALK, LatencyOptions())
    assert gc.isenabled()
