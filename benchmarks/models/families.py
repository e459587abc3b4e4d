"""A few blocks each of network families whose convolutions are not plain: the best form of each depends on its shape.

RegNet (Radosavovic et al. 2020, arXiv:2003.13678), ConvNeXt (Liu et al. 2022, arXiv:2201.03545), EfficientNet (Tan and
Le 2019, arXiv:1905.11946), GhostNet (Han et al. 2020, arXiv:1911.11907), FastViT (Vasu et al. 2023, arXiv:2303.14189);
and two that rounding sensitivities: an upsampler that adds to its input (as Shi et al. 2016, arXiv:1609.05158), and a
classifier of the bytes of files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from onnx import TensorProto

from benchmarks.models.attention import gelu, layer_norm, linear
from benchmarks.models.builder import Graph
from benchmarks.models.convolution import ConvNet
from benchmarks.samples import Arrays

SIDE, CLASSES, BYTES = 64, 100, 512


def images(count: int, seed: int) -> Arrays:
    """Return images [count, 3, 64, 64] of coloured blocks under noise."""
    random = np.random.default_rng(seed)
    blocks = random.normal(size=(count, 3, 8, 8)).repeat(SIDE // 8, 2).repeat(SIDE // 8, 3)
    return {"input": (blocks + random.normal(scale=0.3, size=blocks.shape)).astype(np.float32)}


def files(count: int, seed: int) -> Arrays:
    """Return the bytes of files [count, 512]: each draws from an alphabet of its own; 256 pads what is short."""
    random = np.random.default_rng(seed)
    low = random.integers(0, 200, (count, 1))
    content = low + random.integers(0, 56, (count, BYTES))
    length = random.integers(BYTES // 8, BYTES + 1, (count, 1))
    return {"input": np.where(np.arange(BYTES) < length, content, 256)}


class _Net(ConvNet):
    """Convolutions with BatchNormalization, and the start and end that all families share."""

    def __init__(self, name: str) -> None:
        super().__init__(name, images(8, seed=1)["input"])

    def stem(self, channels: int) -> str:
        x = self.input("input", ("batch", 3, SIDE, SIDE))
        return self.op("Relu", self.layer(x, 3, channels, 3, 2))

    def layer(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        return self.batch_norm(self.conv(x, inputs, outputs, kernel, stride, pad=kernel // 2, group=group))

    def finish(self, path: Path, x: str, channels: int) -> None:
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x))
        self.save(path, linear(self, pooled, channels, CLASSES), "logits", ("batch", CLASSES))

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))


def regnet(path: Path, group: int) -> None:
    """1x1 -> 3x3 with `group` channels a group -> 1x1, and the input added."""
    net, width = _Net("regnet"), 6 * group if group > 8 else 104
    x = net.stem(width)
    for _ in range(4):
        y = net.op("Relu", net.layer(x, width, width, 1))
        y = net.op("Relu", net.layer(y, width, width, 3, group=width // group))
        x = net.op("Relu", net.op("Add", net.layer(y, width, width, 1), x))
    net.finish(path, x, width)


def convnext(path: Path) -> None:
    """Depthwise 7x7 -> LayerNormalization -> two linear layers with a Gelu between."""
    net, width = _Net("convnext"), 96
    x = net.op("MaxPool", net.stem(width), kernel_shape=[2, 2], strides=[2, 2])
    for _ in range(4):
        y = net.op("Transpose", net.conv(x, width, width, 7, pad=3, group=width), perm=[0, 2, 3, 1])
        y = gelu(net, linear(net, layer_norm(net, y, width), width, 4 * width))
        x = net.op("Add", net.op("Transpose", linear(net, y, 4 * width, width), perm=[0, 3, 1, 2]), x)
    net.finish(path, x, width)


def efficientnet(path: Path) -> None:
    """1x1 -> depthwise -> squeeze and excitation -> 1x1, with SiLU."""
    net, width, inner = _Net("efficientnet"), 40, 160
    x = net.stem(width)
    for kernel in (3, 5, 3, 5):
        y = net.silu(net.layer(x, width, inner, 1))
        y = net.silu(net.layer(y, inner, inner, kernel, group=inner))
        squeezed = net.silu(net.conv(net.op("GlobalAveragePool", y), inner, 10, 1, pad=0))
        y = net.op("Mul", y, net.op("Sigmoid", net.conv(squeezed, 10, inner, 1, pad=0)))
        x = net.op("Add", net.layer(y, inner, width, 1), x)
    net.finish(path, x, width)


def ghostnet(path: Path) -> None:
    """1x1 to half of the channels, a depthwise 3x3 makes the others, and both are joined."""
    net, width = _Net("ghostnet"), 64

    def ghost(x: str, inputs: int, outputs: int, ratio: int) -> str:
        kept = outputs // ratio
        first = net.op("Relu", net.layer(x, inputs, kept, 1))
        cheap = net.op("Relu", net.layer(first, kept, outputs - kept, 3, group=kept))
        return net.op("Concat", first, cheap, axis=1)

    x = net.stem(width)
    for ratio in (2, 4, 2, 4):
        y = ghost(ghost(x, width, 2 * width, ratio), 2 * width, width, ratio)
        x = net.op("Add", y, x)
    net.finish(path, x, width)


def fastvit(path: Path) -> None:
    """Depthwise 3x3 added (RepMixer), depthwise 7x7 and two 1x1 with a Gelu; then a 7x7 with two outputs an input."""
    net, width = _Net("fastvit"), 48
    x = net.stem(width)
    for stage in range(2):
        for _ in range(2):
            x = net.op("Add", net.layer(x, width, width, 3, group=width), x)
            y = gelu(net, net.conv(net.layer(x, width, width, 7, group=width), width, 3 * width, 1, pad=0))
            x = net.op("Add", net.layer(y, 3 * width, width, 1), x)
        if stage == 0:
            x = gelu(net, net.layer(net.layer(x, width, 2 * width, 7, 2, group=width), 2 * width, 2 * width, 1))
            width *= 2
    net.finish(path, x, width)


def upsampler(path: Path) -> None:
    """The input twice as large, and what three convolutions and DepthToSpace add to it."""
    net = _Net("upsampler")
    x = net.input("input", ("batch", 3, SIDE, SIDE))
    y = net.op("Relu", net.conv(x, 3, 32, 5, pad=2))
    y = net.op("Relu", net.conv(y, 32, 32, 3, pad=1))
    weight = net.normal((12, 32, 3, 3), 0.01)
    detail = net.op("DepthToSpace", net.op("Conv", y, weight, pads=[1] * 4), blocksize=2)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    larger = net.op("Resize", x, "", scales, mode="linear")
    net.save(path, net.op("Add", larger, detail), "image", ("batch", 3, 2 * SIDE, 2 * SIDE))


def filetype(path: Path) -> None:
    """One-hot bytes -> embedding -> convolution over 4 positions -> largest -> two linear layers."""
    net, width = Graph("filetype"), 64
    x = net.op(
        "OneHot",
        net.input("input", ("batch", BYTES), TensorProto.INT64),
        net.ints(257),
        net.constant(np.array([0, 1], "f")),
    )
    x = gelu(net, net.op("MatMul", x, net.normal((257, width), 1.0)))
    x = layer_norm(net, net.op("Reshape", x, net.ints(0, BYTES // 4, 4 * width)), 4 * width)
    x = net.op("Transpose", x, perm=[0, 2, 1])
    x = gelu(net, net.op("Conv", x, net.normal((256, 4 * width, 5), 0.03), pads=[2, 2]))
    x = layer_norm(net, net.op("Flatten", net.op("GlobalMaxPool", x)), 256)
    net.save(path, net.op("MatMul", x, net.normal((256, CLASSES), 0.2)), "scores", ("batch", CLASSES))


BUILDERS: dict[str, Callable[[Path], None]] = {
    **{f"regnet_g{group}": partial(regnet, group=group) for group in (8, 16, 24)},
    "convnext": convnext,
    "efficientnet": efficientnet,
    "ghostnet": ghostnet,
    "fastvit": fastvit,
    "upsampler": upsampler,
    "filetype": filetype,
}
