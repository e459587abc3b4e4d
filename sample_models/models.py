"""Small classifiers of 8x8 handwritten digits, one for each family of networks that people deploy, and a student."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10


class Mlp(nn.Sequential):
    """Two fully connected layers. Input [N, 1, 8, 8], output [N, 10]."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(64, hidden)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(hidden, CLASSES)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut (He et al. 2015); 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Cnn(nn.Module):
    """A residual network of three blocks. Input [N, 1, 8, 8], output [N, 10]."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.block1 = ResidualBlock(first, first, stride=1)
        self.block2 = ResidualBlock(first, second, stride=2)
        self.block3 = ResidualBlock(second, third, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(third, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.stem(input))))
        return self.classifier(self.pool(x).flatten(1))


class SeparableBlock(nn.Sequential):
    """A depthwise 3x3 and a 1x1 convolution, each with BatchNorm and ReLU (MobileNet, Howard et al. 2017)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()


class Student(nn.Module):
    """A stem and two separable blocks. Input [N, 1, 8, 8], output [N, 10]."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.block1 = SeparableBlock(first, second, stride=2)
        self.block2 = SeparableBlock(second, third, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(third, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(input)))
        return self.classifier(self.pool(x).flatten(1))


class EncoderLayer(nn.Module):
    """Pre-norm transformer encoder layer (Vaswani et al. 2017; Xiong et al. 2020), attention written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)

    def split(self, x: Tensor) -> Tensor:
        """Split [N, L, D] into heads [N, H, L, D/H]."""
        return x.reshape(-1, x.shape[1], self.heads, self.width // self.heads).transpose(1, 2)

    def attention(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(self.width // self.heads), dim=-1)
        return self.project((weights @ value).transpose(1, 2).reshape(-1, x.shape[1], self.width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.contract(F.gelu(self.expand(self.feed_forward_norm(x))))


class Transformer(nn.Module):
    """Two encoder layers over the 8 rows as tokens. Input [N, 8, 8], output [N, 10]."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(1, 8, width) * 0.02)
        self.layer1 = EncoderLayer(width, heads)
        self.layer2 = EncoderLayer(width, heads)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.embed(input) + self.position))
        return self.classifier(self.norm(x).mean(dim=1))


class Lstm(nn.Module):
    """One recurrent layer over the 8 rows as time steps. Input [N, 8, 8], output [N, 10]."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        self.classifier = nn.Linear(hidden, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        states, _ = self.lstm(input)
        return self.classifier(states[:, -1])
