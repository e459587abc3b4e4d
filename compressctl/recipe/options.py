"""The options of a run, in the groups in which the help lists them; a Recipe has them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from compressctl.errors import UsageError
from compressctl.fields import Option, Options
from compressctl.measure.metrics import METRICS, OWN
from compressctl.model_folder import model_file
from compressctl.quantities import Threads
from compressctl.tensorspec import parse_state, parse_tensor_spec


def _names_a_file(path: Path | None) -> Path | None:
    if path is not None and not path.name:
        raise ValueError(f"{path} is a folder; give the name of a file")
    return path


class Files(Options):
    """What is read and written."""

    model: Annotated[Path, AfterValidator(model_file), Option(positional=True, decides="report", everyday=True)]
    """The ONNX or TorchScript file to compress, a .ccz file, or a folder that holds model.onnx or onnx/model.onnx."""
    output: Annotated[
        Path,
        AfterValidator(_names_a_file),
        Option(flags=("--output", "-o"), decides="report", written=True, everyday=True),
    ]
    """The ONNX file to write; with a name that ends in .ccz, packed."""


class Samples(Options):
    """What the model is given, and what of its answers is measured."""

    group: ClassVar[str | None] = "Samples"

    input: Annotated[tuple[str, ...], Option(metavar="NAME:SHAPE[:DTYPE]|NAME=VALUE")] = ()
    """Inputs of a TorchScript model, or sizes for dynamic ones: NAME:1x3x32x32[:dtype]; or what an input is fed that
    takes no samples: sr=16000."""
    state: Annotated[tuple[str, ...], Option(metavar="INPUT=OUTPUT")] = ()
    """States whose names do not tell: the input is zeros at first, then what the output was one step before."""
    calibrate: Annotated[str | None, Option(metavar="DATA", everyday=True)] = None
    """Samples to observe activations on, e.g. train.npz[:256], images/train[:256],norm=imagenet, random."""
    train: Annotated[str | None, Option(metavar="DATA")] = None
    """Samples to train on, with labels or without. Where only `data` is given, every fifth sample of it is measured and
    the others train."""
    data: Annotated[str | None, Option(metavar="DATA", everyday=True)] = None
    """Samples to measure a metric on, with labels where it needs them: `metric`, or the first one that fits them."""
    metric: Annotated[str | None, Option(words=tuple(METRICS), everyday=True)] = Field(
        default=None,
        description=f"What is measured on `data`: {', '.join(METRICS)}, {OWN}; `NAME:OUTPUT` picks an output.",
    )
    allow_python: Annotated[bool, Option(permission=True)] = Field(default=False, exclude=True)
    """Let `python:` data and metrics run code of yours."""

    def notations(self) -> Iterator[tuple[str, str]]:
        """Yield the samples that are given: their key, and their notation."""
        for key, notation in (("calibrate", self.calibrate), ("train", self.train), ("data", self.data)):
            if notation is not None:
                yield key, notation

    @field_validator("state")
    @classmethod
    def _states_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            parse_state(text)
        return texts

    @field_validator("input")
    @classmethod
    def _inputs_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                parse_tensor_spec(text)
            except UsageError as error:
                raise ValueError(str(error).removeprefix("--input ")) from error
        return texts


class RunOptions(Options):
    """How a run goes about it."""

    group: ClassVar[str | None] = "Run"

    batch_size: int = Field(default=1, ge=1, le=2**24)
    """Batch size at which latency is measured, in reports and by passes that go by it."""
    threads: Threads = 0
    """Threads to compute with; 0: one per physical core."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where training computes; auto: on a GPU where there is one. Results are measured on the CPU."""
    cache: Annotated[Path | None, Option(metavar="FOLDER", decides="nothing")] = None
    """Folder that keeps the result of each pass, so that only what changed runs again; made if it is missing. Default:
    .compressctl of `pipeline`, none of other commands."""
    force: Annotated[bool, Option(decides="nothing", everyday=True)] = False
    """Overwrite an output that this recipe did not write, and start again where a run was interrupted."""
    resume: Annotated[bool, Option(decides="nothing")] = False
    """Go on from the checkpoints that an interrupted run of this recipe left beside the output."""


class ReportOptions(Options):
    """What the report says, and where it goes."""

    group: ClassVar[str | None] = "Report"

    measure: Annotated[bool, Option(decides="report")] = True
    """Run input and result, compare their outputs and time them; else the file is all there is, and nothing is run but
    what the passes themselves need."""
    explain: Annotated[bool, Option(decides="report", runs=True)] = False
    """Look into each layer: its bytes, time and error after each pass, which cost accuracy most, and how to spare
    them."""
    robustness: Annotated[bool, Option(decides="report", runs=True, scored=True)] = False
    """Measure the metric of input and result on samples with noise, blur, other brightness and adversarial changes,
    too."""
    report: Annotated[Path | None, AfterValidator(_names_a_file), Option(decides="report", written=True)] = None
    """Where the report goes; .json, .md and .html are written. Default: beside the output."""
