"""What a ScriptModule keeps from call to call becomes inputs and outputs, which go on as the module does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compressctl.data.carried import CarriedStates
from compressctl.data.notation import open_source
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.save import save_model
from compressctl.model.torchscript import convert, verify_checks
from compressctl.tensorspec import parse_tensor_specs

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Streaming(nn.Module):
    """A detector as they are deployed: a context, a hidden state, rates in a list, and branches on numbers it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = [8000, 16000]
        self.fast = nn.GRUCell(12, 6)
        self.slow = nn.GRUCell(10, 6)
        self._context = torch.zeros(0)
        self._state = torch.zeros(0)
        self._last_rate = 0
        self._last_batch = 0

    @torch.jit.export
    def reset_states(self) -> None:
        self._context = torch.zeros(0)
        self._state = torch.zeros(0)

    def forward(self, x: Tensor, rate: int) -> Tensor:
        if rate not in self.rates:
            raise ValueError("unknown rate")
        if self._last_batch and self._last_batch != x.size(0):
            self.reset_states()
        if self._last_rate and self._last_rate != rate:
            self.reset_states()
        size = 4 if rate == 16000 else 2
        if not len(self._context):
            self._context = torch.zeros(x.size(0), size)
        x = torch.cat([self._context, x], 1)
        state = self._state[0] if len(self._state) else None
        state = self.fast(x, state) if rate == 16000 else self.slow(x, state)
        self._state = state.unsqueeze(0)
        self._context = x[:, -size:]
        self._last_rate, self._last_batch = rate, x.size(0)
        return state.sum(1, keepdim=True)


class WritesInto(nn.Module):
    """Writes into a buffer of a module inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.register_buffer("window", torch.zeros(3, 4))
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.relu_(self.linear(x))
        self.inner.window.copy_(torch.cat([self.inner.window[1:], y.mean(0, keepdim=True)]))
        return {"smooth": y + self.inner.window.mean(0)}


class Follows(nn.Module):
    """Keeps a mean of one dimension, without an axis of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.5 * self.mean + 0.5 * torch.tanh(self.linear(x)).mean(0)
        return x - self.mean


class Average(nn.Module):
    def __init__(self, first: Tensor) -> None:
        super().__init__()
        self.mean = first

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.5 * self.mean + 0.5 * x.mean(0, keepdim=True)
        return x - self.mean


