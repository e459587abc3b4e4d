"""The executor against native torch modules and against onnxruntime."""

import io

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.torchexec.module import GraphModule, require_trainable
from sample_models.export import save_onnx
from sample_models.models import Cnn, Lstm, Mlp, Transformer
from tests.graphs import model as graph

RNG = np.random.default_rng(0)


class Path(io.BytesIO):
    """What `save_onnx` needs of a path."""

    def write_bytes(self, data: bytes) -> None:
        self.write(data)


def exported(native: nn.Module, *shape: int) -> ir.Model:
    file = Path()
    save_onnx(native.eval(), torch.zeros(3, *shape), file)
    return ir.from_proto(onnx.load_model_from_string(file.getvalue()))


NETWORKS = {
    "mlp": (Mlp, (1, 8, 8)),
    "cnn": (Cnn, (1, 8, 8)),
    "transformer": (Transformer, (8, 8)),
    "lstm": (Lstm, (8, 8)),
}


@pytest.mark.parametrize("mode", ["interpret", "trace"])
@pytest.mark.parametrize("name", NETWORKS)
def test_twenty_steps_equal_those_of_the_native_module(name, mode):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    native = build()
    executed = GraphModule(exported(native, *shape), mode=mode)
    images, labels = torch.rand(20, 16, *shape), torch.randint(0, 10, (20, 16))
    losses = []
    for module, predict in ((native, native), (executed, lambda x: executed({"input": x})["logits"])):
        module.train()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
        losses.append([])
        for x, y in zip(images, labels, strict=True):
            loss = F.cross_entropy(predict(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    native.eval(), executed.eval()
    x = torch.rand(5, *shape)
    np.testing.assert_allclose(executed({"input": x})["logits"].detach(), native(x).detach(), rtol=2e-4, atol=2e-5)
    assert executed.interpreted is None


def test_every_parameter_of_the_native_module_trains():
    for build, shape in NETWORKS.values():
        native = build()
        executed = GraphModule(exported(native, *shape))
        count = sum(parameter.numel() for parameter in native.parameters())
        weights = sum(weight.numel() for weight in executed.weights.values())
        assert weights == count, build


def test_write_back_changes_the_initializers_alone():
    native = Cnn()
    model = exported(native, 1, 8, 8)
    before = ir.to_proto(model.clone())
    executed = GraphModule(model).train()
    optimizer = torch.optim.SGD(executed.parameters(), lr=0.1)
    executed({"input": torch.rand(8, 1, 8, 8)})["logits"].square().sum().backward()
    optimizer.step()
    assert ir.to_proto(model).SerializeToString() == before.SerializeToString()
    executed.write_back()
    after = ir.to_proto(model)
    changed = {a.name for a, b in zip(after.graph.initializer, before.graph.initializer, strict=True) if a != b}
    assert changed == set(executed.weights) | set(executed.statistics)
    for proto in (before, after):
        del proto.graph.initializer[:]
    assert after.SerializeToString() == before.SerializeToString()
    x = RNG.random((4, 1, 8, 8), np.float32)
    ours = executed.eval()({"input": torch.from_numpy(x)})["logits"].detach()
    np.testing.assert_allclose(Session(model).run({"input": x})["logits"], ours, rtol=1e-4, atol=1e-5)


def test_a_shared_weight_is_one_parameter_behind_whatever_rearranges_it():
    w = RNG.standard_normal((4, 4)).astype(np.float32)
    model = graph(
        "t = Transpose<perm = [1, 0]>(w)  i = Identity(w)  h = MatMul(x, t)  y = MatMul(h, i)",
        {"w": w},
        "float[N, 4] x",
        "float[N, 4] y",
    )
    module = GraphModule(model)
    assert list(module.weights) == ["w"]
    x = torch.from_numpy(RNG.standard_normal((3, 4)).astype(np.float32))
    module({"x": x})["y"].sum().backward()
    reference = torch.from_numpy(w).requires_grad_()
    (x @ reference.t() @ reference).sum().backward()
    torch.testing.assert_close(module.weights["w"].grad, reference.grad)


def test_weights_in_constant_nodes_and_of_half_precision_train():
    model = graph(
        """w = Constant<value = float[2, 2] {1.0, 2.0, 3.0, 4.0}>()  c = Cast<to = 1>(v)
           h = MatMul(x, w)  y = MatMul(h, c)""",
        {"v": np.eye(2, dtype=np.float16)},
        "float[N, 2] x",
        "float[N, 2] y",
    )
    module = GraphModule(model)
    assert {name: weight.dtype for name, weight in module.weights.items()} == {"w": torch.float32, "v": torch.float16}
    with torch.no_grad():
        for weight in module.weights.values():
            weight.mul_(2)
    module.write_back()
    x = RNG.standard_normal((3, 2)).astype(np.float32)
    expected = x @ np.array([[2, 4], [6, 8]], np.float32) * 2
    np.testing.assert_allclose(Session(model).run({"x": x})["y"], expected, rtol=1e-5)


def test_constants_of_formulas_masks_and_normalisation_are_no_weights():
    model = graph(
        """n = Mul(x, s)  p = Add(n, m)  h = MatMul(p, w)  g = Add(h, b)  k = Add(g, mask)
           e = Pow(k, two)  y = Div(e, d)""",
        {
            "s": np.ones(4, np.float32),
            "m": np.ones(4, np.float32),
            "w": np.eye(4, dtype=np.float32),
            "b": np.zeros(4, np.float32),
            "mask": np.array([0, 0, 0, -1e9], np.float32),
            "two": np.array(2, np.float32),
            "d": np.ones(4, np.float32),
        },
        "float[N, 4] x",
        "float[N, 4] y",
    )
    assert set(GraphModule(model).weights) == {"w", "b"} | {"m"}


def test_frozen_batch_norm_and_frozen_weights_stay():
    model = exported(Cnn(), 1, 8, 8)
    module = GraphModule(model, batch_norm="freeze", frozen=["stem.0.weight"]).train()
    before = {name: tensor.clone() for name, tensor in module.statistics.items()}
    module({"input": torch.rand(8, 1, 8, 8)})
    assert "stem.0.weight" not in module.weights
    assert all(torch.equal(before[name], tensor) for name, tensor in module.statistics.items())


def test_dropout_drops_in_training_alone():
    model = graph(
        "y = Dropout(x, ratio, training)",
        {"ratio": np.float32(0.5), "training": np.array(True)},
        "float[100, 100] x",
        "float[100, 100] y",
    )
    module = GraphModule(model)
    x = torch.ones(100, 100)
    module.train()
    first, second = module({"x": x})["y"], module({"x": x})["y"]
    assert set(first.unique().tolist()) == {0.0, 2.0} and not torch.equal(first, second)
    assert torch.equal(module.eval()({"x": x})["y"], x)


def test_shapes_are_folded_for_each_signature():
    model = graph(
        "s = Shape(x)  n = Gather(s, zero)  t = Concat<axis = 0>(n, minus)  y = Reshape(x, t)",
        {"zero": np.array([0]), "minus": np.array([-1])},
        "float[N, 2, 3] x",
        "float[N, M] y",
    )
    module = GraphModule(model)
    for rows in (2, 5, 2, 5):
        x = torch.rand(rows, 2, 3)
        assert torch.equal(module({"x": x})["y"], x.reshape(rows, 6))
    assert module.interpreted is None and len(module._functions) == 2


def test_what_depends_on_values_is_interpreted():
    model = graph("i = NonZero(x)  y = Transpose<perm = [1, 0]>(i)", {}, "float[N] x", "int64[K, 1] y")
    module = GraphModule(model)
    for values in ([0.0, 1.0, 2.0], [3.0, 0.0, 0.0]):
        assert module({"x": torch.tensor(values)})["y"].tolist() == np.argwhere(values).tolist()
    assert module.interpreted is not None


def test_all_nodes_that_cannot_be_executed_are_listed():
    model = graph("a = QuickGelu(x)  y = Unheard(a)", {}, "float[N] x", "float[N] y")
    with pytest.raises(ModelError, match=r"2 nodes .*QuickGelu 'QuickGelu_0'.*Unheard 'Unheard_1'"):
        GraphModule(model)


def test_integer_graphs_cannot_be_trained():
    model = graph("y = MatMulInteger(x, w)", {"w": np.eye(2, dtype=np.int8)}, "uint8[N, 2] x", "int32[N, 2] y")
    with pytest.raises(ModelError, match="MatMulInteger 'MatMulInteger_0'"):
        require_trainable(model)
    with pytest.raises(ModelError, match="no float weights"):
        require_trainable(graph("y = Relu(x)", {}, "float[N] x", "float[N] y"))


def test_the_first_node_that_is_not_finite_is_named():
    model = graph("a = Exp(x)  b = Log(a)  y = Neg(b)", {}, "float[N] x", "float[N] y")
    module = GraphModule(model)
    assert module.first_nonfinite({"x": torch.tensor([1.0])}) is None
    assert module.first_nonfinite({"x": torch.tensor([1e5])}) == "Exp_0"


def test_extra_outputs():
    model = graph("a = Exp(x)  y = Log(a)", {}, "float[N] x", "float[N] y")
    out = GraphModule(model, extra_outputs=["a"])({"x": torch.tensor([0.0, 1.0])})
    assert list(out) == ["y", "a"]
    torch.testing.assert_close(out["a"], torch.tensor([1.0, np.e]))
    with pytest.raises(ModelError, match="'b'"):
        GraphModule(model, extra_outputs=["b"])
