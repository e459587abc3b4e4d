"""Fourier transforms and the complex numbers around them, in real operators: ONNX's have no complex tensors.

Short transforms are products with a matrix of cosines and sines, and short-time ones convolutions, which onnxruntime
runs two to ten times as fast as its STFT and DFT, and which are quantized like other layers. From a length of 1,024
those are as fast, if it is a power of two, and hold no matrix.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.arrays import Array

_SHORT = 512  # samples; measured with onnxruntime on one thread


@dataclass(frozen=True)
class Complex:
    """A complex tensor as two real ones of one shape; answers what code asks of a tensor."""

    real: Tensor
    imag: Tensor

    @property
    def shape(self) -> torch.Size:
        """The sizes of either part."""
        return self.real.shape

    @property
    def dtype(self) -> torch.dtype:
        """The complex type."""
        return self.real.dtype.to_complex()

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.real.device

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self.real.dim()


def parted(value: Any) -> Any:
    """Return a complex tensor as `Complex`, anything else as it is."""
    return (
        Complex(value.real.clone(), value.imag.clone()) if isinstance(value, Tensor) and value.is_complex() else value
    )


def concerns(kind: str, arguments: Sequence[Any]) -> bool:
    """Return whether an operator makes complex numbers or is given some."""
    return kind in _TRANSFORMS or kind in _MAKERS or any(map(_is_complex, _flat(arguments)))


def compute(kind: str, arguments: list[Any], run: Callable[[list[Any]], Any]) -> Any:
    """Return what an operator gives, with `Complex` for complex tensors.

    Args:
        kind: such as `aten::stft`.
        arguments: in the order of its schema.
        run: calls the operator on real tensors.

    Raises:
        NotImplementedError: the operator is not known for complex numbers; the message names it.
    """
    for table in (_TRANSFORMS, _MAKERS, _ON_COMPLEX):
        if kind in table:
            return table[kind](*arguments)
    if kind not in _EACH_PART:
        raise NotImplementedError(f"operator {kind} on complex numbers is not supported")
    parts = [run(_part(arguments, name)) for name in ("real", "imag")]
    return list(map(Complex, *parts)) if isinstance(parts[0], (list, tuple)) else Complex(*parts)


def _is_complex(value: Any) -> bool:
    return isinstance(value, (Complex, complex))


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value


def _part(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_part(item, name) for item in value]
    return getattr(value, name) if isinstance(value, Complex) else value


def _parts(value: Any) -> tuple[Any, Any]:
    """Return the real and the imaginary part of a tensor or a number, `Complex` or not."""
    return (value.real, value.imag) if _is_complex(value) else (value, 0)


def _product(a: Any, b: Any, by: Callable[[Any, Any], Any] = operator.mul) -> Complex:
    if not _is_complex(a) or not _is_complex(b):
        whole, other = (a, b) if isinstance(a, Complex) else (b, a)
        if not _is_complex(other):
            left = isinstance(a, Complex)
            return Complex(*(by(part, other) if left else by(other, part) for part in _parts(whole)))
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    return Complex(by(ar, br) - by(ai, bi), by(ar, bi) + by(ai, br))


def _sum(a: Any, b: Any, alpha: Any = 1) -> Complex:
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    real, imag = ar + alpha * br, ai + alpha * bi
    return Complex(real, imag if isinstance(imag, Tensor) and imag.shape == real.shape else imag + real * 0)


def _quotient(a: Any, b: Any) -> Complex:
    if not _is_complex(b):
        return Complex(a.real / b, a.imag / b)
    size = b.real * b.real + b.imag * b.imag
    return _quotient(_product(a, Complex(b.real, -b.imag)), size)


def _power(a: Complex, exponent: Any) -> Complex:
    if exponent != 2:
        raise NotImplementedError("operator aten::pow on complex numbers is supported for squares alone")
    return _product(a, a)


def _abs(a: Complex) -> Tensor:
    return torch.sqrt(a.real * a.real + a.imag * a.imag)


def _angle(a: Complex) -> Tensor:
    return torch.atan2(a.imag, a.real)


def _as_real(a: Complex) -> Tensor:
    return torch.stack([a.real, a.imag], -1)


def _direct(size: Any) -> bool:
    """Return whether a transform of this length is a product with a matrix."""
    return isinstance(size, int) and (size <= _SHORT or size & (size - 1) != 0)


def _waves(size: int, bins: int) -> Array:
    """Return cosines, then sines: [2, bins, size]."""
    turns = np.outer(np.arange(bins), np.arange(size)) % size * (2 * math.pi / size)
    return np.stack([np.cos(turns), np.sin(turns)])


def _constant(values: Array, like: Tensor) -> Tensor:
    dtype = np.float64 if like.dtype == torch.float64 else np.float32  # a Cast would be exported with its input
    return torch.from_numpy(np.ascontiguousarray(values, dtype)).to(like.dtype)


def _scale(size: Any, norm: str | None, inverse: bool) -> Any:
    """Return what a transform is multiplied by, beyond torch's "backward" (1 forward, 1 / size back)."""
    if norm == "ortho":
        return size**0.5 if inverse else size**-0.5
    return (size if inverse else 1 / size) if norm == "forward" else 1