class Grows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.zeros(0, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.cache = torch.cat([self.cache, x])
        return self.cache.sum(0)


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.jit.Attribute([], list[Tensor])

    def forward(self, x: Tensor) -> Tensor:
        self.cache = [x]
        return x


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.last = torch.zeros(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.last + x * self.calls
        return self.last


class First(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.first):
            self.first = x
        return x - self.first


def _saved(module: nn.Module, folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "model.pt"
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def _converted(path: Path, folder: Path, *specs: str):
    model, notes, checks = convert(path, parse_tensor_specs(specs), folder)
    session = Session(model, threads=1)
    verify_checks(checks, session.run, path)
    return session, [note.text for note in notes], [note.kind for note in notes]


def _goes_on(session: Session, path: Path, states: dict[str, str], batch: int, shape: tuple[int, ...], *values) -> None:
    """Compare five calls in a row with torch."""
    module = torch.jit.load(str(path))
    sizes = {spec.name: [dim if isinstance(dim, int) else batch for dim in spec.shape] for spec in session.inputs}
    kept = {name: np.zeros(sizes[name], np.float32) for name in states}
    for _ in range(5):
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            expected = module(x, *values)
        outputs = session.run({"x": x.numpy(), **kept})
        kept = {name: outputs[output] for name, output in states.items()}
        (one,) = expected.values() if isinstance(expected, dict) else [expected]
        np.testing.assert_allclose(next(iter(outputs.values())), one.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rate", "length"), [(8000, 8), (16000, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_streaming_module_goes_on_from_its_states(rate: int, length: int, batch: int, tmp_path: Path) -> None:
    path = _saved(Streaming(), tmp_path)
    session, notes, kinds = _converted(path, tmp_path, f"x:1x{length}", f"rate={rate}")
    assert [str(spec) for spec in session.inputs] == [
        "x:batchx8:float32",
        f"context_in:batchx{4 if rate == 16000 else 2}:float32",
        "state_in:1xbatchx6:float32",
    ]
    assert kinds == ["done", "done"]
    assert "_context, which the module keeps, is its input context_in and output context_out" in notes[0]
    states = {"context_in": "context_out", "state_in": "state_out"}
    _goes_on(session, path, states, batch, (length,), rate)


def test_a_buffer_that_is_written_into_is_a_state(tmp_path: Path) -> None:
    path = _saved(WritesInto(), tmp_path)
    session, _, _ = _converted(path, tmp_path, "x:1x4")
    assert [spec.name for spec in session.outputs] == ["smooth", "inner_window_out"]
    _goes_on(session, path, {"inner_window_in": "inner_window_out"}, 2, (4,))


def test_a_state_that_begins_otherwise_is_told(tmp_path: Path) -> None:
    _, _, kinds = _converted(_saved(Average(torch.zeros(1, 4)), tmp_path), tmp_path, "x:1x4")
    assert kinds == ["done"]
    _, notes, kinds = _converted(_saved(Average(torch.ones(1, 4)), tmp_path), tmp_path, "x:1x4")
    assert kinds == ["done", "warning"]
    assert "does not begin as zeros" in notes[1]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Grows, "keeps in cache grows from call to call"),
        (Lists, "keeps a container of tensors in cache"),
        (Counts, "depends on the calls before it by more than the tensors in last"),
        (First, "keeps in first does not begin as zeros"),
    ],
)
def test_what_cannot_be_a_state_is_named(build: type[nn.Module], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        convert(_saved(build(), tmp_path), parse_tensor_specs(["x:1x4"]), tmp_path)


def test_states_of_one_dimension_are_known_in_the_file_and_carried(tmp_path: Path) -> None:
    module, x = Follows().eval(), np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(module), str(path))
    model, _, _ = convert(path, parse_tensor_specs(["x:1x4"]), tmp_path)
    written = tmp_path / "written.onnx"
    save_model(model, written, overwrite=False)
    inputs, _ = interface(load_model(written).model)
    assert [(spec.name, spec.shape, spec.state) for spec in inputs[1:]] == [("mean_in", (4,), "mean_out")]
    np.savez(tmp_path / "x.npz", x=x)
    session = Session(written, threads=1)
    source = CarriedStates(open_source(str(tmp_path / "x.npz"), inputs), session.run)
    found = [session.run(batch.feeds)[session.outputs[0].name] for batch in source.batches(8)]
    expected = []
    for sequence in x:
        module.mean = torch.zeros(4)
        expected += [module(torch.from_numpy(step[None])).detach().numpy() for step in sequence]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(source.walk(4).steps) == 5


@pytest.mark.long
def test_commands_carry_what_the_module_keeps(call, tmp_path: Path) -> None:
    path, data = _saved(Streaming(), tmp_path), tmp_path / "sequences.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((8, 5, 8)).astype(np.float32))
    given = ["--input", "x:1x8", "--input", "rate=16000", "--threads", "1"]
    result = tmp_path / "int8.onnx"
    code, _, stderr = call("quantize", path, "-o", result, *given, "--calibrate", data, "--no-measure")
    assert code == 0, stderr
    assert [spec.name for spec in Session(result, threads=1).inputs] == ["x", "context_in", "state_in"]
    code, stdout, stderr = call("bench", path, result, *given, "--data", data, "--seconds", "0.2", "--json")
    assert code == 0, stderr
    measured = json.loads(stdout)["models"]
    assert [one["path"] for one in measured] == [str(path), str(result)]
    assert measured[1]["size_ratio"] == measured[1]["bytes"] / measured[0]["bytes"]
