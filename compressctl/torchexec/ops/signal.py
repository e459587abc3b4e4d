"""Spectra: complex numbers are pairs on the last axis."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import dtype_of, number


def DFT(
    input: Tensor, dft_length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0, opset: int = 20
) -> Tensor:
    along = (1 if opset < 20 else -2) if axis is None else int(number(axis))
    dim = along % input.ndim  # of the real and of the complex tensor alike: the pairs come last
    length = None if dft_length is None else int(number(dft_length))
    x = _complex(input)
    if onesided and inverse:
        real: Tensor = torch.fft.irfft(x, length, dim)
        return real.unsqueeze(-1)
    if inverse:
        y = torch.fft.ifft(x, length, dim)
    else:
        y = torch.fft.rfft(x, length, dim) if onesided else torch.fft.fft(x, length, dim)
    return torch.view_as_real(y)


def STFT(
    signal: Tensor,
    frame_step: Any,
    window: Tensor | None = None,
    frame_length: Any = None,
    *,
    onesided: int = 1,
) -> Tensor:
    x = _complex(signal)
    length = int(number(frame_length)) if frame_length is not None else (window if window is not None else x[0]).numel()
    frames = x.unfold(1, length, int(number(frame_step)))
    if window is not None:
        frames = frames * window
    return torch.view_as_real(torch.fft.rfft(frames) if onesided else torch.fft.fft(frames))


def MelWeightMatrix(
    num_mel_bins: Any,
    dft_length: Any,
    sample_rate: Any,
    lower_edge_hertz: Any,
    upper_edge_hertz: Any,
    *,
    output_datatype: int = 1,
) -> Tensor:
    bands, length = int(number(num_mel_bins)), int(number(dft_length))
    low, high = (2595 * math.log10(1 + number(edge) / 700) for edge in (lower_edge_hertz, upper_edge_hertz))
    mels = [low + i * (high - low) / (bands + 2) for i in range(bands + 2)]
    edges = [int((length + 1) * 700 * (10 ** (mel / 2595) - 1) // number(sample_rate)) for mel in mels]
    device = dft_length.device if isinstance(dft_length, Tensor) else None
    bins = torch.arange(length // 2 + 1, dtype=torch.float64, device=device)
    triangles = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        rising = (bins - left) / (centre - left) if centre > left else (bins >= centre).double()
        falling = (right - bins) / (right - centre) if right > centre else (bins <= centre).double()
        triangles.append(torch.clamp(torch.minimum(rising, falling), 0, 1))
    return torch.stack(triangles, 1).to(dtype_of(output_datatype))


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x.squeeze(-1)
