"""Measuring models that are too large to be open side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compressctl.data.walk import standing
from compressctl.measure import measurement, unpacked
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.measure.remembered import Remembered
from compressctl.measure.session import Session
from compressctl.model.save import save_model
from compressctl.quantization.schemes import SCHEMES
from compressctl.quantization.weights.rounding import Style
from compressctl.quantization.weights.storage import store
from compressctl.quantization.weights.targets import targets
from tests.graphs import chain

FEEDS = {"x": np.random.default_rng(0).standard_normal((3, 64), np.float32)}


def test_what_is_remembered_is_what_was_answered(tmp_path: Path) -> None:
    save_model(chain(2, 64), tmp_path / "m.onnx", overwrite=False)
    session = Session(tmp_path / "m.onnx", threads=1)
    expected, other = session.run(FEEDS), {"x": FEEDS["x"][:2]}
    remembered = Remembered(session, tmp_path)
    assert np.array_equal(remembered.run(FEEDS)["y"], expected["y"])
    remembered.close()
    assert np.array_equal(remembered.run(FEEDS)["y"], expected["y"])
    with pytest.raises(ValueError, match="was closed"):
        remembered.run(other)


def test_models_are_timed_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = tmp_path / "few.onnx", tmp_path / "many.onnx"
    save_model(chain(2, 64), few, overwrite=False)
    save_model(chain(40, 64), many, overwrite=False)
    alive = most = 0

    class Counted(Session):
        def __init__(self, path: Path, *, threads: int) -> None:
            nonlocal alive, most
            super().__init__(path, threads=threads)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr("compressctl.measure.latency.Session", Counted)
    (slower,) = compare_latency(few, [many], standing(FEEDS), LatencyOptions(threads=1), apart=True)
    assert most == 1
    assert slower.ratio > 1
    assert slower.ratio == pytest.approx(slower.result.median_ms / slower.baseline.median_ms)


@pytest.mark.parametrize(
    ("first", "result", "apart"), [(500, 500, True), (500, 140, False), (100, 100, False), (4000, 1500, True)]
)
def test_what_is_too_large_to_be_open_together(first: int, result: int, apart: bool) -> None:
    seen = [measurement._Seen(None, resident=megabytes * 1_000_000) for megabytes in (first, result)]
    assert measurement._too_large(seen) is apart


def test_packed_weights_are_unpacked_as_onnxruntime_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = chain(3, 64)
    grid = SCHEMES["int4"].grid
    assert grid is not None
    style = Style(grid, 16, offsets=True)
    for target in targets(packed.graph)[0]:
        store(packed.graph, target, style.round(target), None)
    path = tmp_path / "packed.onnx"
    save_model(packed, path, overwrite=False)
    (tmp_path / "work").mkdir()
    assert unpacked.unpacked(path, tmp_path / "work") == path
    monkeypatch.setattr(unpacked, "_LARGE", 1024)
    plain = unpacked.unpacked(path, tmp_path / "work")
    assert plain.parent == tmp_path / "work"
    assert np.array_equal(Session(plain, threads=1).run(FEEDS)["y"], Session(path, threads=1).run(FEEDS)["y"])