def _fitted(x: Tensor, size: int | None) -> Tensor:
    """Return the first `size` values along the last axis, with zeros after them where there are fewer."""
    if size is None or x.shape[-1] == size:
        return x
    return x[..., :size] if x.shape[-1] > size else F.pad(x, [0, size - x.shape[-1]])


def _to_last(x: Any, axis: int) -> Any:
    return _each(x, lambda part: part.transpose(axis, -1))


def _each(x: Any, do: Callable[[Tensor], Tensor]) -> Any:
    return Complex(do(x.real), do(x.imag)) if isinstance(x, Complex) else do(x)


def _native(transform: Callable[..., Tensor], x: Any, **options: Any) -> Any:
    """Call a transform of torch, which becomes ONNX's DFT."""
    y = transform(torch.complex(x.real, x.imag) if isinstance(x, Complex) else x, **options)
    if not y.is_complex():
        return y
    pair = torch.view_as_real(y)
    return Complex(pair[..., 0], pair[..., 1])


def _rfft(x: Tensor, n: int | None = None, axis: int = -1, norm: str | None = None) -> Complex:
    x = _fitted(_to_last(x, axis), n)
    size = x.shape[-1]
    if _direct(size):
        waves = _constant(_waves(size, size // 2 + 1), x)
        y = Complex(x @ waves[0].T, -(x @ waves[1].T))
    else:
        y = _native(torch.fft.rfft, x)
    scaled: Complex = _scaled(_to_last(y, axis), _scale(size, norm, False))
    return scaled


def _fft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, inverse: bool = False) -> Complex:
    x = _each(_to_last(x, axis), lambda part: _fitted(part, n))
    size = x.shape[-1]
    if _direct(size):
        cosines, sines = (_constant(wave, x.real) for wave in _waves(size, size) / (size if inverse else 1))
        real, imag = _parts(x)
        sines = -sines if inverse else sines
        if isinstance(x, Complex):
            y = Complex(real @ cosines + imag @ sines, imag @ cosines - real @ sines)
        else:
            y = Complex(real @ cosines, -(real @ sines))
    else:
        y = _native(torch.fft.ifft if inverse else torch.fft.fft, x)
    scaled: Complex = _scaled(_to_last(y, axis), _scale(size, norm, inverse))
    return scaled


def _ifft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Complex:
    return _fft(x, n, axis, norm, inverse=True)


def _irfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    x = _to_last(x, axis)
    size = 2 * (x.shape[-1] - 1) if n is None else n
    x = _each(x, lambda part: _fitted(part, size // 2 + 1))
    if _direct(size):
        cosines, sines = (_constant(wave, x.real) for wave in _inverse_waves(size))
        y = x.real @ cosines - x.imag @ sines
    else:
        y = _native(torch.fft.irfft, x, n=size)
    scaled: Tensor = _scaled(_to_last(y, axis), _scale(size, norm, True))
    return scaled


def _inverse_waves(size: int) -> Array:
    """Return what halves of spectra are multiplied by: each value but the first, and the middle one, counts twice."""
    bins = size // 2 + 1
    twice = np.full(bins, 2.0)
    twice[0] = 1
    if size % 2 == 0:
        twice[-1] = 1
    waves: Array = _waves(size, bins) * twice[:, None] / size
    return waves


def _scaled(y: Any, scale: Any) -> Any:
    return y if isinstance(scale, int) and scale == 1 else _each(y, lambda part: part * scale)


def _over(
    one: Callable[..., Any], rest: Callable[..., Any], *, last: bool, default: tuple[int, ...] | None = None
) -> Callable[..., Any]:
    """Return a transform over several axes: `one` along the last of them, which comes `last` or first, then `rest`."""

    def transform(x: Any, sizes: Any = None, axes: Any = None, norm: str | None = None) -> Any:
        if axes is None:
            axes = default or range(-len(sizes) if sizes else -x.dim(), 0)
        steps = [(axis, size, rest) for axis, size in zip(axes, sizes or [None] * len(axes), strict=True)]
        steps[-1] = (*steps[-1][:2], one)
        for axis, size, along in steps if last else reversed(steps):
            x = along(x, size, axis, norm)
        return x

    return transform


def _window(window: Tensor | None, n_fft: int, length: int | None, like: Tensor) -> Tensor:
    length = length or n_fft
    window = torch.ones(length, dtype=like.dtype) if window is None else window.to(like.dtype)
    before = (n_fft - length) // 2
    return F.pad(window, [before, n_fft - length - before]) if length < n_fft else window


def _stft(x: Any, n_fft: int, hop: int | None, length: int | None, window: Any, *options: Any) -> Any:
    """Compute `aten::stft`; options are [center, pad mode,] normalized, onesided, return_complex, align_to_window."""
    if isinstance(x, Complex) or isinstance(window, Complex):
        raise NotImplementedError("operator aten::stft of complex signals or windows is not supported")
    center, mode, *others = options if len(options) > 4 else (False, "reflect", *options)
    normalized, onesided, as_complex, *_ = others
    if onesided is False:
        raise NotImplementedError("operator aten::stft with onesided=False is not supported")
    alone = x.dim() == 1
    x = x.unsqueeze(0) if alone else x
    if center:
        x = F.pad(x.unsqueeze(1), [n_fft // 2, n_fft // 2], mode=mode).squeeze(1)
    hop, weights, bins = hop or n_fft // 4, _window(window, n_fft, length, x), n_fft // 2 + 1
    if _direct(n_fft):
        kernels = _waves(n_fft, bins) * np.array([1, -1])[:, None, None]
        weight = _constant(kernels.reshape(2 * bins, 1, n_fft), x) * weights
        both = torch.ops.aten.convolution.default(x.unsqueeze(1), weight, None, [hop], [0], [1], False, [0], 1)
        y = Complex(both[:, :bins], both[:, bins:])
    else:
        y = _each(_rfft(x.unfold(-1, n_fft, hop) * weights), lambda part: part.transpose(1, 2))
    y = _scaled(y, n_fft**-0.5 if normalized else 1)
    y = _each(y, lambda part: part.squeeze(0)) if alone else y
    return y if as_complex else _as_real(y)


def _istft(
    x: Complex,
    n_fft: int,
    hop: int | None,
    length: int | None,
    window: Any,
    center: bool,
    normalized: bool,
    onesided: bool | None,
    size: int | None,
    as_complex: bool,
) -> Tensor:
    """Compute `aten::istft`: frames added where they overlap, over the sum of the squares of their windows there."""
    if onesided is False or as_complex:
        raise NotImplementedError("operator aten::istft to complex signals is not supported")
    alone = x.dim() == 2
    x = _each(x, lambda part: part.unsqueeze(0)) if alone else x
    hop, weights = hop or n_fft // 4, _window(window, n_fft, length, x.real)
    if _direct(n_fft):
        kernels = _inverse_waves(n_fft) * np.array([1, -1])[:, None, None]
        weight = _constant(kernels.reshape(-1, 1, n_fft), x.real) * weights
        y = F.conv_transpose1d(torch.cat([x.real, x.imag], 1), weight, stride=hop).squeeze(1)
    else:
        frames = (_irfft(x, n_fft, 1).transpose(1, 2) * weights).transpose(1, 2)
        whole = n_fft + hop * (frames.shape[-1] - 1)
        y = F.fold(frames, (1, whole), (1, n_fft), stride=(1, hop)).reshape(-1, whole)
    ones = torch.ones_like(x.real[:1, :1])
    y = y / F.conv_transpose1d(ones, (weights * weights).reshape(1, 1, -1), stride=hop).squeeze(1).clamp(min=1e-11)
    start = n_fft // 2 if center else 0
    end = start + size if size is not None else y.shape[-1] - start
    y = _fitted(y[:, start:end], size) * (n_fft**0.5 if normalized else 1)
    return y.squeeze(0) if alone else y


_TRANSFORMS: dict[str, Callable[..., Any]] = {
    "aten::stft": _stft,
    "aten::istft": _istft,
    "aten::fft_rfft": _rfft,
    "aten::fft_irfft": _irfft,
    "aten::fft_fft": _fft,
    "aten::fft_ifft": _ifft,
    "aten::fft_rfft2": _over(_rfft, _fft, last=False, default=(-2, -1)),
    "aten::fft_rfftn": _over(_rfft, _fft, last=False),
    "aten::fft_irfft2": _over(_irfft, _ifft, last=True, default=(-2, -1)),
    "aten::fft_irfftn": _over(_irfft, _ifft, last=True),
    "aten::fft_fft2": _over(_fft, _fft, last=False, default=(-2, -1)),
    "aten::fft_fftn": _over(_fft, _fft, last=False),
    "aten::fft_ifft2": _over(_ifft, _ifft, last=False, default=(-2, -1)),
    "aten::fft_ifftn": _over(_ifft, _ifft, last=False),
}
_MAKERS: dict[str, Callable[..., Any]] = {
    "aten::complex": Complex,
    "aten::polar": lambda size, angle: Complex(size * torch.cos(angle), size * torch.sin(angle)),
    "aten::view_as_complex": lambda x: Complex(x[..., 0], x[..., 1]),
}
_ON_COMPLEX: dict[str, Callable[..., Any]] = {
    "aten::view_as_real": _as_real,
    "aten::real": lambda a: a.real,
    "aten::imag": lambda a: a.imag,
    "aten::abs": _abs,
    "aten::angle": _angle,
    "aten::is_complex": lambda a: True,
    "aten::conj": lambda a: Complex(a.real, -a.imag),
    "aten::conj_physical": lambda a: Complex(a.real, -a.imag),
    "aten::resolve_conj": lambda a: a,
    "aten::add": _sum,
    "aten::sub": lambda a, b, alpha=1: _sum(a, b, -alpha),
    "aten::rsub": lambda a, b, alpha=1: _sum(b, _product(a, -alpha)),
    "aten::mul": _product,
    "aten::div": _quotient,
    "aten::reciprocal": lambda a: _quotient(1, a),
    "aten::pow": _power,
    "aten::square": lambda a: _product(a, a),
    "aten::matmul": lambda a, b: _product(a, b, torch.matmul),
    "aten::bmm": lambda a, b: _product(a, b, torch.matmul),
    "aten::exp": lambda a: Complex(torch.exp(a.real) * torch.cos(a.imag), torch.exp(a.real) * torch.sin(a.imag)),
}
_MOVES = (
    "slice select unsqueeze squeeze transpose permute reshape view flatten unflatten expand expand_as repeat t "
    "contiguous clone detach alias cat concat stack chunk split split_with_sizes narrow index index_select gather "
    "flip roll movedim swapaxes pad constant_pad_nd sum mean cumsum neg unbind"
)
_EACH_PART = {f"aten::{name}" for name in _MOVES.split()}  # what moves values or adds them up
