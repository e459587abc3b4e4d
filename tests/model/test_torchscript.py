"""TorchScript conversion: the ONNX model computes in onnxruntime what the ScriptModule computes in torch."""

from __future__ import annotations

import os
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.errors import ModelError, UsageError
from compressctl.measure.session import Session
from compressctl.model.torchscript import Check, convert, verify_checks
from compressctl.notes import Note
from compressctl.tensorspec import parse_tensor_specs
from tests.samples import SAMPLES

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from compressctl.model.torchscript.interpreter import Interpreter  # noqa: E402
from sample_models.models import Transformer  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

DATA = Path(os.environ.get("COMPRESSCTL_TEST_DATA", "absent"))  # a folder of real models


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class Embedder(nn.Module):
    """Several inputs, an optional one, a dictionary as output, and one weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 16)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(16, 40, bias=False)
        self.output.weight = self.words.weight

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> dict[str, Tensor]:
        x = self.dropout(self.words(ids))
        if types is not None:
            x = x + types.unsqueeze(-1)
        weights = mask.unsqueeze(-1).to(x.dtype)
        pooled = (x * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return {"pooled": pooled, "logits": self.output(pooled)}


class Resizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.GroupNorm(2, 8)
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.hardswish(self.norm(self.down(x - self.mean)))
        y = F.interpolate(y, size=x.shape[2:], mode="nearest")
        return torch.cat([y, x], 1), y.mean([2, 3])


class Gate(nn.Module):
    """Control flow that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first = nn.BatchNorm2d(8)
        self.second = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.conv(x))
        y = self.second(y) * 2 if bool(x.mean() > 0) else y - 1
        return y.mean([2, 3])


class ByBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.size(0) == 1 else x + 1


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.reshape(1, -1))


class Converted(NamedTuple):
    model: ir.Model
    notes: tuple[Note, ...]
    checks: tuple[Check, ...]
    session: Session


def saved(module: object, folder: Path) -> Path:
    path = folder / "model.pt"
    torch.jit.save(module, str(path))
    return path


def scripted(module: nn.Module) -> object:
    return torch.jit.script(module.eval())


def traced(module: nn.Module, *example: Tensor) -> object:
    with torch.no_grad():
        return torch.jit.trace(module.eval(), example, check_trace=False)


def converted(path: Path, folder: Path, *specs: str) -> Converted:
    model, notes, checks = convert(path, parse_tensor_specs(specs), folder)
    session = Session(model, threads=1)
    verify_checks(checks, session.run, path)
    return Converted(model, notes, checks, session)


def assert_same(result: np.ndarray, expected: Tensor) -> None:
    reference = expected.detach().numpy()
    np.testing.assert_allclose(result, reference, rtol=0, atol=1e-5 * np.abs(reference).max())


def shape_of(value: ir.Value) -> list[int | str | None]:
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


