"""Untrained networks, whose equal weights the exporter merged, train as they do in torch."""

import io

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from compressctl.measure.session import Session
from compressctl.torchexec.merged import separate_merged
from compressctl.torchexec.module import GraphModule
from tests.graphs import model as graph


def network() -> nn.Module:
    """Two blocks whose norms are equal: ones, zeros, and running means that equal the biases."""
    torch.manual_seed(0)
    block = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*block, nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(64))


def exported(native: nn.Module) -> ir.Model:
    file = io.BytesIO()
    preserve = torch.onnx.TrainingMode.PRESERVE
    native.eval()
    x = torch.zeros(2, 4, 4, 4)
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(native, (x,), file, dynamo=False, training=preserve, do_constant_folding=False, **names)
    return ir.from_proto(onnx.load_model_from_string(file.getvalue()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_untrained_network_trains_as_in_torch():
    native = network()
    model = exported(native)
    x = torch.randn(2, 4, 4, 4)
    assert sum(node.op_type == "Identity" for node in model.graph) > 0  # the exporter did merge
    before = Session(model).run({"x": x.numpy()})["y"]
    assert separate_merged(model) > 0
    np.testing.assert_array_equal(Session(model).run({"x": x.numpy()})["y"], before)
    assert "4.weight" in model.graph.initializers  # under the name that it had
    module = GraphModule(model)
    assert sum(w.numel() for w in module.weights.values()) == sum(p.numel() for p in native.parameters())
    assert len(module.statistics) == 4
    losses = []
    for network_, predict in ((native, native), (module, lambda x: module({"x": x})["y"])):
        network_.train()
        optimizer = torch.optim.SGD(network_.parameters(), lr=0.01)
        losses.append([])
        for step in range(5):
            loss = (predict(x) - step).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_equal_vectors_that_nodes_share_directly_are_separated_and_tied_weights_stay():
    arrays = {
        "w": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32),
        "ones": np.ones(4, np.float32),
        "tied": np.arange(4, dtype=np.float32),
    }
    body = """a = MatMul(x, w)  b = LayerNormalization(a, ones, tied)  c = MatMul(b, w)
              y = LayerNormalization(c, ones, tied)"""
    model = graph(body, arrays, "float[N, 4] x", "float[N, 4] y")
    assert separate_merged(model) == 1
    assert set(GraphModule(model).weights) == {"w", "ones", "ones_1", "tied"}
    assert separate_merged(model) == 0


def test_biases_of_recurrent_layers_are_separated():
    arrays = {name: np.random.default_rng(0).normal(size=(1, 8, 2)).astype(np.float32) for name in ("w", "r")}
    arrays["zeros"] = np.zeros((1, 16), np.float32)
    body = """a, h = LSTM <hidden_size = 2> (x, w, r, zeros)  two = Constant <value_ints = [1]> ()
              b = Squeeze(a, two)  y, g = LSTM <hidden_size = 2> (b, w, r, zeros)"""
    model = graph(body, arrays, "float[S, 1, 2] x", "float[S, 1, 1, 2] y")
    assert separate_merged(model) == 1
    assert set(GraphModule(model).weights) == {"w", "r", "zeros", "zeros_1"}
