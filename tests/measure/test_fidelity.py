"""Fidelity of outputs against numpy on the whole of them, and its view of wrong scale and NaN."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import ModelError
from compressctl.measure.fidelity import fidelity
from compressctl.measure.session import Session
from compressctl.model.scores import Classes
from tests import graphs

X = np.random.default_rng(0).normal(size=(37, 5)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(5, 5)).astype(np.float32)


def _session(body: str, batch: str = "N", outputs: str = "float[{0}, 5] y") -> Session:
    arrays = {"w": W, "k": np.float32(0.9), "big": np.float32(3e38), "zero": np.float32(0)}
    return Session(graphs.model(body, arrays, f"float[{batch}, 5] x", outputs.format(batch)), threads=1)


def _fidelity(tmp_path, before: Session, after: Session, batch_size: int = 8, x: np.ndarray = X):
    np.save(tmp_path / "x.npy", x)
    source = open_source(f"{tmp_path}/x.npy", before.inputs)
    return fidelity(before, after, source, batch_size, scores={"y": Classes()})


@pytest.mark.parametrize(("batch", "batch_size"), [("N", 1), ("N", 16), ("8", 1)])
def test_figures_are_numpys(tmp_path, batch, batch_size):
    before, after = _session("y = Identity(x)", batch), _session("y = MatMul(x, w)", batch)
    (found,) = _fidelity(tmp_path, before, after, batch_size)
    b, r = X.astype(np.float64), (X @ W).astype(np.float64)
    assert found.agreement == (b.argmax(1) == r.argmax(1)).mean() and found.count == 37
    assert found.sqnr_db == pytest.approx(10 * np.log10((b**2).sum() / ((b - r) ** 2).sum()), rel=1e-5)
    assert found.cosine == pytest.approx((b * r).sum() / np.sqrt((b**2).sum() * (r**2).sum()), rel=1e-5)
    p = np.exp(b) / np.exp(b).sum(1, keepdims=True)
    lost = p.max(1) - np.take_along_axis(p, r.argmax(1)[:, None], 1)[:, 0]
    assert found.expected_drop == pytest.approx(lost.mean(), rel=1e-5) and found.values == b.size
    assert found.scale == pytest.approx(np.linalg.lstsq(b.reshape(-1, 1), r.ravel(), rcond=None)[0][0], rel=1e-5)
    assert found.max_abs_error == pytest.approx(np.abs(b - r).max(), rel=1e-5)
    assert (found.baseline_non_finite, found.result_non_finite) == (0, 0)


def test_a_wrong_scale_is_visible(tmp_path):
    (found,) = _fidelity(tmp_path, _session("y = Identity(x)"), _session("y = Mul(x, k)"))
    assert found.agreement == 1 and found.cosine == pytest.approx(1) and found.scale == pytest.approx(0.9)
    assert found.sqnr_db == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(("batch", "batch_size"), [("N", 1), ("N", 16), ("8", 1)])
def test_an_offset_is_no_signal(tmp_path, batch, batch_size):
    before, after = _session("y = Add(x, k)", batch), _session("a = MatMul(x, w) y = Add(a, k)", batch)
    (found,) = _fidelity(tmp_path, before, after, batch_size, X + 100)
    b, error = X.astype(np.float64) + 100, (X + 100) @ W - (X + 100)
    expected = 10 * np.log10(((b - b.mean(0)) ** 2).sum() / (error**2).sum())
    assert found.varying_db == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("body", "samples"), [("y = Flatten<axis = 0>(a)", 37), ("y = Identity(a)", 7)])
def test_nothing_varies_without_rows_or_with_few_samples(tmp_path, body, samples):
    before, after = (_session(f"a = {a} {body}", outputs="float[a, b] y") for a in ("Identity(x)", "Mul(x, k)"))
    assert _fidelity(tmp_path, before, after, x=X[:samples])[0].varying_db is None


def test_equal_models(tmp_path):
    model = _session("y = MatMul(x, w)")
    (found,) = _fidelity(tmp_path, model, model)
    assert (found.agreement, found.sqnr_db, found.cosine, found.scale, found.max_abs_error) == (1, np.inf, 1, 1, 0)


def test_nan_is_reported(tmp_path):
    (found,) = _fidelity(tmp_path, _session("y = Identity(x)"), _session("y = Sqrt(x)"))
    assert found.baseline_non_finite == 0 and found.result_non_finite == (X < 0).sum()
    assert np.isnan([found.sqnr_db, found.cosine, found.scale, found.max_abs_error]).all()
    agreeing = (X >= 0).all(1)  # a row with NaN never agrees
    assert found.agreement == agreeing.mean()


def test_infinities_that_both_have_are_left_out(tmp_path):
    overflow = "a = Mul(x, big) b = Abs(x) one = Greater(b, k) y = Where(one, a, x)"
    x = X.copy()
    x[0, 0] = 1e3  # overflows in both
    scaled = overflow.replace("Where(one, a, x)", "Where(one, a, c)").replace("one =", "c = Mul(x, k) one =")
    (found,) = _fidelity(tmp_path, _session(overflow), _session(scaled), x=x)
    small = np.abs(x) <= np.float32(0.9)
    with np.errstate(over="ignore"):
        b = np.where(small, x, x * np.float32(3e38))
    assert found.baseline_non_finite == found.result_non_finite == np.isinf(b).sum() > 0
    assert np.isfinite(found.max_abs_error) and np.isfinite(found.sqnr_db)
    (found,) = _fidelity(tmp_path, _session("y = Identity(x)"), _session(overflow), x=x)
    assert found.max_abs_error == np.inf and np.isnan([found.sqnr_db, found.cosine, found.scale]).all()


def test_several_outputs_of_several_kinds(tmp_path):
    outputs = "float[{0}, 5] y, float[{0}, 1] s, int64[{0}, 5] i, float z"
    body = "y = Identity(x) s = ReduceMean<axes = [1]>(x) a = Mul(x, x) i = Cast<to = 7>(a) z = Identity(zero)"
    before = _session(body, outputs=outputs)
    after = _session(body.replace("Mul(x, x)", "Abs(x)"), outputs=outputs)
    y, s, i, z = _fidelity(tmp_path, before, after)
    assert [found.name for found in (y, s, i, z)] == ["y", "s", "i", "z"]
    assert (y.agreement, s.agreement, i.agreement, z.agreement) == (1, None, None, None)
    assert i.equal == ((X * X).astype(np.int64) == np.abs(X).astype(np.int64)).mean() and y.equal is None
    assert i.max_abs_error == np.abs((X * X).astype(np.int64) - np.abs(X).astype(np.int64)).max()
    assert (z.sqnr_db, z.cosine) == (np.inf, 1)


def test_a_silent_baseline(tmp_path):
    (found,) = _fidelity(tmp_path, _session("y = Mul(x, zero)"), _session("y = Identity(x)"))
    assert found.sqnr_db == -np.inf and np.isnan(found.cosine) and np.isnan(found.scale)
    (found,) = _fidelity(tmp_path, _session("y = Identity(x)"), _session("y = Mul(x, zero)"))
    assert found.sqnr_db == 0 and np.isnan(found.cosine) and found.scale == 0


@pytest.mark.parametrize(("axis", "places"), [(-1, [37, 5]), (1, [37, 4])])
def test_scores_along_any_axis(tmp_path, axis, places):
    x = 3 * np.random.default_rng(2).normal(size=(37, 5, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    body, shape = "a = Add(x, b) y = Mul(a, h)", "float[N, 5, 4]"
    offsets = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    before, after = (
        Session(graphs.model(body, {"h": np.float32(0.5), "b": b}, f"{shape} x", f"{shape} y"), threads=1)
        for b in (0 * offsets, offsets)
    )
    (found,) = fidelity(before, after, open_source(f"{tmp_path}/x.npy", before.inputs), 8, scores={"y": Classes(axis)})
    same = x.argmax(axis) == (x + offsets).argmax(axis)
    assert list(same.shape) == places and found.agreement == same.mean() and found.count == 37


@pytest.mark.parametrize("kind", ["unit length", "cosines", "small"])
def test_what_is_unsure_is_no_score(tmp_path, kind):
    x = np.random.default_rng(2).normal(size=(37, 5)).astype(np.float32)
    x = {"unit length": x / np.linalg.norm(x, axis=1, keepdims=True), "cosines": 0.3 + 0.05 * x, "small": 0.1 * x}[kind]
    (found,) = _fidelity(tmp_path, _session("y = Identity(x)"), _session("y = MatMul(x, w)"), x=x)
    assert found.agreement is None and found.expected_drop is None


def test_models_that_cannot_be_compared(tmp_path):
    before = _session("y = Identity(x)")
    with pytest.raises(ModelError, match=r"lacks the output 'y' \(it has q\)"):
        _fidelity(tmp_path, before, _session("q = Identity(x)", outputs="float[{0}, 5] q"))
    flat = _session("y = Flatten<axis = 0>(x)", outputs="float[a, b] y")
    with pytest.raises(ModelError, match=r"'y' .* differ in shape: \[1, 40\] and \[8, 5\]"):
        _fidelity(tmp_path, before, flat)


def test_padding_is_not_compared(tmp_path):
    """What models give for padding differs; of the two tokens of each text, one does by a tenth."""

    def session(padding: float, last: float) -> Session:
        body = "y = Mul(x, k) m = Cast <to = 1> (attention_mask) flat = Add(m, one)"
        arrays = {"k": np.reshape([1, last, padding, padding], (1, 4, 1)), "one": np.array([[1, last, 1, 1]])}
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        inputs, outputs = "float[N,4,3] x, int64[N,4] attention_mask", "float[N,4,3] y, float[N,4] flat"
        return Session(graphs.model(body, arrays, inputs, outputs), threads=1)

    x, mask = np.ones((5, 4, 3), np.float32), np.tile([1, 1, 0, 0], (5, 1))
    np.savez(tmp_path / "x.npz", x=x, attention_mask=mask)
    before, after = session(1, 1), session(9, 0.9)
    source = open_source(f"{tmp_path}/x.npz", before.inputs)
    tokens, flat = fidelity(before, after, source, 2)
    assert tokens.values == 5 * 2 * 3 and flat.values == 5 * 4
    assert tokens.sqnr_db == pytest.approx(10 * np.log10(2 / 0.01), rel=1e-4)