SINGLE: dict[str, tuple[Callable[[], object], str, tuple[int, ...]]] = {
    "scripted transformer": (lambda: scripted(Transformer()), "input:1x8x8", (8, 8)),
    "traced TransformerEncoder": (lambda: traced(Encoder(), torch.randn(1, 5, 16)), "x:1x?x16", (7, 16)),
    "scripted LSTM": (lambda: scripted(Recurrent(nn.LSTM(8, 16, batch_first=True))), "x:1x6x8", (6, 8)),
    "traced GRU": (
        lambda: traced(Recurrent(nn.GRU(8, 16, batch_first=True)), torch.randn(1, 6, 8)),
        "x:batch,6,8",
        (6, 8),
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_same_results_at_any_batch(name: str, tmp_path: Path) -> None:
    build, spec, shape = SINGLE[name]
    module = build()
    result = converted(saved(module, tmp_path), tmp_path, spec)
    assert result.notes == ()
    assert shape_of(result.model.graph.inputs[0])[0] == shape_of(result.model.graph.outputs[0])[0] == "batch"
    for batch in (1, 5):
        x = torch.randn(batch, *shape)
        assert_same(result.session.run({spec.partition(":")[0]: x.numpy()})["output"], module(x))
    state = dict(module.named_parameters())
    weights = {n for n, value in result.model.graph.initializers.items() if value.dtype == ir.DataType.FLOAT}
    assert state.keys() - weights <= {"layer.bias_hh_l0"}  # ONNX holds both biases of a recurrent layer in one tensor


def test_recurrent_layers_hold_their_weights_as_initializers(tmp_path: Path) -> None:
    path = saved(scripted(Recurrent(nn.LSTM(8, 16, batch_first=True))), tmp_path)
    graph = converted(path, tmp_path, "x:1x6x8").model.graph
    (lstm,) = [node for node in graph if node.op_type == "LSTM"]
    assert [value.name for value in lstm.inputs[1:4]] == [
        "layer.weight_ih_l0",
        "layer.weight_hh_l0",
        "layer.bias_ih_l0",
    ]
    assert all(value.is_initializer() for value in lstm.inputs[1:4])
    assert lstm.name == "/layer/LSTM"


@pytest.mark.parametrize("name", ["cnn_scripted.pt", "cnn_traced.pt"])
def test_cnn_keeps_batch_normalization_and_names(name: str, tmp_path: Path) -> None:
    result = converted(SAMPLES / name, tmp_path, "input:1x1x8x8")
    reference = onnx.load(SAMPLES / "cnn.onnx")
    operators = [node.op_type for node in result.model.graph]
    assert operators.count("Conv") == operators.count("BatchNormalization") == 9
    for tensor in reference.graph.initializer:
        value = result.model.graph.initializers[tensor.name].const_value
        np.testing.assert_array_equal(value.numpy(), onnx.numpy_helper.to_array(tensor))
    assert "/block1/conv1/Conv" in {node.name for node in result.model.graph}
    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    expected = Session(SAMPLES / "cnn.onnx", threads=1).run({"input": x})["logits"]
    np.testing.assert_allclose(result.session.run({"input": x})["output"], expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not (DATA / "resnet20_traced.pt").exists(), reason="COMPRESSCTL_TEST_DATA holds no ResNet-20")
def test_resnet20_equals_its_onnx_export(tmp_path: Path) -> None:
    result = converted(DATA / "resnet20_traced.pt", tmp_path, "input:1x3x32x32")
    reference = Session(DATA / "resnet20_op17_bn.onnx", threads=1)
    x = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    (expected,) = reference.run({reference.inputs[0].name: x}).values()
    np.testing.assert_allclose(result.session.run({"input": x})["output"], expected, rtol=0, atol=1e-4)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    module = scripted(Embedder())
    path = saved(module, tmp_path)
    result = converted(path, tmp_path, "mask:n,length:int64", "ids:n,length:int64")  # by name, in any order
    assert [value.name for value in result.model.graph.inputs] == ["ids", "mask"]
    assert [shape_of(value) for value in result.model.graph.inputs] == [["n", "length"]] * 2
    assert [value.name for value in result.model.graph.outputs] == ["pooled", "logits"]
    ids, mask = torch.randint(0, 40, (3, 9)), torch.randint(0, 2, (3, 9))
    mask[:, 0] = 1
    outputs = result.session.run({"ids": ids.numpy(), "mask": mask.numpy()})
    for name, expected in module(ids, mask).items():
        assert_same(outputs[name], expected)
    # The tied weight is stored once.
    sizes = [value.const_value.size for value in result.model.graph.initializers.values()]
    assert sum(size >= 640 for size in sizes) == 1


def test_inputs_may_be_renamed_in_order_and_optional_ones_given(tmp_path: Path) -> None:
    module = scripted(Embedder())
    result = converted(saved(module, tmp_path), tmp_path, "a:1x4:int64", "b:1x4:int64", "c:1x4:float32")
    assert [value.name for value in result.model.graph.inputs] == ["a", "b", "c"]
    ids, mask, types = torch.randint(0, 40, (2, 4)), torch.ones(2, 4, dtype=torch.int64), torch.randn(2, 4)
    outputs = result.session.run({"a": ids.numpy(), "b": mask.numpy(), "c": types.numpy()})
    assert_same(outputs["logits"], module(ids, mask, types)["logits"])


def test_unknown_dimensions_are_dynamic_and_outputs_numbered(tmp_path: Path) -> None:
    module = scripted(Resizer())
    result = converted(saved(module, tmp_path), tmp_path, "x:1x3x?x?")
    assert [value.name for value in result.model.graph.outputs] == ["output", "output_1"]
    x = torch.randn(2, 3, 18, 41)
    for output, expected in zip(result.session.run({"x": x.numpy()}).values(), module(x), strict=True):
        assert_same(output, expected)
    (conv,) = [node for node in result.model.graph if node.op_type == "Conv"]
    assert len(conv.inputs) == 2  # no bias of zeros


def test_control_flow_on_data_becomes_an_if_node(tmp_path: Path) -> None:
    module = scripted(Gate())
    result = converted(saved(module, tmp_path), tmp_path, "x:1x3x8x8")
    operators = [node.op_type for node in result.model.graph.all_nodes()]
    assert "If" in operators
    assert operators.count("BatchNormalization") == 2
    assert [note.kind for note in result.notes] == ["done"]
    assert {"conv.weight", *(f"{norm}.{name}" for norm in ("first", "second") for name in ("weight", "bias"))} <= set(
        result.model.graph.initializers
    )
    assert shape_of(result.model.graph.outputs[0]) == ["batch", 8]
    for offset in (-1.0, 1.0):
        x = torch.randn(3, 3, 8, 8) + offset
        assert_same(result.session.run({"x": x.numpy()})["output"], module(x))


def test_a_branch_by_batch_size_is_kept(tmp_path: Path) -> None:
    module = scripted(ByBatch())
    result = converted(saved(module, tmp_path), tmp_path, "x:1x4")
    for batch in (1, 2, 5):
        x = torch.randn(batch, 4)
        assert_same(result.session.run({"x": x.numpy()})["output"], module(x))


class Resampled(nn.Module):
    def forward(self, x: Tensor, rate: int, gains: list[float], flip: bool = False) -> Tensor:
        y = x * rate + gains[1]
        return -y if flip else y


def test_what_is_no_tensor_is_given_as_a_value(tmp_path: Path) -> None:
    path, x = saved(scripted(Resampled()), tmp_path), torch.randn(3, 4)
    result = converted(path, tmp_path, "x:1x4", "rate=3", "gains=[1,0.5]", "flip=true")
    assert [value.name for value in result.model.graph.inputs] == ["x"]
    assert_same(result.session.run({"x": x.numpy()})["output"], -(x * 3 + 0.5))
    for wrong, message in (
        (("rate=3",), "takes more than tensors.*gains=1"),
        (("rate=1.5", "gains=[1,2]"), "rate=… is no int"),
        (("rate=3", "gains=2"), "gains=… is no List"),
        (("rate=3", "gains=[1,2]", "flop=true"), "no argument 'flop'.*flip"),
    ):
        with pytest.raises(UsageError, match=message):
            converted(path, tmp_path, "x:1x4", *wrong)


class Moded(nn.Module):
    def forward(self, x: Tensor, mode: str) -> Tensor:
        return -x if mode == "minus" else x


def test_a_value_of_another_kind_than_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes a str as mode"):
        converted(saved(scripted(Moded()), tmp_path), tmp_path, "x:1x4", "mode=1")


@pytest.mark.parametrize("make", [scripted, lambda module: traced(module, torch.randn(1, 12))])
def test_a_frozen_module_is_converted(make, tmp_path: Path) -> None:
    module, x = torch.jit.freeze(make(Flat())), torch.randn(1, 12)
    result = converted(saved(module, tmp_path), tmp_path, "x:1x12")
    assert_same(result.session.run({"x": x.numpy()})["output"], module(x))


Outputs = namedtuple("Outputs", ["logits", "hidden"])  # of tensors, for TorchScript


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Outputs, dict[str, Tensor], list[Tensor], Tensor]:
        y = self.linear(x)
        return Outputs(y.softmax(-1), y), {"twice": y + y, "same": y}, [y, y - 1], x


@pytest.mark.parametrize("frozen", [False, True])
def test_outputs_have_the_names_of_fields_and_keys(frozen: bool, tmp_path: Path) -> None:
    module, x = scripted(Named()), torch.randn(3, 4)
    path = saved(torch.jit.freeze(module) if frozen else module, tmp_path)
    outputs = converted(path, tmp_path, "x:1x4").session.run({"x": x.numpy()})
    named, table, items, given = module(x)
    expected = [*named, *table.values(), *items, given]
    assert list(outputs) == ["logits", "hidden", "twice", "same", "output", "output_1", "output_2"]
    for result, one in zip(outputs.values(), expected, strict=True):
        assert_same(result, one)


def test_a_batch_that_cannot_vary_is_fixed_with_a_warning(tmp_path: Path) -> None:
    result = converted(saved(traced(Flat(), torch.randn(1, 3, 4)), tmp_path), tmp_path, "x:1x3x4")
    assert shape_of(result.model.graph.inputs[0]) == [1, 3, 4]
    assert [note.kind for note in result.notes] == ["warning"]


def test_same_bytes_twice_and_nothing_of_this_machine(tmp_path: Path) -> None:
    path = saved(scripted(Flat()), tmp_path)
    first, second = (ir.to_proto(converted(path, tmp_path, "x:1x12").model).SerializeToString() for _ in range(2))
    assert first == second
    for trace in (str(tmp_path).encode(), b"site-packages", b".py"):
        assert trace not in first


def test_conversion_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(scripted(Gate()), tmp_path)
    capfd.readouterr()
    convert(path, parse_tensor_specs(["x:1x3x8x8"]), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_module_saved_in_training_mode(tmp_path: Path) -> None:
    module = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train())
    result = converted(saved(module, tmp_path), tmp_path, "x:1x4")
    assert [note.kind for note in result.notes] == ["warning"]
    x = torch.randn(2, 4)
    assert_same(result.session.run({"x": x.numpy()})["output"], module.eval()(x))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4)])
