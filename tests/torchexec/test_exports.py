"""Networks of many kinds, exported untrained: outputs and gradients are those of the native module."""

import io
import warnings

import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressctl.torchexec.merged import separate_merged
from compressctl.torchexec.module import GraphModule


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.norm1 = nn.Conv2d(3, 8, 3, 2, 1), nn.InstanceNorm2d(8, affine=True)
        self.down2 = nn.Conv2d(8, 16, 3, 2, 1, groups=2)
        self.up, self.slope, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.PReLU(8), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = F.hardswish(self.norm1(self.down1(x)))
        u = self.slope(self.up(F.silu(self.down2(a))))
        return F.interpolate(self.out(torch.cat([a, u], 1)), scale_factor=2, mode="bilinear", align_corners=False)


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(16, 5)
        self.reduce, self.expand = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x):
        x = F.hardswish(self.norm(self.depthwise(self.stem(x))))
        x = x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))
        return self.head(F.max_pool2d(x, 3, 2, 1).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.head = kind(6, 8, 2, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Audio(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 16, 5, 2, 2), nn.BatchNorm1d(8)
        self.second, self.head = nn.Conv1d(8, 8, 3, dilation=2, padding=2), nn.Linear(8, 4)

    def forward(self, x):
        x = F.pad(F.elu(self.norm(F.glu(self.first(x), 1))), (2, 1))
        x = F.avg_pool1d(F.leaky_relu(self.second(x)), 2)
        return F.log_softmax(self.head(x.mean(-1)), -1)


class Encoder(nn.Module):
    """With tied input and output embeddings."""

    def __init__(self, activation, norm_first):
        super().__init__()
        self.embed, self.position = nn.Embedding(50, 16), nn.Parameter(torch.randn(1, 12, 16) * 0.1)
        options = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": norm_first}
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, **options)
        self.out = nn.Linear(16, 50, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.layer(self.embed(x) + self.position[:, : x.shape[1]]))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.scale = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.ones(8) * 0.1)
        self.patches, self.mix, self.head = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.scale * torch.einsum("bnd,de->bne", x, self.mix)
        return self.head(F.normalize(x[:, 0], dim=-1))


IMAGE, TOKENS = (2, 3, 16, 16), (2, 12)
NETWORKS = {
    "unet": (UNet, IMAGE),
    "squeeze_excite": (SqueezeExcite, IMAGE),
    "gru": (lambda: Recurrent(nn.GRU), (2, 7, 6)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 7, 6)),
    "rnn": (lambda: Recurrent(nn.RNN), (2, 7, 6)),
    "audio": (Audio, (3, 4, 40)),
    "post_norm": (lambda: Encoder("gelu", False), TOKENS),
    "pre_norm": (lambda: Encoder("relu", True), TOKENS),
    "patches": (Patches, IMAGE),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_torch(name):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    native = build().eval()
    x = torch.randint(0, 50, shape) if shape == TOKENS else torch.randn(shape)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            native, (x,), file, dynamo=False, opset_version=17, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"], output_names=["y"], dynamic_axes={"x": [0]},
        )  # fmt: skip
    model = ir.from_proto(onnx.load_model_from_string(file.getvalue()))
    separate_merged(model)
    module = GraphModule(model).eval()
    expected = native(x)
    for _ in range(2):  # interpreted, then from the record
        y = module({"x": x})["y"]
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    assert module.interpreted is None
    count = sum(parameter.numel() for parameter in native.parameters())
    assert sum(weight.numel() for weight in module.weights.values()) == count
    gradients = []
    for answer, weights in ((expected, native.parameters()), (y, module.weights.values())):
        answer.square().sum().backward()
        gradients.append(sum(float(weight.grad.square().sum()) for weight in weights))
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-4)
