"""ResNet-20 cut by Torch-Pruning: the native module, pruned by group magnitude, exported with BatchNorm as it is.

python -m benchmarks.workers.rival_prune MODEL.onnx SHARE OUT.onnx     keeps at most SHARE of the MACs
"""

from __future__ import annotations

import json
import sys

import onnx
import torch
import torch.nn.functional as F
import torch_pruning as tp
from onnx import numpy_helper
from torch import Tensor, nn

STEP = 1 / 64  # of the pruning ratio


class BasicBlock(nn.Module):
    """He et al. 2015; the shortcut takes every second position and pads the channels (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.added = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """For images of 32x32; its parameters bear the names that the ONNX file has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), *(BasicBlock(32, 32, 1) for _ in range(2)))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), *(BasicBlock(64, 64, 1) for _ in range(2)))
        self.linear = nn.Linear(64, 10)

    def forward(self, input: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(input)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def loaded(path: str) -> ResNet20:
    """Return the network with the weights of an ONNX file."""
    arrays = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in onnx.load(path).graph.initializer}
    network = ResNet20()
    network.load_state_dict({name: arrays[name] for name in network.state_dict() if name in arrays}, strict=False)
    return network.eval()


def _residual(network: ResNet20) -> list[nn.Module]:
    """Return the layers whose channels the padded shortcuts tie together, where Torch-Pruning 1.6 fails."""
    return [network.conv1, *(block.conv2 for block in network.modules() if isinstance(block, BasicBlock))]


def main(path: str, share: float, output: str) -> None:
    example = torch.zeros(1, 3, 32, 32)
    before, _ = tp.utils.count_ops_and_params(loaded(path), example)
    for step in range(1, round(1 / STEP)):
        network = loaded(path)
        pruner = tp.pruner.MagnitudePruner(
            network,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=step * STEP,
            ignored_layers=[network.linear, *_residual(network)],
        )
        pruner.step()
        after, _ = tp.utils.count_ops_and_params(network, example)
        if after <= share * before:
            break
    dynamic = {"input": {0: "batch"}}
    torch.onnx.export(
        network.eval(), (example,), output, input_names=["input"], output_names=["logits"], dynamic_axes=dynamic,
        opset_version=17, dynamo=False, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    widths = [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]
    print(json.dumps({"ratio": step * STEP, "macs": after / before, "channels": widths}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
