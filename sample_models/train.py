"""Rebuild every sample model: `python -m sample_models.train` (needs the extras `torch` and `digits`).

Trains on scikit-learn's handwritten digits; row i is held out for testing where i % 5 == 0. The same machine and
versions give the same bytes.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sample_models.export import save_onnx, save_torchscript
from sample_models.models import Cnn, Lstm, Mlp, Transformer
from sample_models.student import write_student

FOLDER = Path(__file__).parent
MODELS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "mlp": (Mlp, (1, 8, 8)),
    "cnn": (Cnn, (1, 8, 8)),
    "transformer": (Transformer, (8, 8)),
    "lstm": (Lstm, (8, 8)),
}


def digits(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images, training labels, test images, test labels; pixels in 0..1, each image of `shape`."""
    data = load_digits()
    images = torch.tensor(data.data / 16, dtype=torch.float32).reshape(-1, *shape)
    labels = torch.tensor(data.target, dtype=torch.int64)
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def augment(images: Tensor) -> Tensor:
    """Rotate by up to 0.15 rad, scale by up to 10 %, and move by up to 0.6 pixels, each image at random."""
    angle, stretch, right, down = (torch.rand(4, len(images)) * 2 - 1) * torch.tensor([[0.15], [0.1], [0.15], [0.15]])
    cos, sin = torch.cos(angle) * (1 + stretch), torch.sin(angle) * (1 + stretch)
    affine = torch.stack([cos, -sin, right, sin, cos, down], dim=1).reshape(-1, 2, 3)
    planes = images.reshape(-1, 1, 8, 8)
    grid = F.affine_grid(affine, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, align_corners=False).reshape(images.shape)


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int = 60, batch: int = 64) -> None:
    """Train with AdamW, label smoothing and a cosine schedule; leaves the model in inference mode."""
    steps = epochs * math.ceil(len(labels) / batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(batch):
            loss = F.cross_entropy(model(augment(images[rows])), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def main() -> None:
    """Train and export all models, and print their accuracy on the held-out digits."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, (build, shape) in MODELS.items():
        torch.manual_seed(0)
        model = build()
        train_images, train_labels, test_images, test_labels = digits(shape)
        train(model, train_images, train_labels)
        with torch.no_grad():
            correct = int((model(test_images).argmax(1) == test_labels).sum())
        example = test_images[:3]
        save_onnx(model, example, FOLDER / f"{name}.onnx")
        if name == "cnn":
            save_torchscript(torch.jit.script(model), FOLDER / "cnn_scripted.pt")
            save_torchscript(torch.jit.trace(model, example), FOLDER / "cnn_traced.pt")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name}: {parameters} parameters, {correct} of {len(test_labels)} test digits right")
    write_student(0, FOLDER / "cnn_student.onnx")


if __name__ == "__main__":
    main()
