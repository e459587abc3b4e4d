"""RNN, GRU and LSTM: torch's fused kernels where they compute the same, else written out step by step.

Shapes: X [T, B, I], W [directions, gates * H, I], R [directions, gates * H, H], B [directions, 2 * gates * H],
Y [T, directions, B, H]; with layout 1 the batch comes first everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import ints

Activation = Callable[[Tensor], Tensor]
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # ONNX's gates (iofc, zrh) in torch's order (ifco, rzn)


def RNN(
    X: Tensor,
    W: Tensor,
    R: Tensor,
    B: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    call = _Call("RNN", X, W, R, B, sequence_lens, (initial_h,), direction, layout)
    kinds = {name.lower() for name in list(activations)[: call.directions]}
    if clip is None and kinds in ({"tanh"}, {"relu"}) and call.full_length:
        return call.fused(torch.rnn_tanh if kinds == {"tanh"} else torch.rnn_relu)
    functions = _activations(activations, activation_alpha, activation_beta)

    def step(number: int, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return (functions[number](_clipped(x + F.linear(state[0], r, bias), clip)),)

    return call.unrolled(step)


def GRU(
    X: Tensor,
    W: Tensor,
    R: Tensor,
    B: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    call = _Call("GRU", X, W, R, B, sequence_lens, (initial_h,), direction, layout)
    names = list(activations) or ["Sigmoid", "Tanh"] * call.directions
    plain = [name.lower() for name in names] == ["sigmoid", "tanh"] * call.directions
    if plain and linear_before_reset and clip is None and call.full_length:
        return call.fused(torch.gru)
    functions = _activations(names, activation_alpha, activation_beta)

    def step(number: int, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        (h,) = state
        f, g = functions[2 * number : 2 * number + 2]
        size = h.shape[-1]
        gates = x[..., : 2 * size] + F.linear(h, r[: 2 * size], bias[: 2 * size])
        z, reset = f(_clipped(gates, clip)).chunk(2, -1)
        if linear_before_reset:
            hidden = reset * F.linear(h, r[2 * size :], bias[2 * size :])
        else:
            hidden = F.linear(reset * h, r[2 * size :], bias[2 * size :])
        new = g(_clipped(x[..., 2 * size :] + hidden, clip))
        return ((1 - z) * new + z * h,)

    return call.unrolled(step)


def LSTM(
    X: Tensor,
    W: Tensor,
    R: Tensor,
    B: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    P: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    call = _Call("LSTM", X, W, R, B, sequence_lens, (initial_h, initial_c), direction, layout)
    names = list(activations) or ["Sigmoid", "Tanh", "Tanh"] * call.directions
    plain = [name.lower() for name in names] == ["sigmoid", "tanh", "tanh"] * call.directions
    if plain and P is None and clip is None and not input_forget and call.full_length:
        return call.fused(torch.lstm)
    functions = _activations(names, activation_alpha, activation_beta)

    def step(number: int, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        h, c = state
        f, g, last = functions[3 * number : 3 * number + 3]
        i, o, forget, new = (x + F.linear(h, r, bias)).chunk(4, -1)
        pi, po, pf = P[number].chunk(3, -1) if P is not None else (0.0, 0.0, 0.0)
        i = f(_clipped(i + pi * c, clip))
        forget = 1 - i if input_forget else f(_clipped(forget + pf * c, clip))
        c = forget * c + i * g(_clipped(new, clip))
        return f(_clipped(o + po * c, clip)) * last(c), c

    return call.unrolled(step)


@dataclass(frozen=True)
class _Call:
    """What the three have in common."""

    kind: str
    X: Tensor
    W: Tensor
    R: Tensor
    B: Tensor | None
    sequence_lens: Tensor | None
    initial: tuple[Tensor | None, ...]
    direction: str
    layout: int

    @property
    def directions(self) -> int:
        return self.W.shape[0]

    @property
    def full_length(self) -> bool:
        """Whether every sequence is as long as the input."""
        steps = self.X.shape[1 if self.layout else 0]
        return self.sequence_lens is None or all(length == steps for length in ints(self.sequence_lens))

    def input(self) -> Tensor:
        """Return X, time first."""
        return self.X.transpose(0, 1) if self.layout else self.X

    def states(self) -> tuple[Tensor, ...]:
        """Return the initial states, [directions, B, H] each."""
        x, size = self.input(), self.R.shape[-1]
        zeros = torch.zeros([self.directions, x.shape[1], size], dtype=x.dtype, device=x.device)
        return tuple(
            zeros if state is None else (state.transpose(0, 1) if self.layout else state) for state in self.initial
        )

    def fused(self, kernel: Callable[..., Any]) -> tuple[Tensor, ...]:
        """Run torch's kernel, which takes its gates in another order."""
        x, states, backwards = self.input(), self.states(), self.direction == "reverse"
        weights: list[Tensor] = []
        for number in range(self.directions):
            weights += [self._reordered(self.W[number]), self._reordered(self.R[number])]
            if self.B is not None:
                weights += [self._reordered(bias) for bias in self.B[number].chunk(2)]
        out, *last = kernel(
            torch.flip(x, [0]) if backwards else x,
            states if self.kind == "LSTM" else states[0],
            weights,
            self.B is not None,
            1,
            0.0,
            False,
            self.directions == 2,
            False,
        )
        out = torch.flip(out, [0]) if backwards else out
        y = out.reshape(*out.shape[:2], self.directions, -1).transpose(1, 2)
        return self._laid_out(y, last)

    def unrolled(self, step: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Run step by step; a sequence that is over keeps its state and gives zeros."""
        x, states = self.input(), self.states()
        gates = self.W.shape[1]
        zeros = torch.zeros([gates], dtype=x.dtype, device=x.device)
        runs = []
        for number in range(self.directions):
            wb, rb = self.B[number].chunk(2) if self.B is not None else (zeros, zeros)
            inputs = F.linear(x, self.W[number], wb)
            state = tuple(s[number] for s in states)
            outputs: list[Tensor] = []
            backwards = self.direction == "reverse" or number == 1
            order = range(x.shape[0] - 1, -1, -1) if backwards else range(x.shape[0])
            for t in order:
                new = step(number, inputs[t], state, self.R[number], rb)
                if self.sequence_lens is not None:
                    running = (t < self.sequence_lens)[:, None]
                    state = tuple(torch.where(running, n, s) for n, s in zip(new, state, strict=True))
                    outputs.append(torch.where(running, new[0], torch.zeros_like(new[0])))
                else:
                    state = new
                    outputs.append(new[0])
            runs.append((torch.stack(outputs[::-1] if backwards else outputs), state))
        y = torch.stack([out for out, _ in runs], 1)
        last = [torch.stack(parts) for parts in zip(*[state for _, state in runs], strict=True)]
        return self._laid_out(y, last)

    def _reordered(self, gates: Tensor) -> Tensor:
        order = _ORDER[self.kind]
        parts = gates.chunk(len(order))
        return torch.cat([parts[index] for index in order])

    def _laid_out(self, y: Tensor, last: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if self.layout:
            return y.permute(2, 0, 1, 3), *[state.transpose(0, 1) for state in last]
        return y, *last


def _activations(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Activation]:
    """Return the functions; alphas and betas are given in order to those that take one."""
    left, right = list(alphas), list(betas)
    functions: list[Activation] = []
    for name in map(str.lower, names):
        alpha = left.pop(0) if name in _WITH_ALPHA and left else _WITH_ALPHA.get(name, 0.0)
        beta = right.pop(0) if name in _WITH_BETA and right else _WITH_BETA.get(name, 0.0)
        functions.append(_activation(name, alpha, beta))
    return functions


_WITH_ALPHA = {
    "affine": 1.0,
    "leakyrelu": 0.01,
    "thresholdedrelu": 1.0,
    "scaledtanh": 1.0,
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
_WITH_BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}


def _activation(name: str, alpha: float, beta: float) -> Activation:
    table: dict[str, Activation] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "affine": lambda x: alpha * x + beta,
        "leakyrelu": lambda x: F.leaky_relu(x, alpha),
        "thresholdedrelu": lambda x: F.threshold(x, alpha, 0.0),
        "scaledtanh": lambda x: alpha * torch.tanh(beta * x),
        "hardsigmoid": lambda x: torch.clamp(alpha * x + beta, 0, 1),
        "elu": lambda x: F.elu(x, alpha),
        "softsign": F.softsign,
        "softplus": F.softplus,
    }
    return table[name]


def _clipped(x: Tensor, clip: float | None) -> Tensor:
    return x if clip is None else torch.clamp(x, -clip, clip)
