"""Fourier transforms and complex numbers in TorchScript become real operators that compute what torch does."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.model.torchscript import convert, verify_checks
from compressctl.tensorspec import parse_tensor_specs

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import Tensor, nn  # noqa: E402

from compressctl.model.torchscript.interpreter import Interpreter  # noqa: E402
from compressctl.model.torchscript.spectra import Complex  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Spectrogram(nn.Module):
    def __init__(self, n_fft: int, hop: int, length: int, center: bool, normalized: bool) -> None:
        super().__init__()
        self.n_fft, self.hop, self.length = n_fft, hop, length
        self.center, self.normalized = center, normalized
        self.register_buffer("window", torch.hann_window(length))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.stft(
            x,
            self.n_fft,
            self.hop,
            self.length,
            self.window,
            center=self.center,
            normalized=self.normalized,
            return_complex=True,
        )
        return torch.log(y.abs().pow(2) + 1)


class Enhancer(nn.Module):
    """Multiplies a spectrum by a complex mask and goes back, as denoisers do."""

    def __init__(self, n_fft: int = 64) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.mask = nn.Conv1d(n_fft // 2 + 1, n_fft + 2, 1)
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.stft(x, self.n_fft, window=self.window, return_complex=True)
        real, imag = self.mask(y.abs()).chunk(2, 1)
        y = y * torch.complex(torch.tanh(real), torch.tanh(imag))
        return torch.istft(y, self.n_fft, window=self.window, length=x.size(1))


class Mixer(nn.Module):
    """Transforms over two axes with weights between, as of Fourier convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        y = torch.view_as_real(y).permute(0, 1, 4, 2, 3)
        y = torch.relu(self.conv(y.reshape(x.size(0), 8, x.size(2), -1)))
        y = y.reshape(x.size(0), 4, 2, x.size(2), -1).permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfftn(torch.view_as_complex(y), s=x.shape[-2:], dim=(-2, -1), norm="ortho")


class Rotary(nn.Module):
    """Positions as complex turns, in a complex buffer."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.outer(torch.arange(6.0), torch.tensor([1.0, 0.3]))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.view_as_complex(x.reshape(x.size(0), 6, 2, 2).contiguous())
        return torch.view_as_real(y * self.turns).flatten(2)


def _saved(module: nn.Module, folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "model.pt"
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def _converted(path: Path, folder: Path, spec: str) -> tuple[Session, list[str]]:
    model, notes, checks = convert(path, parse_tensor_specs([spec]), folder)
    assert [note.kind for note in notes] == []
    session = Session(model, threads=1)
    verify_checks(checks, session.run, path)
    return session, [node.op_type for node in model.graph]


def _same(session: Session, path: Path, *inputs: Tensor) -> None:
    for x in inputs:
        with torch.no_grad():
            expected = torch.jit.load(str(path))(x).numpy()
        (result,) = session.run({"x": x.numpy()}).values()
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("n_fft", "hop", "length", "center", "normalized"),
    [(64, 16, 64, True, False), (100, 30, 80, False, True), (2048, 512, 2048, True, False)],
)
def test_stft_of_any_length(n_fft: int, hop: int, length: int, center: bool, normalized: bool, tmp_path: Path) -> None:
    path = _saved(Spectrogram(n_fft, hop, length, center, normalized), tmp_path)
    session, operators = _converted(path, tmp_path, "x:1x6000")
    assert ("Conv" in operators, "DFT" in operators, "STFT" in operators) == (n_fft < 1024, n_fft >= 1024, False)
    _same(session, path, torch.randn(1, 6000), torch.randn(3, 6000))


@pytest.mark.parametrize(("n_fft", "spec"), [(64, "x:1x800"), (1024, "x:1x6000")])
def test_there_and_back_through_a_complex_mask(n_fft: int, spec: str, tmp_path: Path) -> None:
    path = _saved(Enhancer(n_fft), tmp_path)
    session, _ = _converted(path, tmp_path, spec)
    _same(session, path, torch.randn(2, int(spec.partition("x:1x")[2])))


def test_transforms_over_two_axes(tmp_path: Path) -> None:
    path = _saved(Mixer(), tmp_path)
    session, operators = _converted(path, tmp_path, "x:1x4x12x16")
    assert "DFT" not in operators
    _same(session, path, torch.randn(3, 4, 12, 16))


def test_a_complex_buffer(tmp_path: Path) -> None:
    path = _saved(Rotary(), tmp_path)
    session, _ = _converted(path, tmp_path, "x:1x6x4")
    _same(session, path, torch.randn(5, 6, 4))


@pytest.mark.parametrize("size", [9, 16, 1024])
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize(
    "name", ["fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"]
)
def test_each_transform_is_torch_s(name: str, norm: str | None, size: int) -> None:
    transform = getattr(torch.fft, name)

    class Transform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

    complex_input = name.startswith(("ifft", "irfft"))
    Transform.forward = _forward(name, complex_input)
    script = torch.jit.script(Transform())
    x = torch.randn(2, size, 2) if complex_input else torch.randn(2, size)
    expected = transform(torch.view_as_complex(x) if complex_input else x, norm=norm)
    result = Interpreter(script, lambda tensor: tensor).run([x])
    if expected.is_complex():
        assert isinstance(result, Complex)
        result = torch.complex(result.real, result.imag)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def _forward(name: str, complex_input: bool) -> Callable[..., Tensor]:
    """Return code of its own for each transform, as TorchScript compiles source."""
    given = "torch.view_as_complex(x)" if complex_input else "x"
    source = f"def forward(self, x: Tensor) -> Tensor:\n    return torch.fft.{name}({given}, norm=self.norm)\n"
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = {"torch": torch, "Tensor": Tensor}
    exec(compile(source, file, "exec"), scope)
    return scope["forward"]


def test_arithmetic_is_torch_s() -> None:
    class Arithmetic(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> list[Tensor]:
            a, b = torch.view_as_complex(x), torch.view_as_complex(y)
            c = torch.polar(a.abs(), b.angle())
            d = (a + b) * c - 2 * a / b + a.real - b.imag * a
            e = torch.cat([d[:1], d[1:].conj()]).transpose(0, 1) @ a
            return [torch.view_as_real(z) for z in (c, d, e, e**2, d * 1j, -(a / 3 + 1.5), torch.exp(a), 1 / b, 2 - a)]

    x, y = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    script = torch.jit.script(Arithmetic())
    for result, expected in zip(Interpreter(script, lambda tensor: tensor).run([x, y]), script(x, y), strict=True):
        torch.testing.assert_close(result, expected)


class Returned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x)


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).cumprod(-1).abs()


@pytest.mark.parametrize(
    ("build", "said"),
    [(Returned, r"output is complex.*view_as_real"), (Unknown, "aten::cumprod on complex numbers is not supported")],
)
def test_what_stays_complex_is_named(build: type[nn.Module], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        convert(_saved(build(), tmp_path), parse_tensor_specs(["x:1x8"]), tmp_path)
