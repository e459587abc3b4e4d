"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as Keras exports it: NHWC input, Pad before a strided Conv."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

from benchmarks.models.convolution import ConvNet
from benchmarks.samples import random_images

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels, blocks, stride of the first block."""
HEAD = 1280


def build(path: Path) -> None:
    """Write the model: `input` [batch, 224, 224, 3] -> `logits` [batch, 1000]."""
    graph = ConvNet("mobilenet_v2", random_images(4, seed=1, channels_last=True))
    x = graph.op("Transpose", graph.input("input", ("batch", 224, 224, 3)), perm=[0, 3, 1, 2])
    x = _relu6(graph, graph.batch_norm(_same_conv(graph, x, 3, 32, stride=2)))
    channels = 32
    for expansion, outputs, blocks, stride in STAGES:
        for block in range(blocks):
            x = _inverted_residual(graph, x, channels, outputs, expansion, stride if block == 0 else 1)
            channels = outputs
    x = _relu6(graph, graph.conv_bn(x, channels, HEAD, 1, pad=0))
    x = graph.op("Squeeze", graph.op("GlobalAveragePool", x), graph.ints(2, 3))
    x = graph.op("MatMul", x, graph.normal((HEAD, 1000), sqrt(1 / HEAD)))
    graph.save(path, graph.op("Add", x, graph.normal((1000,), 0.02)), "logits", ("batch", 1000))


def _inverted_residual(graph: ConvNet, x: str, channels: int, outputs: int, expansion: int, stride: int) -> str:
    y, width = x, channels * expansion
    if expansion > 1:
        y = _relu6(graph, graph.conv_bn(y, channels, width, 1, pad=0))
    y = _relu6(graph, graph.batch_norm(_same_conv(graph, y, width, width, stride, group=width)))
    y = graph.conv_bn(y, width, outputs, 1, pad=0, gain=0.7)
    return graph.op("Add", x, y) if stride == 1 and channels == outputs else y


def _same_conv(graph: ConvNet, x: str, inputs: int, outputs: int, stride: int, group: int = 1) -> str:
    if stride == 1:
        return graph.conv(x, inputs, outputs, 3, pad=1, group=group)
    padded = graph.op("Pad", x, graph.ints(0, 0, 0, 0, 0, 0, 1, 1), graph.scalar(0), mode="constant")
    return graph.conv(padded, inputs, outputs, 3, stride, pad=0, group=group)


def _relu6(graph: ConvNet, x: str) -> str:
    return graph.op("Clip", x, graph.scalar(0), graph.scalar(6))
