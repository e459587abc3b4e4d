"""Small torch modules whose exports hold what makes graphs hard to cut."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


class ConvNeXt(nn.Module):
    """A norm of channels last, and a scale for each channel."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep, self.norm = (
            nn.Conv2d(3, 16, 4, 4),
            nn.Conv2d(16, 16, 7, padding=3, groups=16),
            nn.LayerNorm(16),
        )
        self.up, self.down, self.gamma = nn.Linear(16, 64), nn.Linear(64, 16), nn.Parameter(torch.randn(16))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.gamma * self.down(F.gelu(self.up(self.norm(self.deep(x).permute(0, 2, 3, 1)))))
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm, self.reduce, self.expand = nn.BatchNorm2d(16), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project, self.hidden, self.head = nn.Conv2d(16, 24, 1), nn.Linear(24, 10), nn.Linear(10, 5)

    def forward(self, x):
        x = F.hardswish(self.norm(self.deep(F.silu(self.stem(x)))))
        x = x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))
        return self.head(F.hardswish(self.hidden(self.project(x).mean((2, 3)))))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)  # exported as InstanceNormalization between reshapes
        self.up, self.join, self.out = (
            nn.ConvTranspose2d(16, 6, 2, 2),
            nn.Conv2d(14, 10, 3, padding=1),
            nn.Conv2d(10, 2, 1),
        )

    def forward(self, x):
        a = F.relu(self.down(x))
        y = self.join(torch.cat([a, self.up(F.silu(self.norm(self.deep(F.max_pool2d(a, 2)))))], 1))
        return self.out(F.interpolate(F.relu(y), scale_factor=2, mode="bilinear", align_corners=False))


class Swin(nn.Module):
    """Attention in shifted windows with a bias by relative position; four neighbours become one."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.qkv, self.project = (
            nn.Conv2d(3, 16, 2, 2),
            nn.LayerNorm(16),
            nn.Linear(16, 48),
            nn.Linear(16, 16),
        )
        self.table, self.merge, self.head = nn.Parameter(torch.randn(49, 4)), nn.Linear(64, 24), nn.Linear(24, 5)
        self.register_buffer("index", torch.randint(0, 49, (16, 16)))

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        y = torch.roll(self.norm(x), (-2, -2), (1, 2)).view(batch, height // 4, 4, width // 4, 4, channels)
        y = self.qkv(y.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels))
        q, k, v = y.reshape(y.shape[0], 16, 3, 4, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(16, 16, -1).permute(2, 0, 1).unsqueeze(0)
        y = ((q * 4**-0.5 @ k.transpose(-2, -1) + bias).softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, channels)
        y = self.project(y).view(batch, height // 4, width // 4, 4, 4, channels)
        x = x + torch.roll(y.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels), (2, 2), (1, 2))
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        return self.head(self.merge(x).mean((1, 2)))


class Decoder(nn.Module):
    """torch's own attention, which merges batch and heads, of a sequence and of another one."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.layer, self.out = nn.TransformerDecoderLayer(16, 4, 24, 0.0, batch_first=True), nn.Linear(16, 3)

    def forward(self, x, memory):
        return self.out(self.layer(self.first(x), self.first(memory)))


