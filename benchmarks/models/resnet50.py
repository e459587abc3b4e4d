"""ResNet-50 (He et al. 2015, arXiv:1512.03385; stride in the 3x3 convolution), BatchNorm kept, 25.6 M parameters."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

from benchmarks.models.convolution import ConvNet
from benchmarks.samples import random_images

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first block
EXPANSION = 4


def build(path: Path) -> None:
    """Write the model: `input` [batch, 3, 224, 224] -> `logits` [batch, 1000]."""
    graph = ConvNet("resnet50", random_images(4, seed=1))
    x = graph.input("input", ("batch", 3, 224, 224))
    x = graph.op("Relu", graph.conv_bn(x, 3, 64, 7, 2, pad=3))
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, stride in STAGES:
        for block in range(blocks):
            x = _bottleneck(graph, x, channels, width, stride if block == 0 else 1)
            channels = width * EXPANSION
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)
    weight = graph.normal((1000, channels), sqrt(1 / channels))
    logits = graph.op("Gemm", x, weight, graph.normal((1000,), 0.02), transB=1)
    graph.save(path, logits, "logits", ("batch", 1000))


def _bottleneck(graph: ConvNet, x: str, channels: int, width: int, stride: int) -> str:
    outputs = width * EXPANSION
    y = graph.op("Relu", graph.conv_bn(x, channels, width, 1, pad=0))
    y = graph.op("Relu", graph.conv_bn(y, width, width, 3, stride, pad=1))
    # Small gains at the ends of the branches keep 16 random blocks from blowing the activations up.
    y = graph.conv_bn(y, width, outputs, 1, pad=0, gain=0.5)
    if channels != outputs:
        x = graph.conv_bn(x, channels, outputs, 1, stride, pad=0)
    return graph.op("Relu", graph.op("Add", y, x))
