"""Export a network with random weights: python export.py NAME FILE; needs torch, timm and transformers alone.

The forms are those that people deploy: caches of keys and values as inputs and outputs, a decoder whose prompt and step
are the two branches of one If, several outputs whose sizes depend on what is found.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

OPSET = 18
LAYERS, HEADS, KEYS, WIDTH, WORDS = 4, 8, 2, 256, 2000


def llama(path: Path) -> None:
    """A decoder with grouped keys and a cache: input_ids, attention_mask, past_key_values.N.key, … -> logits, …"""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEYS,
        attn_implementation="eager",
    )
    past = [torch.zeros(1, KEYS, 8, WIDTH // HEADS) for _ in range(2 * LAYERS)]
    ids, mask = torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 12, dtype=torch.int64)
    names = [f"past_key_values.{layer}.{kind}" for layer in range(LAYERS) for kind in ("key", "value")]
    axes = {"input_ids": {0: "batch", 1: "step"}, "attention_mask": {0: "batch", 1: "past + step"}}
    axes |= {name: {0: "batch", 2: "past"} for name in names}
    outputs = ["logits", *(name.replace("past_key_values", "present") for name in names)]
    model, inputs = Cached(LlamaForCausalLM(config)), ["input_ids", "attention_mask", *names]
    _save(model, (ids, mask, *past), path, inputs, outputs, axes)


class Cached(torch.nn.Module):
    """A decoder that takes its cache as tensors."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        kept = found.past_key_values
        return found.logits, *(each for layer in kept.layers for each in (layer.keys, layer.values))