class Gpt(nn.Module):
    """Packed q, k and v, a causal mask, an output that shares the embedding's weights."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(30, 16), nn.Embedding(64, 16), nn.LayerNorm(16)
        self.qkv, self.project = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 40), nn.Linear(40, 16)
        self.register_buffer("mask", torch.tril(torch.ones(64, 64)))

    def forward(self, tokens):
        batch, length = tokens.shape
        x = self.words(tokens) + self.places(torch.arange(length))
        q, k, v = (y.view(batch, length, 4, 4).transpose(1, 2) for y in self.qkv(self.norm(x)).split(16, dim=2))
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        scores = scores.masked_fill(self.mask[:length, :length] == 0, float("-inf")).softmax(-1)
        x = x + self.project((scores @ v).transpose(1, 2).contiguous().view(batch, length, 16))
        return (x + self.down(F.gelu(self.up(x), approximate="tanh"))) @ self.words.weight.t()


class Llama(nn.Module):
    """A norm written out, rotated halves, keys that several queries share, a gated layer."""

    def __init__(self, queries=2):  # that share a key
        super().__init__()
        self.words, self.scale, self.queries = nn.Embedding(30, 32), nn.Parameter(torch.rand(32)), queries
        self.q, self.k, self.v = (nn.Linear(32, size, bias=False) for size in (16 * queries, 16, 16))
        self.o = nn.Linear(16 * queries, 32, bias=False)
        self.gate, self.up, self.down = nn.Linear(32, 48), nn.Linear(32, 48), nn.Linear(48, 32)
        self.out = nn.Linear(32, 30)
        angles = torch.outer(torch.arange(64.0), 10000 ** -(torch.arange(0, 8, 2) / 8)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def rotated(self, x, length):
        turned = torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), -1)
        return x * self.cos[:length] + turned * self.sin[:length]

    def forward(self, tokens):
        batch, length = tokens.shape
        x = self.words(tokens)
        y = self.scale * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        q, k, v = (layer(y).view(batch, length, -1, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        q, k = self.rotated(q, length), self.rotated(k, length)
        shape = (batch, 2, self.queries, length, 8)
        k, v = (each[:, :, None].expand(shape).reshape(batch, -1, length, 8) for each in (k, v))
        x = x + self.o(((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1))
        return self.out(x + self.down(F.silu(self.gate(x)) * self.up(x)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Detector(nn.Module):
    """A layer in two halves of which one goes on, a residual, a head of anchors, pixels from channels."""

    def __init__(self):
        super().__init__()
        self.first, self.more, self.join = (
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(24, 32, 1),
        )
        self.wide, self.head = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 3 * 7, 1)
        self.register_buffer("anchors", torch.rand(1, 3, 1, 1, 2))

    def forward(self, x):
        parts = list(F.silu(self.first(x)).chunk(2, 1))
        parts.append(parts[-1] + self.more(parts[-1]))
        x = self.head(F.relu(self.wide(F.pixel_shuffle(F.relu(self.join(torch.cat(parts, 1))), 2))))
        x = x.view(x.shape[0], 3, 7, *x.shape[2:]).permute(0, 1, 3, 4, 2).sigmoid()
        place, size, classes = x.split((2, 2, 3), 4)
        return torch.cat([place * 2, size**2 * self.anchors, classes], 4).view(x.shape[0], -1, 7)


BATCH, IMAGE, TEXT, MEMORY = {0: "n"}, {0: "n", 2: "h", 3: "w"}, {0: "n", 1: "s"}, {0: "n", 1: "m"}
NETWORKS = {
    # what is exported, examples of its inputs, what is dynamic in them, and the inner groups: kind and number of units
    "convnext": (ConvNeXt, [(2, 3, 16, 16)], [IMAGE], ["neuron 64", "width 16"]),
    "squeeze": (SqueezeExcite, [(2, 3, 16, 16)], [IMAGE], ["channel 16", "channel 24", "channel 4", "neuron 10"]),
    "unet": (UNet, [(2, 3, 16, 16)], [IMAGE], ["channel 10", "channel 4", "channel 6", "channel 8"]),
    "swin": (Swin, [(2, 3, 16, 16)], [BATCH], ["head 4", "neuron 24", "width 16"]),
    "decoder": (Decoder, [(2, 10, 6), (2, 7, 6)], [TEXT, MEMORY], ["head 4", "head 4", "neuron 24", "width 16"]),
    "gpt": (Gpt, [(2, 10)], [TEXT], ["head 4", "neuron 40", "width 16"]),
    "llama": (Llama, [(2, 10)], [TEXT], ["head 2", "neuron 48", "width 32"]),
    "llama of many queries": (partial(Llama, 4), [(2, 10)], [TEXT], ["head 2", "neuron 48", "width 32"]),
    "recurrent": (Recurrent, [(2, 10, 6)], [TEXT], ["neuron 8"]),
    "detector": (Detector, [(2, 3, 16, 16)], [IMAGE], ["channel 12", "channel 16", "channel 8"]),
}  # fmt: skip
