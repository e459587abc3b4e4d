"""Learning rates over steps and groups."""

import numpy as np
import pytest
import torch

from compressctl.training.optimizer import make_optimizer, scale_names, schedule_factor, set_rate
from tests.graphs import model
from tests.training.tiny import options


def rates(steps: int = 100, **given) -> np.ndarray:
    return np.array([schedule_factor(step, steps, options(**given)) for step in range(steps)])


def test_cosine_is_torchs_after_warm_up():
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    native = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 90)
    want = []
    for _ in range(90):
        want.append(sgd.param_groups[0]["lr"])
        sgd.step()
        native.step()
    np.testing.assert_allclose(rates(warmup=0.1)[10:], want, atol=1e-12)


def test_warm_up_rises_evenly_and_never_from_zero():
    np.testing.assert_allclose(rates(warmup=0.1, schedule="constant")[:12], [*np.arange(1, 11) / 11, 1, 1])
    assert rates(1, warmup=0.9, schedule="cosine")[0] > 0
    np.testing.assert_allclose(rates(4, warmup=0, schedule="linear"), [1, 0.75, 0.5, 0.25])


def parameters(**shapes) -> dict[str, torch.Tensor]:
    return {name: torch.nn.Parameter(torch.full(shape, 0.01)) for name, shape in shapes.items()}


def test_only_weights_of_two_dimensions_decay():
    p = parameters(w=(3, 3), b=(3,), s=(3, 1))
    optimizer = make_optimizer(p, [], {"s"}, options(weight_decay=0.5))
    decay = {id(m): g["weight_decay"] for g in optimizer.param_groups for m in g["params"]}
    assert [decay[id(p[name])] for name in "wbs"] == [0.5, 0, 0]


def test_adam_moves_a_scale_by_a_share_of_its_size():
    p = parameters(w=(3, 3), s=(3,), t=())
    with torch.no_grad():
        p["t"].fill_(4.0)
    optimizer = make_optimizer(p, [], {"s", "t"}, options(weight_decay=0))
    set_rate(optimizer, 1e-2)
    for parameter in p.values():
        parameter.grad = torch.ones_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in p.items()}
    optimizer.step()
    moved = {name: float((before[name] - p[name].detach()).abs().max()) for name in p}
    assert moved["w"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["s"] == pytest.approx(1e-2 / 128, rel=1e-3)
    assert moved["t"] == pytest.approx(1e-2 * 4, rel=1e-3)


def test_sgd_takes_gradients_of_scales_as_they_are():
    optimizer = make_optimizer(parameters(s=(3,)), [], {"s"}, options(optimizer="sgd"))
    assert optimizer.param_groups[0]["factor"] == 1


def test_scales_are_found_by_their_place():
    arrays = {"s": np.float32(0.1), "z": np.uint8(0), "c": np.float32(2)}
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Mul(d, c)"
    assert scale_names(model(body, arrays, "float[N] x", "float[N] y").graph) == {"s"}
