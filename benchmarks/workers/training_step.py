"""Training steps of the executor and of the native torch module that the graph was exported from.

python -m benchmarks.workers.training_step NETWORK time            prints JSON: seconds of a step by side, of start-up
python -m benchmarks.workers.training_step NETWORK native|executor trains, for its memory
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressctl.model.load import load_model
from compressctl.torchexec.module import GraphModule
from sample_models.export import save_onnx
from sample_models.models import Cnn, EncoderLayer, ResidualBlock

STEPS, ROUNDS = 10, 12
SIDES = ("native", "trace", "interpret")


class ResNet20(nn.Module):
    """He et al. 2015, for images of 32x32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(ResidualBlock(*shape) for shape in shapes))
        self.classifier = nn.Linear(64, 10)

    def forward(self, input: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.stem(input)).mean((2, 3)))


class Block(nn.Module):
    """A transformer encoder layer of BERT-small's size on 128 positions, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = EncoderLayer(512, 8)
        self.classifier = nn.Linear(512, 10)

    def forward(self, input: Tensor) -> Tensor:
        return self.classifier(self.layer(input).mean(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, tuple[int, ...]]] = {
    "digits CNN": (Cnn, 64, (1, 8, 8)),
    "ResNet-20": (ResNet20, 64, (3, 32, 32)),
    "transformer block": (Block, 16, (128, 512)),
}


def main(network: str, what: str) -> None:
    torch.manual_seed(0)
    build, batch, shape = NETWORKS[network]
    native = build()
    x, y = torch.rand(batch, *shape), torch.randint(0, 10, (batch,))
    if what == "native":
        train(native, native, x, y)(3 * STEPS)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        save_onnx(native, x[:2], file)
        model = load_model(file).model
    if what == "executor":
        del native
        module = GraphModule(model)
        train(module, lambda x: module({"input": x})["logits"], x, y)(3 * STEPS)
        return
    trained = {"native": train(native, native, x, y)}
    start_up = {"native": trained["native"](1)}
    for mode in SIDES[1:]:
        begun = time.perf_counter()
        module = GraphModule(model, mode=mode)
        trained[mode] = train(module, lambda x, module=module: module({"input": x})["logits"], x, y)
        trained[mode](1)
        start_up[mode] = time.perf_counter() - begun
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        for side in SIDES:
            seconds[side].append(trained[side](STEPS) / STEPS)
    ratios = {side: [a / b for a, b in zip(seconds[side], seconds["native"], strict=True)] for side in SIDES}
    step = {side: statistics.median(times) for side, times in seconds.items()}
    quartiles = {side: statistics.quantiles(ratio, n=4) for side, ratio in ratios.items()}
    print(json.dumps({"step": step, "ratio": quartiles, "start_up": {s: start_up[s] - step[s] for s in SIDES}}))


def train(module: nn.Module, predict: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[int], float]:
    """Return a function that trains for so many steps and returns the seconds that took."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def run(steps: int) -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            loss = F.cross_entropy(predict(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - begun

    return run


if __name__ == "__main__":
    main(*sys.argv[1:])
