"""The interval of a latency ratio: on synthetic noise whose truth is known, and on real models."""

import gc

import numpy as np
import onnx
import pytest

from compressctl.errors import DataError, ModelError
from compressctl.measure.latency import SETS, compare_latency, latency, ratio_interval

SESSION_NOISE = 0.02  # log of the ratio: what sets one pair of sessions apart from another


def synthetic(rng: np.random.Generator, truth: float, sets: int, rounds: int) -> list[np.ndarray]:
    """Logs of ratios with a shift for each set, strongly autocorrelated noise in it, and bursts of other processes."""
    result = []
    for _ in range(sets):
        noise = np.zeros(rounds)
        for i in range(1, rounds):
            noise[i] = 0.9 * noise[i - 1] + rng.normal(0, 0.01)
        stolen = (rng.random(rounds) < 0.1) * rng.normal(0, 0.7, rounds)
        result.append(np.log(truth) + rng.normal(0, SESSION_NOISE) + noise + stolen)
    return result


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("truth", [1.0, 0.6])
def test_the_interval_covers_the_truth_in_nine_of_ten_runs(sets: int, truth: float) -> None:
    rng = np.random.default_rng(sets)
    runs = [ratio_interval(synthetic(rng, truth, sets, 25), seed=i) for i in range(300)]
    assert np.mean([low <= truth <= high for _, low, high in runs]) >= 0.9
    assert np.mean([ratio for ratio, _, _ in runs]) == pytest.approx(truth, rel=0.01)


def test_resampling_rounds_alone_would_not_cover() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        rounds = np.concatenate(synthetic(rng, 1.0, 12, 25))
        means = np.median(rounds[rng.integers(len(rounds), size=(200, len(rounds)))], axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.8


def test_a_difference_beyond_the_noise_is_found() -> None:
    rng = np.random.default_rng(1)
    highs = [ratio_interval(synthetic(rng, 0.9, 12, 25), seed=i)[2] for i in range(100)]
    assert np.mean(np.array(highs) < 1) >= 0.95


def model(path, layers: int, width: int = 256):
    rng = np.random.default_rng(0)
    names = ["x", *(f"h{i}" for i in range(layers))]
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, width**-0.5, (width, width)).astype(np.float32), f"w{i}")
        for i in range(layers)
    ]
    nodes = [onnx.helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    inputs, outputs = ([onnx.helper.make_tensor_value_info(name, 1, ["N", width])] for name in ("x", names[-1]))
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path)
    return path


FEEDS = {"x": np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)}


def test_slower_faster_and_the_same_model(tmp_path) -> None:
    small, large = model(tmp_path / "small.onnx", 1), model(tmp_path / "large.onnx", 12)
    slower, same = compare_latency(small, [large, small], FEEDS, threads=1, seconds=0.8)
    (faster,) = compare_latency(large, [small], FEEDS, threads=1, seconds=0.5)
    assert 1 < slower.low <= slower.ratio <= slower.high
    assert faster.low <= faster.ratio <= faster.high < 1
    assert same.low <= same.ratio <= same.high
    assert same.high - same.low < slower.low - 1
    assert slower.result.median_ms > slower.baseline.median_ms > 0
    assert slower.result.p95_ms >= slower.result.median_ms
    assert slower.result.load_ms > 0
    assert slower.result.runs == slower.baseline.runs


def test_a_model_against_itself_is_not_told_apart(tmp_path) -> None:
    path = model(tmp_path / "model.onnx", 4)
    runs = (compare_latency(path, [path], FEEDS, threads=1, seconds=0.5, seed=seed)[0] for seed in range(4))
    assert any(run.low <= 1 <= run.high for run in runs)  # all four miss once in 100,000 times


def test_one_model_alone(tmp_path) -> None:
    alone = latency(model(tmp_path / "model.onnx", 2), FEEDS, threads=1, seconds=0.2)
    assert 0 < alone.median_ms <= alone.p95_ms
    assert alone.runs > SETS[0]


def test_what_cannot_run_is_an_error_and_leaves_the_garbage_collector_on(tmp_path) -> None:
    path = model(tmp_path / "model.onnx", 1)
    with pytest.raises(DataError, match="is fed the shape 4x255"):
        compare_latency(path, [path], {"x": FEEDS["x"][:, 1:]})
    with pytest.raises(ModelError, match=r"missing\.onnx"):
        compare_latency(path, [tmp_path / "missing.onnx"], FEEDS)
    assert gc.isenabled()
