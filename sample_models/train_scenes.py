"""Rebuild the sample models of scenes: `python -m sample_models.train_scenes` (needs the extras `torch` and `digits`).

They train on scenes of the digits that `scenes:train` is made of, drawn anew. The same machine and versions give the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressctl.data.scenes import draw_scene, split_digits
from sample_models.export import save_onnx
from sample_models.models import CLASSES
from sample_models.scene_models import SIDE, STRIDE, Detector, Segmenter

FOLDER = Path(__file__).parent
SCENES = 4000
OWN_SCENES = 2  # the first number of their seeds; those of the splits are 0 and 1
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]  # of a model on images, which are these rows of all


def scenes() -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return images [S, 1, 64, 64], classes of pixels [S, 64, 64] and boxes [K, 6] (see `compressctl.data.boxes`)."""
    digits = split_digits("train")
    drawn = [draw_scene(*digits, seed=(OWN_SCENES, number)) for number in range(SCENES)]
    images, masks = (torch.tensor(np.stack([scene[part] for scene in drawn])) for part in (0, 1))
    return images[:, None], masks.long(), [torch.tensor(boxes, dtype=torch.float32) for _, _, boxes in drawn]


def targets(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners [4, 256] that each cell of the detector should give, and its class [256]; -1: none.

    A cell has the box in whose inner half its centre lies (FCOS' centre sampling, Tian et al. 2019).
    """
    cells = (torch.arange(SIDE // STRIDE) + 0.5) * STRIDE
    x, y = (axis.reshape(-1, 1) for axis in torch.meshgrid(cells, cells, indexing="xy"))
    centre, half = (boxes[:, 1:3] + boxes[:, 3:5]) / 2, (boxes[:, 3:5] - boxes[:, 1:3]) / 4
    reach = half.clamp(min=STRIDE / 2)
    inside = ((x - centre[:, 0]).abs() <= reach[:, 0]) & ((y - centre[:, 1]).abs() <= reach[:, 1])
    owner = inside.float().argmax(dim=1)
    return boxes[owner, 1:5].T, torch.where(inside.any(dim=1), boxes[owner, 0].long(), -1)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU of corners [M, 4] (Rezatofighi et al. 2019)."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    hull_low, hull_high = torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])
    both = (high - low).clamp(min=0).prod(dim=1)
    either = (first[:, 2:] - first[:, :2]).prod(dim=1) + (second[:, 2:] - second[:, :2]).prod(dim=1) - both
    hull = (hull_high - hull_low).prod(dim=1)
    return both / either.clamp(min=1e-6) - (hull - either) / hull.clamp(min=1e-6)


def detection_loss(corners: Tensor, classes: Tensor) -> Loss:
    """Return the focal loss of classes (Lin et al. 2017) and the generalised IoU of boxes, given targets [S, …]."""

    def loss(model: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
        found, logits = model.cells(images)
        shown = classes[rows] >= 0
        wanted = F.one_hot(classes[rows].clamp(min=0), CLASSES).permute(0, 2, 1) * shown[:, None]
        plain = F.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="none")
        sure = torch.sigmoid(logits)
        weight = torch.where(wanted > 0, 0.5 * (1 - sure) ** 2, 0.5 * sure**2)
        pairs = (part.permute(0, 2, 1)[shown] for part in (found, corners[rows]))
        return (weight * plain).sum() / shown.sum() * 2 + (1 - overlap(*pairs)).mean()

    return loss


def segmentation_loss(masks: Tensor) -> Loss:
    """Return the cross-entropy of pixels; those of digits, which are few, count four times."""
    weight = torch.tensor([1.0] + [4.0] * CLASSES)

    def loss(model: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
        return F.cross_entropy(model(images), masks[rows], weight=weight)

    return loss


def train(model: nn.Module, images: Tensor, loss: Loss, epochs: int, batch: int = 16) -> None:
    """Train with AdamW and a one-cycle schedule; leaves the model in inference mode."""
    steps = epochs * -(-len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch):
            value = loss(model, images[rows], rows)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    model.eval()


def main() -> None:
    """Train and export both."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, masks, boxes = scenes()
    corners, classes = (torch.stack(part) for part in zip(*map(targets, boxes), strict=True))
    for name, build, loss, epochs in (
        ("detector", Detector, detection_loss(corners, classes), 4),
        ("segmenter", Segmenter, segmentation_loss(masks), 3),
    ):
        torch.manual_seed(0)
        model = build()
        train(model, images, loss, epochs)
        save_onnx(model, images[:3], FOLDER / f"{name}.onnx", output="output")
        print(f"{name}: {sum(parameter.numel() for parameter in model.parameters())} parameters")


if __name__ == "__main__":
    main()
