"""Changed samples against scipy, the statistics of noise, and gradients that are known."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import softmax

from compressctl.data.first import First
from compressctl.data.notation import open_source
from compressctl.measure.metrics import parse_metric
from compressctl.robustness.attack import fgsm
from compressctl.robustness.changed import Changed
from compressctl.robustness.changes import adversarial, blurred, brighter, flatter, noisy
from compressctl.robustness.inputs import InputSpread, spreads
from compressctl.tensorspec import TensorSpec
from tests import graphs

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 3, 12, 9)).astype(np.float32)
NCHW, NHWC = (InputSpread(0.5, 0.0, 1.0, layout) for layout in ("NCHW", "NHWC"))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [(12, 9), (2, 3)])
def test_blur_is_scipys(sigma, size):
    images = IMAGES[:, :, : size[0], : size[1]]
    expected = ndimage.gaussian_filter(images.astype(np.float64), (0, 0, sigma, sigma), mode="reflect")
    np.testing.assert_allclose(blurred(images, NCHW, sigma), expected, atol=1e-6)
    last = blurred(images.transpose(0, 2, 3, 1), NHWC, sigma)
    np.testing.assert_allclose(last.transpose(0, 3, 1, 2), expected, atol=1e-6)


def test_brightness_and_contrast():
    np.testing.assert_allclose(brighter(IMAGES, NCHW, 0.4), np.minimum(IMAGES + 0.2, 1), atol=1e-6)
    mean = IMAGES.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(flatter(IMAGES, NCHW, 0.25), mean + 0.25 * (IMAGES - mean), atol=1e-6)
    channels_last = flatter(IMAGES.transpose(0, 2, 3, 1), NHWC, 0.25).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(channels_last, mean + 0.25 * (IMAGES - mean), atol=1e-6)


def test_noise_has_the_strength_that_was_asked_for():
    spread, array = InputSpread(2.0, -1.0, 1.0, None), np.zeros((200, 500), np.float32)
    noise = noisy(array, spread, 0.3, (7,), 0) / 0.6  # values of no images may leave their range
    count = noise.size
    assert abs(noise.mean()) < 4 / np.sqrt(count) and abs(noise.var() - 1) < 4 * np.sqrt(2 / count)
    assert abs(np.mean(noise**4) - 3) < 4 * np.sqrt(96 / count)  # as of a normal distribution
    parts = [noisy(array[start : start + 7], spread, 0.3, (7,), start) for start in range(0, 200, 7)]
    np.testing.assert_array_equal(np.concatenate(parts) / 0.6, noise)  # whatever the batches
    assert not np.array_equal(noisy(array, spread, 0.3, (8,), 0) / 0.6, noise)


def test_images_keep_to_their_range():
    assert noisy(IMAGES, NCHW, 5, (0,), 0).min() == 0 and noisy(IMAGES, NCHW, 5, (0,), 0).max() == 1
    assert adversarial(IMAGES, NCHW, np.ones_like(IMAGES), 5).min() == 1


def linear(folder, batch="batch"):
    w, b = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    body = "[flat] f = Flatten (x) [fc] scores = Gemm (f, w, b)"
    dims = f"float[{batch}, 4, 1] x", f"float[{batch}, 3] scores"
    path = graphs.save(folder / "linear.onnx", body, {"w": w, "b": b}, *dims)
    x, y = RNG.normal(size=(21, 4, 1)).astype(np.float32), RNG.integers(0, 3, 21)
    np.savez(folder / "d.npz", x=x, labels=y)
    source = open_source(str(folder / "d.npz"), [TensorSpec("x", "float32", (batch, 4, 1))])
    return path, First(source, 20, labels=True), w, b, x[:20], y[:20]


@pytest.mark.parametrize("batch", ["batch", 8])
def test_fgsm_follows_the_sign_of_the_softmax_gradient(batch, tmp_path, resources):
    path, source, w, b, x, y = linear(tmp_path, batch)
    spread = spreads(source, 5)
    change = fgsm(path, source, parse_metric("top1"), spread, 0.1, resources)
    changed = Changed(source, change)
    found = np.concatenate([one.feeds["x"][: one.count] for one in changed.batches(8)])
    np.testing.assert_array_equal(np.concatenate([one.labels for one in changed.batches(8)]), y)
    # d cross-entropy / dx = W (softmax(xW + b) - onehot)
    gradient = (softmax(x[..., 0] @ w + b, axis=1) - np.eye(3)[y]) @ w.T
    np.testing.assert_allclose(found, x + 0.1 * x.std() * np.sign(gradient)[..., None], atol=1e-6)


def test_fgsm_with_other_labels_follows_the_squared_error(tmp_path, resources):
    path, source, w, b, x, _ = linear(tmp_path)
    y = RNG.normal(size=(20, 3)).astype(np.float32)
    np.savez(tmp_path / "e.npz", x=x, labels=y)
    source = open_source(str(tmp_path / "e.npz"), source.inputs)
    change = fgsm(path, source, parse_metric("mse"), spreads(source, 5), 0.1, resources)
    found = np.concatenate([one.feeds["x"] for one in Changed(source, change).batches(8)])
    gradient = (x[..., 0] @ w + b - y) @ w.T
    np.testing.assert_allclose(found, x + 0.1 * x.std() * np.sign(gradient)[..., None], atol=1e-6)


def test_spreads_are_numpys(tmp_path):
    x = (100 + RNG.normal(size=(50, 3, 5, 5))).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, n=np.arange(50), z=x.transpose(0, 2, 3, 1), w=x[:, 0])
    shapes = {"x": ("batch", 3, 5, 5), "z": ("batch", None, None, 3), "w": ("batch", 5, 5)}
    inputs = [TensorSpec(name, "float32", shape) for name, shape in shapes.items()]
    found = spreads(open_source(str(tmp_path / "d.npz"), [*inputs, TensorSpec("n", "int64", ("batch",))]), 7)
    assert [one.layout for one in found.values()] == ["NCHW", "NHWC", None] and list(found) == ["x", "z", "w"]
    assert found["x"].std == pytest.approx(x.astype(np.float64).std(), rel=1e-12)
    assert (found["w"].low, found["w"].high) == (x[:, 0].min(), x[:, 0].max())
