"""The options of training, shared by every pass that trains. Cheap to import: the command line lists them."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from compressctl.choices import BatchNorm
from compressctl.fields import Option, Options

Loss = Literal["cross-entropy", "next-token", "mse", "bce", "cosine", "contrastive", "kl", "features", "attention"]
Target = Literal["labels", "teacher", "tokens", "pairs"]
_TARGETS: dict[str, tuple[Target, ...]] = {  # the first is the default
    "cross-entropy": ("labels",),
    "next-token": ("tokens",),
    "bce": ("labels", "teacher"),
    "mse": ("teacher", "labels"),
    "cosine": ("teacher", "labels"),
    "contrastive": ("pairs", "teacher"),
    "kl": ("teacher",),
    "features": ("teacher",),
    "attention": ("teacher",),
}


_TEMPERATURES = {"kl": 4.0, "contrastive": 0.05}


class LossTerm(Options):
    """One term of the sum that training minimises; in short `kl:temperature=4,weight=0.9`."""

    loss: Loss
    """cross-entropy, next-token, mse, bce, cosine, contrastive or kl of an output; features or attention of a node."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Factor of this term."""
    temperature: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """kl: both sides' scores are divided by it, and the term is multiplied by its square (default 4); contrastive: what
    similarities are divided by (default 0.05)."""
    target: Target | None = None
    """What to come close to: the labels (default of cross-entropy and bce), the tokens that are fed (next-token), the
    other one of a pair (contrastive), or the teacher (default of the others)."""
    output: str | None = None
    """The output that is compared; default: the only one that fits, else the one that the metric judges."""
    student: str | None = None
    """features, attention: the node of the trained model whose output is compared."""
    teacher: str | None = None
    """features, attention: the node of the teacher; default: the one of the same name."""

    @property
    def aim(self) -> Target:
        """What this term compares with: `target`, or the loss's default."""
        return self.target or _TARGETS[self.loss][0]

    @property
    def softness(self) -> float:
        """The temperature, or the default of this loss; of losses without one, 1."""
        return self.temperature or _TEMPERATURES.get(self.loss, 1.0)

    @property
    def between_nodes(self) -> bool:
        """Whether this term compares nodes in the graph rather than outputs."""
        return self.loss in ("features", "attention")

    def __str__(self) -> str:
        fields = type(self).model_fields
        given = [f"{name}={_short(value)}" for name, value in self if value != fields[name].default and name != "loss"]
        return f"{self.loss}:{','.join(given)}" if given else self.loss

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _parse(value, [name for name in cls.model_fields if name != "loss"]) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.aim not in _TARGETS[self.loss]:
            raise ValueError(f"{self.loss} cannot have the target {self.aim}, only {' or '.join(_TARGETS[self.loss])}")
        if self.loss not in _TEMPERATURES and self.temperature is not None:
            raise ValueError(f"{self.loss} has no temperature, only {' and '.join(_TEMPERATURES)} have")
        if self.between_nodes:
            if self.student is None:
                raise ValueError(f"{self.loss} needs the node to compare: {self.loss}:student=NODE")
            if self.output is not None:
                raise ValueError(f"{self.loss} compares nodes: name them with student and teacher, not output")
        elif self.student is not None or self.teacher is not None:
            raise ValueError(f"{self.loss} compares outputs: name one with output, not student or teacher")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        short = {"type": "string", "description": "In short: LOSS[:KEY=VALUE,…], e.g. kl:temperature=4,weight=0.9"}
        return {"anyOf": [handler(schema), short]}


class TrainingOptions(Options):
    """How to train. The weights that score best on held-out samples are kept, those that came in among them."""

    group: ClassVar[str | None] = "Training"

    epochs: Annotated[int, Option(everyday=True)] = Field(default=10, ge=1)
    """Times that every training sample is seen."""
    steps: int | None = Field(default=None, ge=1)
    """Number of steps, one batch each; overrides epochs."""
    train_batch: int = Field(default=64, ge=1)
    """Samples a step; a model with a fixed batch trains with that one."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with Nesterov momentum."""
    learning_rate: Annotated[float, Option(everyday=True)] = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """The learning rate after warm-up."""
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Decay of weights of two or more dimensions; biases, norms and quantization scales do not decay."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls to zero after warm-up: as a cosine, a line, or not at all."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    clip_norm: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Scale gradients down to this L2 norm over all weights; 0: never."""
    held_out: float = Field(default=0.1, gt=0, le=0.5)
    """Share of the samples that are not trained on but decide which weights are best."""
    evaluate_every: int = Field(default=0, ge=0)
    """Steps between evaluations of the held-out samples; 0: once an epoch."""
    patience: int = Field(default=0, ge=0)
    """Stop after this many evaluations in a row without a better one; 0: never."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Steps between checkpoints, from which an interrupted run resumes."""
    batch_norm: BatchNorm = "train"
    """train: batch normalization uses and gathers the statistics of the batches; freeze: those of the model stay."""
    freeze: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Leave the weights whose names match one of these globs as they are."""
    keep_zeros: Annotated[bool, Option(flags=("--keep-zeros/--free-zeros",))] = True
    """Let zeros in weights of two or more dimensions stay zero, as pruning left them."""
    keep_clusters: Annotated[bool, Option(flags=("--keep-clusters/--free-clusters",))] = True
    """Let weights of two or more dimensions that share few values go on sharing them, as `cluster` left them."""
    augment: tuple[Literal["flip", "crop"], ...] = ()
    """Vary images at random: flip mirrors left and right, crop shifts by up to an eighth of the size."""
    losses: Annotated[tuple[LossTerm, ...], Option(flags=("--loss",), metavar="LOSS[:KEY=VALUE,…]")] = ()
    """The terms of the loss, e.g. kl:temperature=4,weight=0.9 and cross-entropy:weight=0.1; default: the pass's own."""
    compile: bool = False
    """Compile the training step with torch.compile: slower to start, faster a step on a GPU."""

    def inferences(self, calibration: int, training: int) -> int:
        """Return roughly how many samples the model computes, as `PassConfig.inferences` does.

        A step computes a sample forwards and, at twice that cost, backwards, and the teacher computes it too.
        """
        trained = self.steps * self.train_batch if self.steps else self.epochs * training
        return 4 * trained


def _parse(text: str, known: list[str]) -> dict[str, Any]:
    """Return the keys of `loss[:key=value,…]`; pydantic converts and checks the values."""
    loss, colon, rest = text.partition(":")
    keys: dict[str, Any] = {"loss": loss.strip()}
    for part in rest.split(",") if colon else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise ValueError(f"{text!r}: {part.strip()!r} is no KEY=VALUE, as in kl:temperature=4,weight=0.9")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise ValueError(f"{text!r}: unknown key {key!r}, {_suggest(close, known)}")
        if key in keys:
            raise ValueError(f"{text!r}: {key!r} is given twice")
        keys[key] = value
    return keys


def _suggest(close: list[str], known: list[str]) -> str:
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
