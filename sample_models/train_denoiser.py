"""Rebuild the sample denoiser: `python -m sample_models.train_denoiser` (needs the extra `torch`).

It trains on clips as those of `tones:train`, drawn anew. The same machine and versions give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressctl.data.tones import draw_clip
from sample_models.export import save_onnx

FOLDER = Path(__file__).parent
CLIPS = 4000
OWN_CLIPS = 2  # the first number of their seeds; those of the splits are 0 and 1
EPOCHS = 6
BATCH = 32


class Denoiser(nn.Module):
    """A small relative of Conv-TasNet (Luo and Mesgarani 2019): a learned basis, a mask of it, and the way back.

    Input and output [N, 1, samples], a multiple of 8 of them. The mask comes from residual convolutions of growing
    dilation.
    """

    def __init__(self, basis: int = 40, width: int = 24, blocks: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, basis, 16, stride=8, padding=4)
        self.first = nn.Conv1d(basis, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 3, padding=2**step, dilation=2**step), nn.ReLU())
            for step in range(blocks)
        )
        self.mask = nn.Conv1d(width, basis, 1)
        self.decoder = nn.ConvTranspose1d(basis, 1, 16, stride=8, padding=4)

    def forward(self, input: Tensor) -> Tensor:
        coded = self.encoder(input)
        x = self.first(coded)
        for block in self.blocks:
            x = x + block(x)
        return self.decoder(coded * torch.sigmoid(self.mask(x)))


def clips() -> tuple[Tensor, Tensor]:
    """Return noisy and clean clips, [CLIPS, 1, 1024] each."""
    drawn = [draw_clip((OWN_CLIPS, number)) for number in range(CLIPS)]
    noisy, clean = (torch.tensor(np.stack(side))[:, None] for side in zip(*drawn, strict=True))
    return noisy, clean


def loss(found: Tensor, clean: Tensor) -> Tensor:
    """Return minus the signal-to-noise ratio in dB, the mean over clips."""
    noise = (found - clean).square().sum(dim=(1, 2))
    return -10 * torch.log10(clean.square().sum(dim=(1, 2)) / noise).mean()


def main() -> None:
    """Train and export it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    noisy, clean = clips()
    torch.manual_seed(0)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters())
    steps = EPOCHS * -(-CLIPS // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(CLIPS).split(BATCH):
            value = loss(model(noisy[rows]), clean[rows])
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    save_onnx(model.eval(), noisy[:3], FOLDER / "denoiser.onnx", output="output")
    print(f"denoiser: {sum(parameter.numel() for parameter in model.parameters())} parameters")


if __name__ == "__main__":
    main()
