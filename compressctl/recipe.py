"""The recipe: everything a run needs, as frozen pydantic models. Flags and YAML keys share these names.

Relative paths in a recipe file are relative to the folder that the command is run in, as in a Makefile.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from compressctl.errors import RecipeError, UsageError
from compressctl.passes import PASSES, name_of
from compressctl.passes.base import PassConfig
from compressctl.tensorspec import parse_tensor_spec
from compressctl.training.options import LossTerm

COMMAND_LINE = "command line"
_BESIDES = {"model", "output", "report", "cache", "explain", "robustness", "force", "resume"}
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
if TYPE_CHECKING:
    AnyPass = PassConfig
else:
    AnyPass = Annotated[Union[tuple(module.Config for module in PASSES)], Field(discriminator="type")]  # noqa: UP007


def _bytes(value: Any) -> Any:
    """Return the bytes that `2MB` stands for; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", value)
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError("give a number of bytes, or for example 500kB, 2MB or 1GiB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]


class Recipe(BaseModel):
    """One compression run: from `model` to `output` through `passes`, judged on `data` under the budgets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    """The passes, in order."""
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
    strict: bool = False
    """Budgets are met only where the whole 95 % interval of what was measured keeps to them."""
    on_regression: Literal["take-back", "keep"] = "take-back"
    """A pass whose result is measured slower and not smaller, or breaks a budget that the result before it keeps, is
    taken back, or kept and flagged."""
    batch_size: int = Field(default=1, ge=1)
    """Batch size at which latency is measured."""
    threads: int = Field(default=0, ge=0)
    """Threads for onnxruntime; 0: one per physical core."""
    seed: int = 0
    """Seed of everything random."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where training computes; auto: on a GPU where there is one. Results are measured on the CPU."""
    cache: Path | None = None
    """Folder that keeps the result of each pass, so that only what changed runs again; made if it is missing."""
    explain: bool = False
    """Look into each layer: its bytes, time and error after each pass, which harm accuracy most, and how to spare
    them."""
    robustness: bool = False
    """Measure the metric of input and result on samples with noise, blur, other brightness and adversarial changes,
    too."""
    report: Path | None = None
    """Where the report goes; .json, .md and .html are written. Default: beside the output."""
    allow_python: bool = False
    """Let `python:` data and metrics run code of yours."""
    force: bool = False
    """Overwrite an output that this recipe did not write, and start again where a run was interrupted."""
    resume: bool = False
    """Go on from the checkpoints that an interrupted run of this recipe left beside the output."""

    @field_validator("input")
    @classmethod
    def _inputs_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                parse_tensor_spec(text)
            except UsageError as error:
                raise ValueError(str(error).removeprefix("--input ")) from error
        return texts

    def canonical(self) -> str:
        """Return what decides the output's bytes, as JSON with sorted keys: no paths of outputs, no force or resume."""
        content = self.model_dump(mode="json", exclude=_BESIDES)
        return json.dumps(content, sort_keys=True)


def load_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a YAML recipe; `overrides` replace top-level keys (flags win over the file).

    Raises:
        RecipeError: the file cannot be read, is not YAML, or has a key or value that does not fit; names the key path.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise RecipeError(
            f"{where}: not valid YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        ) from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys", "see `compressctl schema`")
    return build_recipe({**content, **(overrides or {})}, origin=str(path))


def build_recipe(content: Mapping[str, Any], origin: str) -> Recipe:
    """Validate `content`; `origin` (a file, or COMMAND_LINE) begins each error.

    Raises:
        RecipeError: names the key path and, for an unknown key, the nearest known one.
    """
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as error:
        raise _explain(error, origin) from error


def json_schema() -> dict[str, Any]:
    """Return the recipe's JSON Schema (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def _explain(error: ValidationError, origin: str) -> RecipeError:
    problem = error.errors()[0]
    location = [part for part in problem["loc"] if isinstance(part, int) or part not in _pass_names()]
    while len(location) > 1 and problem["type"] != "extra_forbidden" and not _is_key(location[-1]):
        location.pop()  # the member of a union of types that did not fit
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if origin == COMMAND_LINE:
        origin, path = "bad option", f"--{str(location[-1]).replace('_', '-')}"
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _known_keys(problem["loc"])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        return RecipeError(
            f"{origin}: {path}: unknown key",
            f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}",
        )
    if kind == "union_tag_invalid":
        given = str(problem.get("ctx", {}).get("tag", ""))
        close = difflib.get_close_matches(given, _pass_names(), n=1)
        return RecipeError(
            f"{origin}: {path}.type: there is no pass {given!r}",
            f"did you mean {close[0]!r}?" if close else f"passes: {', '.join(_pass_names())}",
        )
    if kind == "union_tag_not_found":
        return RecipeError(f"{origin}: {path}.type: missing", f"one of {', '.join(_pass_names())}")
    if kind == "missing":
        return RecipeError(f"{origin}: {path}: missing", f"add {path} to the recipe")
    value = problem.get("input")
    shown = f", not {value!r}" if isinstance(value, str | int | float | bool) else ""
    return RecipeError(f"{origin}: {path}: {problem['msg'].removeprefix('Value error, ')}{shown}")


def _is_key(part: int | str) -> bool:
    """Whether a part of a location is an index, or the name of a field anywhere in a recipe."""
    models = (Recipe, LossTerm, *(module.Config for module in PASSES))
    return isinstance(part, int) or any(part in model.model_fields for model in models)


def _pass_names() -> list[str]:
    return [name_of(module) for module in PASSES]


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    if location[0] == "passes" and len(location) > 2:
        config = next(module.Config for module in PASSES if name_of(module) == location[2])
        return list(config.model_fields)
    return list(Recipe.model_fields)