def test_a_trace_of_training_is_refused(layer: nn.Module, tmp_path: Path) -> None:
    path = saved(torch.jit.trace(layer.train(), (torch.randn(3, 4),), check_trace=False), tmp_path)
    with pytest.raises(ModelError, match=r"training mode.*eval\(\)"):
        convert(path, parse_tensor_specs(["x:1x4"]), tmp_path)


@pytest.mark.parametrize(
    "specs", [[], ["ids:1x4:int64"], ["a:1x4", "b:1x4", "c:1x4", "d:1x4"], ["ids:1x4:int64", "other:1x4:int64", "k:1"]]
)
def test_wrong_inputs_say_what_forward_takes(specs: list[str], tmp_path: Path) -> None:
    class Takes(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return ids * mask

    with pytest.raises(UsageError, match=r"forward\(ids: Tensor, mask: Tensor\).*--input ids:"):
        convert(saved(scripted(Takes()), tmp_path), parse_tensor_specs(specs), tmp_path)


def test_wrong_shape_or_type_names_the_inputs(tmp_path: Path) -> None:
    path = saved(scripted(Flat()), tmp_path)
    with pytest.raises(ModelError, match=r"does not run on x:1x7:float32: .*cannot be multiplied"):
        convert(path, parse_tensor_specs(["x:1x7"]), tmp_path)


class Listed(nn.Module):
    def forward(self, items: list[Tensor]) -> Tensor:
        return items[0]


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x)[0]


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("build", "spec", "said"),
    [
        (Listed, "x:1x7", "more than tensors"),
        (Odd, "x:1x4x4", "operator aten::linalg_qr has no form in ONNX"),
        (Draws, "x:1x4", r"model\.pt: forward draws random numbers \(aten::randn_like\)"),
    ],
)
def test_what_has_no_onnx_form_is_named(build: Callable[[], nn.Module], spec: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        convert(saved(scripted(build()), tmp_path), parse_tensor_specs([spec]), tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(scripted(Flat()), tmp_path)
    whole = path.read_bytes()
    weight = scripted(Flat()).linear.weight  # same seed: find its bytes and flip one
    torch.manual_seed(0)
    weight = Flat().linear.weight.detach().numpy().tobytes()
    position = whole.index(weight)
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    with pytest.raises(ModelError, match="checksum"):
        convert(path, parse_tensor_specs(["x:1x12"]), tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged"):
        convert(path, parse_tensor_specs(["x:1x12"]), tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/code/__torch__.py", b"")
    with pytest.raises(ModelError, match="cannot be read as TorchScript"):
        convert(path, parse_tensor_specs(["x:1x12"]), tmp_path)


@pytest.mark.parametrize("content", ["state", "module"])
def test_a_checkpoint_is_no_torchscript(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(Flat().state_dict() if content == "state" else Flat(), path)
    with pytest.raises(ModelError, match=r"torch\.jit"):
        convert(path, parse_tensor_specs(["x:1x12"]), tmp_path)


def test_mobile_files_convert_unless_they_are_bytecode_alone(tmp_path: Path) -> None:
    module, path = scripted(Flat()), tmp_path / "model.ptl"
    module._save_for_lite_interpreter(str(path))
    x = torch.randn(1, 12)
    assert_same(converted(path, tmp_path, "x:1x12").session.run({"x": x.numpy()})["output"], module(x))
    bare = tmp_path / "bare.ptl"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bare, "w") as stripped:
        for name in archive.namelist():
            if "/code/" not in name:
                stripped.writestr(name, archive.read(name))
    module._save_for_lite_interpreter(str(path), _use_flatbuffer=True)
    for file in (bare, path):
        with pytest.raises(ModelError, match=r"Mobile file of bytecode alone.*torch\.jit\.save"):
            convert(file, parse_tensor_specs(["x:1x12"]), tmp_path)


def test_a_program_of_torch_export_is_no_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(Flat().eval(), (torch.randn(1, 12),)), path)
    with pytest.raises(ModelError, match=r"a program of torch\.export"):
        convert(path, parse_tensor_specs(["x:1x12"]), tmp_path)


def test_verify_checks_tells_value_and_shape() -> None:
    check = Check({}, {"y": np.array([100.0, np.nan, -50.0], np.float32), "n": np.array([1, 2])})

    def result(y: list[float], n: list[int]) -> Callable[[object], dict[str, np.ndarray]]:
        return lambda feeds: {"y": np.array(y, np.float32), "n": np.array(n)}

    verify_checks([check], result([100.009, np.nan, -50.0], [1, 2]), Path("m.pt"))
    with pytest.raises(ModelError, match=r"m\.pt: output y differs by 0\.02.*100"):
        verify_checks([check], result([100.02, np.nan, -50.0], [1, 2]), Path("m.pt"))
    with pytest.raises(ModelError, match="output y differs by nan"):
        verify_checks([check], result([np.nan, np.nan, -50.0], [1, 2]), Path("m.pt"))
    with pytest.raises(ModelError, match="output n differs by 1"):
        verify_checks([check], result([100.0, np.nan, -50.0], [1, 3]), Path("m.pt"))
    with pytest.raises(ModelError, match=r"output y has shape \(2,\)"):
        verify_checks([check], result([100.0, np.nan], [1, 2]), Path("m.pt"))


class Lists(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for index in range(0, x.size(1), 2):
            parts.append(x[:, index] * (index + 1))
        parts.extend([x[:, 0], x[:, -1]])
        parts.insert(0, parts.pop())
        return torch.stack(parts[1:] + parts[:1], 1)


class Dictionaries(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        table = {"a": x, "b": x + 1}
        table["c"] = table["a"] * table["b"]
        total = torch.zeros_like(x)
        for key, value in table.items():
            if key != "b" and "c" in table:
                total = total + value * len(key)
        others = table.copy()
        others["d"] = others.pop("a") + x
        return total + len(table) + others["d"] * others["b"]


class Numbers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[0], x.size(-1)
        half = columns // 2 if columns > 3 and not x.is_cuda else columns
        scale = float(half) / max(rows, 2) - 0.5
        y = torch.zeros(rows, half, dtype=x.dtype, device=x.device)
        while half > 1:
            y = y + x[:, : y.size(1)].to(torch.float64).to(y.dtype) * scale
            half = half // 2
        return F.softmax(y, dim=-1, dtype=torch.float32)


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError(f"expected 2 dimensions, not {x.dim()}")
        return x.t() if x.dtype == torch.float32 else x


@pytest.mark.parametrize("build", [Lists, Dictionaries, Numbers, Raises, Gate, Embedder])
def test_interpreter_computes_what_torchscript_does(build: Callable[[], nn.Module]) -> None:
    module = scripted(build())
    interpreter = Interpreter(module, lambda tensor: tensor)
    if build is Embedder:
        inputs = [torch.randint(0, 40, (2, 5)), torch.ones(2, 5), None]
    else:
        inputs = [torch.randn((2, 3, 6, 6) if build is Gate else (3, 8))]
    result, expected = interpreter.run(inputs), module(*inputs)
    if isinstance(expected, dict):
        assert result.keys() == expected.keys()
        assert all(torch.equal(result[key], expected[key]) for key in expected)
    else:
        assert torch.equal(result, expected)


def test_interpreter_raises_what_forward_raises() -> None:
    with pytest.raises(ValueError, match="expected 2 dimensions, not 1"):
        Interpreter(scripted(Raises()), lambda tensor: tensor).run([torch.randn(4)])


def test_traced_sizes_stay_numbers() -> None:
    """Traces hold sizes as tensors; as numbers they stay symbolic in torch.export."""

    def shapes(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1] * 2, -1) / x.shape[1] + x.shape[0] // 2

    module = torch.jit.trace(shapes, (torch.randn(2, 3, 4),))

    class Wrapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return module(x)

    script = torch.jit.script(Wrapped())
    for size in ((2, 3, 4), (5, 1, 6)):
        x = torch.randn(*size)
        assert torch.equal(Interpreter(script, lambda tensor: tensor).run([x]), script(x))
