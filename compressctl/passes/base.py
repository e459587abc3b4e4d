"""What every pass is: a frozen Config, the one place where its options are defined, that runs on a model.

The folder of a pass must stay cheap to import, as the command line reads its Config for `--help`: the work, and what it
needs, is in the module `run` of the folder, which is imported when the pass runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from compressctl.fields import Options
from compressctl.notes import Note
from compressctl.passes.advice import Advise
from compressctl.resources import Resources
from compressctl.selection import Selection

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.data.source import Source
    from compressctl.measure.metric import Metric
    from compressctl.measure.trial import RandomFit
    from compressctl.training.checkpoint_paths import CheckpointPath


Reads = Literal["calibration", "training", "evaluation"]
WeightForm = Literal["plain", "packed", "static", "dynamic"]


class PassConfig(Options):
    """Options of a pass. Subclasses add `type: Literal["name"]` and their fields, each with a description.

    Attributes:
        reads: the samples that the pass may look at; it is handed no others. The budget of the metric comes with
            "evaluation".
        prepares: whether the pass leaves what the model computes, and is there for the sake of the passes after it.
        edits_weights: whether the pass gives plain weights other values or another form; where another pass gave all
            of them another form, it finds nothing to do.
        stopped_by: forms of weights that the pass cannot work beside, even where only one layer has them.
        widens: whether it gets weights that are stored in half precision behind a Cast as float32; what it leaves so
            goes back to the stored form.
        telling: options that tell it from others in a label.
        advise: what it says to a starter recipe.
    """

    reads: ClassVar[tuple[Reads, ...]] = ()
    prepares: ClassVar[bool] = False
    edits_weights: ClassVar[bool] = False
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ()
    widens: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ()
    advise: ClassVar[Advise | None] = None

    type: str

    def run(self, model: ir.Model, context: Context) -> Outcome:
        """Rewrite `model`, in place or not: call `run(model, config, context)` of the module `run` beside the Config.

        Tensors of `model` are shared with its clones, so replace `const_value`, and never write into arrays.

        Raises:
            CompressctlError: the pass cannot do what it was asked for.
        """
        run: Callable[[ir.Model, PassConfig, Context], Outcome] = import_module(f"{type(self).__module__}.run").run
        if not self.widens:
            return run(model, self, context)
        widened: Outcome = import_module("compressctl.passes.halves").run_widened(run, model, self, context)
        return widened

    @classmethod
    def preview(cls, model: ir.Model, context: Context) -> tuple[Note, ...] | None:
        """Return what the pass would do to a simplified model, left as it is, or None where that takes samples."""
        return None

    @classmethod
    def name(cls) -> str:
        """Return the `type` by which recipes name the pass."""
        return str(cls.model_fields["type"].default)

    @property
    def form(self) -> WeightForm | None:
        """The form that weights have after the pass: plain floats; packed: floats that nodes make of something smaller;
        static or dynamic: integers, with activations rounded at scales known before or found at run time. None: as
        before."""
        return None

    @property
    def needs(self) -> str | None:
        """What of it needs samples to calibrate on, in words; None where it goes without."""
        return None

    @property
    def limited(self) -> bool:
        """Whether the pass is told to leave some layers as they are."""
        return self.selection != Selection()

    @property
    def selection(self) -> Selection:
        """Which nodes the pass may touch."""
        return Selection(**{key: getattr(self, key, ()) for key in ("include", "exclude", "include_op", "exclude_op")})

    def inferences(self, calibration: int, training: int) -> int:
        """Return roughly how many samples the model computes in this pass.

        Args:
            calibration: samples that there are to calibrate on.
            training: samples that there are to train on.
        """
        return calibration if "calibration" in self.reads else 0

    @property
    def entry(self) -> dict[str, Any]:
        """The pass as a recipe has it, JSON-able: its type, and what is not left at its default."""
        return {"type": self.type, **self.model_dump(mode="json", exclude_defaults=True)}

    @property
    def label(self) -> str:
        """The pass in a few words, such as `quantize w4a8 gptq`: what is not left at its default, and the scheme."""
        told = []
        for key in self.telling:
            value = getattr(self, key)
            if value is not None and (key == "scheme" or value != type(self).model_fields[key].default):
                told.append(f"{value:.3g}" if isinstance(value, float) else str(value))
        layers = len(getattr(self, "exclude", ())) or -len(getattr(self, "include", ()))
        if layers:
            told.append(f"without {layers} layers" if layers > 0 else f"on {-layers} layers")
        return " ".join([self.type, *told])

    @property
    def files(self) -> tuple[Path, ...]:
        """Model files that the pass reads, besides the model that it is given."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Context(Resources):
    """What the runner hands to a pass besides the model: samples, the budget, and what it may use.

    Attributes:
        baseline: the model as it was loaded; never edited.
        unprepared: the model as it was before the passes that merely prepared it for this one, or None; never edited.
        calibration: samples to observe activations on, or None.
        evaluation: samples with labels to measure the metric on, or None.
        metric: the metric for `evaluation`, or None.
        max_accuracy_drop: the budget on the metric, in the metric's own unit, or None.
        training: samples to train on, or None.
        fit: the inputs, and what random ones must keep to; None: as the model has them.
        batch_size: of an inference whose time is measured, where the model leaves it open.
        checkpoint: where a pass that trains keeps its state, or None.
    """

    baseline: ir.Model
    unprepared: ir.Model | None = None
    calibration: Source | None = None
    evaluation: Source | None = None
    metric: Metric | None = None
    max_accuracy_drop: float | None = None
    training: Source | None = None
    fit: RandomFit | None = None
    batch_size: int = 1
    checkpoint: CheckpointPath | None = None


@dataclass(frozen=True)
class Target:
    """What a pass was asked to reach.

    Attributes:
        key: the option that asks for it.
        limit: what `value` may be at most.
        value: what was reached.
    """

    key: str
    limit: float
    value: float


@dataclass(frozen=True)
class Outcome:
    """What a pass returns.

    Attributes:
        model: the rewritten model (the same object that was passed in, or a new one).
        notes: what was done, skipped or needs attention, each with node and reason.
        facts: JSON-able details for the report (tables by layer, chosen numbers).
        targets: what it was asked to reach; one that is missed counts as a missed budget.
    """

    model: ir.Model
    notes: tuple[Note, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
