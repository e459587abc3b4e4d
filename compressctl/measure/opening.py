"""Samples of a model that runs on them: what the model does not say of its inputs is found by trying.

A file may take one sample at a time though it leaves the batch open, bound its numbers by tables, or its lengths by
padding. Samples from files must fit as they are; those that are made up are drawn until the model runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.carried import CarriedStates
from compressctl.data.notation import made_up, open_source
from compressctl.data.source import Feeds, Source
from compressctl.errors import CompressctlError, DataError, ModelError
from compressctl.measure.session import Session
from compressctl.measure.trial import RandomFit, fits, usual_fit
from compressctl.notes import Note, done
from compressctl.probation import on_probation
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What samples are opened for.

    Attributes:
        path: the model's file, as the user named it.
        file: what onnxruntime opens in its place.
        model: the model.
        inputs: its inputs, with what the user says of them.
        notations: of the samples; None where there are none.
        otherwise: what is opened where none of the first is given, so that there is something to run the model on.
        batch_size: of the inference that is timed.
        seed: of what is drawn at random.
        threads: of onnxruntime.
        allow_python: leave to run the user's code.
    """

    path: Path
    file: Path
    model: ir.Model
    inputs: Sequence[TensorSpec]
    notations: Sequence[str | None]
    otherwise: str
    batch_size: int = 1
    seed: int = 0
    threads: int = 0
    allow_python: bool = False


@dataclass(frozen=True)
class Samples:
    """Samples that are open.

    Attributes:
        sources: one a notation.
        usual: the last of them that there is, or what was opened otherwise.
        fit: the inputs of the model, as every source has them, and what random numbers must keep to.
        open: opens further ones.
        notes: what was found by trying.
    """

    sources: tuple[Source | None, ...]
    usual: Source
    fit: RandomFit
    open: Opener
    notes: tuple[Note, ...] = ()


def open_samples(wanted: Wanted, *, prove: bool = True) -> Samples:
    """Open samples, and run the model once on the first of them where it is to prove itself.

    Raises:
        UsageError: the notation is wrong, or the model takes no batches of the size that is asked for.
        DataError: samples cannot be used, or do not fit.
        ModelError: the model does not run.
    """
    if not wanted.inputs:
        raise DataError(
            f"{wanted.path} has no inputs: there is nothing to feed to it", "only its file can be worked on"
        )
    with on_probation(wanted.path):
        fit = usual_fit(wanted.model, wanted.inputs)
    if not prove:
        return _open(wanted, fit)
    try:
        samples = _open(wanted, fit)
        return _rows_alone(wanted, samples, _run(wanted, samples))
    except CompressctlError as error:
        if not _made_up(wanted):
            raise
        with on_probation(wanted.path):
            other = next(fits(wanted.model, wanted.inputs, threads=wanted.threads), None)
        if other is None:
            raise error
    samples = _open(wanted, other)
    return _rows_alone(wanted, samples, _run(wanted, samples))


def _made_up(wanted: Wanted) -> bool:
    """Whether the samples that the model is first run on are made up for it."""
    notation = next((one for one in reversed(wanted.notations) if one is not None), wanted.otherwise)
    return made_up(notation)


def _open(wanted: Wanted, fit: RandomFit) -> Samples:
    opener = Opener(wanted, fit)
    sources = tuple(None if notation is None else opener(notation) for notation in wanted.notations)
    usual = next((source for source in reversed(sources) if source is not None), None) or opener(wanted.otherwise)
    return Samples(sources, usual, fit, opener)


class Opener:
    """Opens further samples for the same model.

    Args:
        wanted: what for.
        fit: what random numbers must keep to.
    """

    def __init__(self, wanted: Wanted, fit: RandomFit) -> None:
        self._wanted, self._fit = wanted, fit
        self._session: Session | None = None

    def __call__(self, notation: str) -> Source:
        """Open samples; states that they do not have are those that the model comes to.

        Raises:
            CompressctlError: as `open_source`.
        """
        source = open_source(
            notation,
            self._fit.inputs,
            seed=self._wanted.seed,
            allow_python=self._wanted.allow_python,
            sizes=self._fit.sizes,
            limits=self._fit.limits,
            beside=self._wanted.path,
        )
        return CarriedStates(source, self._run) if source.carries else source

    def _run(self, feeds: Feeds, outputs: Sequence[str]) -> Feeds:
        if self._session is None:
            self._session = Session(self._wanted.file, threads=self._wanted.threads)
        return self._session.run(feeds, outputs)


def _run(wanted: Wanted, samples: Samples) -> Session:
    """Run the model on as many samples as are timed; return what runs it."""
    for spec in samples.fit.inputs:
        if spec.fixed_batch == 0:
            text = f"{wanted.path}: input {spec.name!r} takes batches of 0 samples"
            raise ModelError(text, "export it with another size")
    with on_probation(wanted.path):
        feeds = samples.usual.first(wanted.batch_size)
    return run_once(wanted.path, feeds, threads=wanted.threads, file=wanted.file)


def _rows_alone(wanted: Wanted, samples: Samples, session: Session) -> Samples:
    """Return the samples one by one where the model leaves the batch open, but runs no two together."""
    if samples.usual.fixed_batch is not None or wanted.batch_size > 1:
        return samples
    try:
        with on_probation(wanted.path):
            session.run(samples.usual.first(2))
        return samples
    except CompressctlError as error:
        reason = error.message
    inputs = tuple(map(_alone, samples.fit.inputs))
    note = done(f"samples are run one by one: the model refuses two together: {reason}")
    return replace(_open(wanted, replace(samples.fit, inputs=inputs)), notes=(note,))


def _alone(spec: TensorSpec) -> TensorSpec:
    if spec.axis is None or spec.lone or not spec.shape:
        return spec
    return replace(spec, shape=(*spec.shape[: spec.axis], 1, *spec.shape[spec.axis + 1 :]))


def run_once(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, file: Path | None = None) -> Session:
    """Open a model in onnxruntime and run it once, on probation; return what runs it.

    Args:
        path: the file, as the user named it; errors name it.
        feeds: an array for every input.
        threads: of onnxruntime.
        file: what onnxruntime opens, where `path` is packed or TorchScript.

    Raises:
        ModelError: onnxruntime cannot open or run it.
        DataError: the feeds do not fit the model.
    """
    with on_probation(path):
        try:
            session = Session(file or path, threads=threads)
            session.run(feeds)
        except CompressctlError as error:
            error.message = error.message.replace(str(file or path), str(path))
            raise
    return session