class Logits(torch.nn.Module):
    """An encoder and decoder that answers with its logits alone."""

    def __init__(self, model: torch.nn.Module, **fixed: Any) -> None:
        super().__init__()
        self.model, self.fixed = model, fixed

    def forward(self, first: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.model(first, decoder_input_ids=ids, use_cache=False, **self.fixed).logits  # type: ignore[no-any-return]


def t5(path: Path) -> None:
    """An encoder and a decoder: input_ids, decoder_input_ids -> logits."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=WORDS, d_model=WIDTH, d_kv=32, d_ff=3 * WIDTH, num_layers=3, num_heads=HEADS)
    ids = torch.ones(1, 9, dtype=torch.int64)
    axes = {"input_ids": {0: "batch", 1: "words"}, "decoder_input_ids": {0: "batch", 1: "step"}}
    model = Logits(T5ForConditionalGeneration(config))
    _save(model, (ids, ids[:, :5]), path, ["input_ids", "decoder_input_ids"], ["logits"], axes)


def whisper(path: Path) -> None:
    """A decoder of speech whose prompt and step are branches of one If, as merged exports have it.

    use_cache_branch, input_ids, encoder_hidden_states, past.N -> logits, present.N; both branches share their weights.
    """
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=WORDS,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=3,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        attn_implementation="eager",
    )
    decoder = Speech(WhisperForConditionalGeneration(config))
    ids, heard = torch.ones(1, 4, dtype=torch.int64), torch.randn(1, 20, WIDTH)
    past = [torch.randn(1, HEADS, 6, WIDTH // HEADS) for _ in range(2 * 3)]
    names = [f"past.{index}" for index in range(len(past))]
    axes = {"input_ids": {0: "batch", 1: "step"}, "encoder_hidden_states": {0: "batch", 1: "frames"}}
    axes |= {name: {0: "batch", 2: "past"} for name in names}
    outputs = ["logits", *(name.replace("past", "present") for name in names)]
    inputs = ["input_ids", "encoder_hidden_states"]
    prompt, step = path.with_suffix(".prompt.onnx"), path.with_suffix(".step.onnx")
    _save(decoder, (ids, heard), prompt, inputs, outputs, axes)
    _save(decoder, (ids[:, :1], heard, *past), step, [*inputs, *names], outputs, axes)
    _merge(onnx.load(prompt), onnx.load(step), path)
    for file in (prompt, step):
        file.unlink()


class Speech(torch.nn.Module):
    """The decoder of a model of speech; without a cache it reads a prompt."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder, self.head = model.model.decoder, model.proj_out

    def forward(self, ids: torch.Tensor, heard: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from transformers import DynamicCache, EncoderDecoderCache

        own = DynamicCache()
        for layer in range(len(past) // 2):
            own.update(past[2 * layer], past[2 * layer + 1], layer)
        cache = EncoderDecoderCache(own, DynamicCache())
        length = past[0].shape[2] if past else 0
        places = torch.arange(ids.shape[1]) + length
        found = self.decoder(
            input_ids=ids, encoder_hidden_states=heard, past_key_values=cache, use_cache=True, cache_position=places
        )
        kept = found.past_key_values.self_attention_cache
        return self.head(found.last_hidden_state), *(x for layer in kept.layers for x in (layer.keys, layer.values))


def _merge(prompt: onnx.ModelProto, step: onnx.ModelProto, path: Path) -> None:
    """Write one model whose branches are the two, with the weights that they share outside."""
    shared = {entry.name: entry for entry in prompt.graph.initializer}
    weights = [entry for entry in step.graph.initializer if shared.get(entry.name) == entry]
    names = {entry.name for entry in weights}
    branches = []
    for label, model in (("prompt", prompt), ("step", step)):
        graph = helper.make_graph(
            list(model.graph.node), label, [], [], [w for w in model.graph.initializer if w.name not in names]
        )
        _prefix(graph, f"{label}/", {*names, *(entry.name for entry in step.graph.input)})
        for entry in model.graph.output:
            graph.output.append(entry)
            graph.output[-1].name = f"{label}/{entry.name}"
        branches.append(graph)
    node = helper.make_node(
        "If",
        ["use_cache_branch"],
        [entry.name for entry in step.graph.output],
        name="merged",
        then_branch=branches[1],
        else_branch=branches[0],
    )
    flag = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
    graph = helper.make_graph([node], "merged", [flag, *step.graph.input], list(step.graph.output), weights)
    model = helper.make_model(graph, opset_imports=list(step.opset_import), ir_version=step.ir_version)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _prefix(graph: onnx.GraphProto, prefix: str, outer: set[str]) -> None:
    """Give each name of a graph but those of outside a prefix."""

    def named(name: str) -> str:
        return name if not name or name in outer else prefix + name

    for weight in graph.initializer:
        weight.name = named(weight.name)
    for node in graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [named(name) for name in names]


def bigru(path: Path) -> None:
    """A recurrent network that reads both ways: x [batch, steps, 40] -> y [batch, steps, 30]."""

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.GRU(40, 128, num_layers=2, bidirectional=True, batch_first=True)
            self.head = torch.nn.Linear(256, 30)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0])  # type: ignore[no-any-return]

    _save(Reader(), (torch.randn(1, 50, 40),), path, ["x"], ["y"], {"x": {0: "batch", 1: "steps"}})


def vision(name: str, size: int, path: Path) -> None:
    """A classifier of timm."""
    import timm

    image, model = torch.randn(1, 3, size, size), timm.create_model(name)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # the last of a block begins at zero, which no trained one is
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
    _save(model, (image,), path, ["image"], ["logits"], {"image": {0: "batch"}})


def detector(path: Path) -> None:
    """A detector of two stages: one image -> boxes [found, 4], scores [found, classes].

    A torch network proposes a box at each place; what NonMaxSuppression leaves is cut out by RoiAlign and classified.
    """

    class Proposals(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (3, 32, 64, 128, 128)
            convolutions = [torch.nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(sizes)]
            self.body = torch.nn.Sequential(*(part for each in convolutions for part in (each, torch.nn.ReLU())))
            self.score, self.box = torch.nn.Conv2d(128, 1, 1), torch.nn.Conv2d(128, 4, 1)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            features = self.body(image)
            box = self.box(features).flatten(2).transpose(1, 2)
            corner, size = 304 * box[..., :2].sigmoid(), 16 + 64 * box[..., 2:].sigmoid()
            return features, torch.cat([corner, corner + size], -1), self.score(features).flatten(2).sigmoid()

    _save(Proposals(), (torch.rand(1, 3, 320, 320),), path, ["image"], ["features", "places", "found"], {})
    weight = torch.randn(128 * 49, 5) / 80
    tail = onnx.parser.parse_graph(TAIL)
    tail.initializer.append(onnx.numpy_helper.from_array(weight.numpy(), "classifier"))
    first = onnx.load(path)
    merged = onnx.compose.merge_graphs(first.graph, tail, [(name, name) for name in ("features", "places", "found")])
    model = helper.make_model(merged, opset_imports=list(first.opset_import), ir_version=first.ir_version)
    onnx.checker.check_model(model)
    onnx.save(model, path)


TAIL = """
second (float[1, 128, 20, 20] features, float[1, 400, 4] places, float[1, 1, 400] found)
    => (float[n, 4] boxes, float[n, 5] scores)
    <int64[1] most = {50}, float[1] overlap = {0.5}, float[1] least = {0.0}, int64[1] third = {2}, int64[1] end = {3},
     int64[1] last = {1}, int64[1] first = {0}> {
    kept = NonMaxSuppression(places, found, most, overlap, least)
    column = Slice(kept, third, end, last)
    index = Squeeze(column, last)
    all = Squeeze(places, first)
    boxes = Gather<axis = 0>(all, index)
    which = Sub(index, index)
    cut = RoiAlign<output_height = 7, output_width = 7, sampling_ratio = 2, spatial_scale = 0.0625>(
        features, boxes, which)
    flat = Flatten(cut)
    logits = MatMul(flat, classifier)
    scores = Softmax<axis = -1>(logits)
}
"""

MODELS = {
    "llama_cache": llama,
    "whisper_merged": whisper,
    "t5": t5,
    "bigru": bigru,
    "regnety_002": lambda path: vision("regnety_002", 224, path),
    "fastvit_t8": lambda path: vision("fastvit_t8", 256, path),
    "ghostnet_100": lambda path: vision("ghostnet_100", 224, path),
    "detector": detector,
}


def _save(
    model: torch.nn.Module,
    arguments: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Export by tracing: the form of most files that are around."""
    torch.onnx.export(
        model.eval(),
        arguments,
        path,
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: entry for name, entry in axes.items() if name in inputs},
        opset_version=OPSET,
        dynamo=False,
    )


def _let_torchvision_load() -> None:
    """Name the operators that torchvision registers forms of: a build for another torch lacks them, and none is run."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for module in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[module]
        for name in ("nms", "qnms"):
            LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if __name__ == "__main__":
    LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    _let_torchvision_load()
    torch.manual_seed(0)
    MODELS[sys.argv[1]](Path(sys.argv[2]))
