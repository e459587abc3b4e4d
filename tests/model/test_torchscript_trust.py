"""Code in a TorchScript file that does more than compute is refused before any of it runs."""

import zipfile

import pytest

from compressctl.errors import ModelError
from compressctl.model.torchscript import convert
from compressctl.tensorspec import parse_tensor_specs

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Inner(torch.nn.Module):
    def forward(self, x):
        return x + 1


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x)

    @torch.jit.export
    def never_called(self, x):
        return x + 1


class RunsAtLoad(torch.nn.Module):
    def forward(self, x):
        return x + 1

    @torch.jit.export
    def __getstate__(self):
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "written")
        self.training = state[1]


def _saved(module, path):
    torch.jit.script(module).save(str(path))
    return path


def _with_code(path, member, old, new):
    """Write a copy of a TorchScript file with other code in it, as anyone could."""
    changed = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(member):
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            target.writestr(name, content)
    return changed


SAVE = 'torch.save(x, "written")'


@pytest.mark.parametrize(
    ("call", "operator"),
    [
        (SAVE, "aten::save"),
        ('getattr(torch, "sa\\166e")(x, "written")', "aten::save"),
        ('ops.aten.save(x, "written")', "aten::save"),
        ('x = torch.from_file("written", True, 8)', "aten::from_file"),
        ('_9 = ops.profiler._record_function_enter("a", None)', "profiler::_record_function_enter"),
        (
            "def __forked_function():\n      " + SAVE + "\n      return x\n    x = torch.wait(fork(__forked_function))",
            "aten::save",
        ),
        ("if torch.eq(torch.dim(x), 2):\n      " + SAVE + "\n    else:\n      pass", "aten::save"),
    ],
)
@pytest.mark.parametrize("place", ["Inner", "never called"])
def test_what_does_more_than_compute_is_refused(tmp_path, monkeypatch, call, operator, place):
    monkeypatch.chdir(tmp_path)
    path = _saved(Plain(), tmp_path / "plain.pt")
    before = "def forward(self: __torch__." if place != "never called" else "def never_called(self: __torch__."
    member = "test_torchscript_trust.py"
    with zipfile.ZipFile(path) as archive:
        code = next(archive.read(name).decode() for name in archive.namelist() if name.endswith(member))
    start = code.index(before, code.index(f"class {place}") if place != "never called" else 0)
    end = code.index("return", start)
    changed = _with_code(path, member, code, f"{code[:end]}{call}\n    {code[end:]}")
    with pytest.raises(ModelError, match=operator):
        convert(changed, parse_tensor_specs(["x:1x8"]), tmp_path)
    assert not (tmp_path / "written").exists()


def test_what_would_run_while_the_file_is_loaded_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _saved(RunsAtLoad(), tmp_path / "state.pt")
    with pytest.raises(ModelError, match="__setstate__"):
        convert(path, parse_tensor_specs(["x:1x8"]), tmp_path)
    assert not (tmp_path / "written").exists()
    torch.jit.load(str(path))
    assert (tmp_path / "written").exists()  # it would have run


def test_native_classes_are_refused(tmp_path):
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.quantize_per_tensor(torch.ones(2, 8), 0.1, 0, torch.qint8)

        def forward(self, x):
            return torch.ops.quantized.linear_dynamic(x, torch.ops.quantized.linear_prepack(self.weight, None))

    with pytest.raises(ModelError, match=r"torch\.classes"):
        convert(_saved(Packed(), tmp_path / "packed.pt"), parse_tensor_specs(["x:1x8"]), tmp_path)
