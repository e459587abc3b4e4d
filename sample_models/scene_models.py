"""A detector and a segmenter of scenes of digits, 64x64 pixels: small relatives of what people deploy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sample_models.models import CLASSES, ResidualBlock

SIDE = 64
STRIDE = 4  # pixels of a cell of the detector's grid


class Stem(nn.Sequential):
    """A 3x3 convolution with BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()


class Detector(nn.Module):
    """One stage and no anchors, as YOLOv8 and FCOS are. Input [N, 1, 64, 64], output [N, 4 + 10, 256].

    Each cell of a 16x16 grid gives the box (centre and size in pixels) whose sides lie so many cells around its own
    centre, and the probability of each digit. Boxes and probabilities are joined by one Concat.
    """

    def __init__(self, widths: tuple[int, int, int] = (12, 24, 48)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = Stem(1, first, stride=2)
        self.fine = ResidualBlock(first, second, stride=2)
        self.coarse = nn.Sequential(ResidualBlock(second, third, stride=2), ResidualBlock(third, third, stride=1))
        self.merge = Stem(second + third, 32)
        self.box_branch, self.box = Stem(32, 24), nn.Conv2d(24, 4, 1)
        self.class_branch, self.score = Stem(32, 32), nn.Conv2d(32, CLASSES, 1)
        nn.init.constant_(self.score.bias, -4.0)  # few cells show a digit (RetinaNet, Lin et al. 2017)
        cells = torch.arange(SIDE // STRIDE) + 0.5
        self.register_buffer("centres", torch.stack(torch.meshgrid(cells, cells, indexing="xy")).reshape(1, 2, -1))

    def cells(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return corners [N, 4, 256] (x1, y1, x2, y2) in pixels and logits of the classes [N, 10, 256]."""
        fine = self.fine(self.stem(input))
        coarse = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        merged = self.merge(torch.cat([fine, coarse], dim=1))
        sides = F.relu(self.box(self.box_branch(merged))).flatten(2)
        corners = torch.cat([self.centres - sides[:, :2], self.centres + sides[:, 2:]], dim=1) * STRIDE
        return corners, self.score(self.class_branch(merged)).flatten(2)

    def forward(self, input: Tensor) -> Tensor:
        corners, logits = self.cells(input)
        first, second = corners[:, :2], corners[:, 2:]
        return torch.cat([(first + second) / 2, second - first, torch.sigmoid(logits)], dim=1)


class Segmenter(nn.Module):
    """A small U-Net (Ronneberger et al. 2015). Input [N, 1, 64, 64], output [N, 11, 64, 64]: canvas and ten digits."""

    def __init__(self, widths: tuple[int, int, int] = (8, 24, 48)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = Stem(1, first)
        self.down1 = ResidualBlock(first, second, stride=2)
        self.down2 = nn.Sequential(ResidualBlock(second, third, stride=2), ResidualBlock(third, third, stride=2))
        self.up1 = Stem(second + third, second)
        self.up2 = Stem(first + second, first)
        self.classifier = nn.Conv2d(first, 1 + CLASSES, 1)

    def forward(self, input: Tensor) -> Tensor:
        first = self.stem(input)
        second = self.down1(first)
        x = F.interpolate(self.down2(second), scale_factor=4.0, mode="nearest")
        x = F.interpolate(self.up1(torch.cat([second, x], dim=1)), scale_factor=2.0, mode="nearest")
        return self.classifier(self.up2(torch.cat([first, x], dim=1)))
