"""The recipe of one run, as a frozen pydantic model. Flags and YAML keys share these names.

Relative paths in a recipe file are relative to the folder that the command is run in, as in a Makefile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from compressctl.errors import UsageError
from compressctl.passes import PASSES
from compressctl.passes.base import PassConfig
from compressctl.recipe.byte_sizes import Bytes
from compressctl.recipe.search import SearchOptions
from compressctl.recipe.threads import Threads
from compressctl.tensorspec import parse_tensor_spec

LEAVES = ("allow_python",)  # what a user gives leave for: on the command line alone, never in a file nor in a report
_BESIDES = {"model", "output", "report", "cache", "explain", "robustness", "force", "resume"}
if TYPE_CHECKING:
    AnyPass = PassConfig
else:
    AnyPass = Annotated[Union[PASSES], Field(discriminator="type")]  # noqa: UP007


def _passes_or_search(schema: dict[str, Any]) -> None:
    schema["required"].remove("passes")
    schema["anyOf"] = [{"required": ["passes"]}, {"required": ["search"]}]


class Recipe(BaseModel):
    """One compression run: from `model` to `output` through `passes`, judged on `data` under the budgets."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        json_schema_extra=_passes_or_search,
    )

    model: Path
    """The ONNX or TorchScript file to compress, or a .ccz file."""
    output: Path
    """The ONNX file to write; with a name that ends in .ccz, packed."""
    input: tuple[str, ...] = ()
    """Inputs of a TorchScript model, or sizes for dynamic ones: NAME:1x3x32x32[:dtype]."""
    calibrate: str | None = None
    """Samples to observe activations on, e.g. train.npz[:256], images/train[:256],norm=imagenet, random."""
    train: str | None = None
    """Samples to train on, with labels or without. Where only `data` is given, every fifth sample of it is measured and
    the others train."""
    data: str | None = None
    """Samples with labels to measure the metric on."""
    metric: str | None = None
    """What is measured on `data`: top1, top5, f1, mse, psnr, spearman, python:module:function; `NAME:OUTPUT` picks an
    output."""
    passes: tuple[AnyPass, ...]
    """The passes, in order; with `search`, those that every candidate begins with."""
    search: SearchOptions | None = None
    """Search for the passes and their settings that make the model smallest or fastest within all budgets."""
    max_accuracy_drop: float | None = Field(default=None, ge=0)
    """Budget: the metric may fall by at most this much, in its own unit (0.01 of top1 is one point)."""
    min_accuracy: float | None = None
    """Budget: the metric of the result, at least."""
    size_ratio: float | None = Field(default=None, gt=0)
    """Budget: file size of the result over that of the input, at most."""
    max_size: Bytes | None = None
    """Budget: file size of the result, at most: bytes, or for example 500kB or 2MB."""
    latency_ratio: float | None = Field(default=None, gt=0)
    """Budget: latency of the result over that of the input, at most."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Budget: median latency of the result on this machine in milliseconds, at most."""
    max_memory: Bytes | None = None
    """Budget: memory that loading and running the result adds to a fresh process at its peak, at most: bytes, or for
    example 64MB."""
    min_sqnr: float | None = None
    """Budget: signal-to-noise ratio of each output against the input model's in dB, at least; needs no labels."""
    min_agreement: float | None = Field(default=None, ge=0, le=1)
    """Budget: share of samples on which each output that is scores of classes has the same class on top as the input
    model's, at least; needs no labels."""
    strict: bool = False
    """Budgets are met only where the whole 95 % interval of what was measured keeps to them."""
    on_regression: Literal["take-back", "keep"] = "take-back"
    """A pass whose result is measured slower and not smaller, is below the fidelity floor, or breaks a budget that the
    result before it keeps, is taken back, or kept and flagged."""
    batch_size: int = Field(default=1, ge=1, le=2**24)
    """Batch size at which latency is measured."""
    threads: Threads = 0
    """Threads for onnxruntime; 0: one per physical core."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where training computes; auto: on a GPU where there is one. Results are measured on the CPU."""
    cache: Path | None = None
    """Folder that keeps the result of each pass, so that only what changed runs again; made if it is missing. Default:
    .compressctl of `pipeline`, none of other commands."""
    explain: bool = False
    """Look into each layer: its bytes, time and error after each pass, which harm accuracy most, and how to spare
    them."""
    robustness: bool = False
    """Measure the metric of input and result on samples with noise, blur, other brightness and adversarial changes,
    too."""
    report: Path | None = None
    """Where the report goes; .json, .md and .html are written. Default: beside the output."""
    allow_python: bool = Field(default=False, exclude=True)
    """Let `python:` data and metrics run code of yours."""
    force: bool = False
    """Overwrite an output that this recipe did not write, and start again where a run was interrupted."""
    resume: bool = False
    """Go on from the checkpoints that an interrupted run of this recipe left beside the output."""

    @model_validator(mode="before")
    @classmethod
    def _a_search_needs_no_passes(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("search") is not None:
            return {"passes": (), **content}
        return content

    @field_validator("input")
    @classmethod
    def _inputs_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                parse_tensor_spec(text)
            except UsageError as error:
                raise ValueError(str(error).removeprefix("--input ")) from error
        return texts

    @field_validator("output", "report")
    @classmethod
    def _names_a_file(cls, path: Path | None) -> Path | None:
        if path is not None and not path.name:
            raise ValueError(f"{path} is a folder; give the name of a file")
        return path

    def canonical(self) -> str:
        """Return what decides the output's bytes, as JSON with sorted keys: no defaults, paths of outputs, force."""
        content = self.model_dump(mode="json", exclude={*_BESIDES, "passes"}, exclude_defaults=True)
        content["passes"] = [config.entry for config in self.passes]
        return json.dumps(content, sort_keys=True)
