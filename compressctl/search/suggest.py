"""The parameters of a candidate, asked of Optuna one by one; and candidates known to be good, to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from compressctl.search.candidate import INTEGER, NARROW, STATIC, WEIGHTS, Params
from compressctl.search.space import Space

EPOCHS = (1, 3, 10, 30)
_SPARSITIES = ("none", "ratio", "2:4", "1:4")
_TRAINABLE = STATIC


class Chooser(Protocol):
    """What chooses values: a trial of Optuna."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Choose one of several."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Choose a whole number from `low` to `high`."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        """Choose a number from `low` to `high`."""
        ...


def suggest(trial: Chooser, space: Space) -> dict[str, Any]:
    """Return a value for each parameter; which ones there are depends on the values of others."""
    found: dict[str, Any] = {}

    def choose(name: str, choices: tuple[Any, ...]) -> Any:
        found[name] = trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]
        return found[name]

    def number(name: str, low: float, high: float, step: float) -> None:
        found[name] = round(trial.suggest_float(name, low, high, step=step), 4)

    kind = choose("format", space.formats)
    structure = choose("structure", space.structures)
    if "prune" in structure:
        number("prune_ratio", 0.1, 0.7, 0.05)
    if "low_rank" in structure:
        number("energy", 0.8, 0.99, 0.01)
    if space.sparse and choose("sparsity", _SPARSITIES) == "ratio":
        number("sparse_ratio", 0.3, 0.9, 0.05)
    if kind in STATIC:
        choose("calibration_method", ("percentile", "mse", "minmax"))
    if kind in NARROW:
        choose("edges", ("int8", "same"))
    if kind in WEIGHTS:
        choose("weight_rounding", ("gptq", "hqq") if space.calibrated else ("nearest", "hqq"))
    if kind == "cluster":
        found["cluster_bits"] = trial.suggest_int("cluster_bits", 2, 6)
    if space.train:
        if structure or found.get("sparsity", "none") != "none" or kind == "cluster":
            choose("tune_epochs", (0, *EPOCHS))
        if kind in _TRAINABLE:
            choose("qat_epochs", (0, *EPOCHS))
    if kind in STATIC and not found.get("qat_epochs"):
        narrow = kind in NARROW  # a parameter of Optuna has the same choices always
        choose("narrow_rounding" if narrow else "rounding", space.roundings if narrow else ("nearest", "gptq"))
    if kind in INTEGER and space.smooth:
        choose("smooth", (False, True))
    spares = kind in INTEGER or kind in WEIGHTS
    if spares and "low_rank" not in structure and space.most_spared:  # factors have names of their own
        found["spared"] = trial.suggest_int("spared", 0, space.most_spared)
    return found


def starts(space: Space) -> Iterator[Params]:
    """Yield what is known to be good and quick, best first, so that the shortest search has plain INT8."""
    plain = {"calibration_method": "percentile", "rounding": "nearest"}
    narrow = {"calibration_method": "percentile", "edges": "int8", "narrow_rounding": "gptq"}
    kinds = {"int8": plain, "auto": {}, "int8-dynamic": {}, "w4a8": narrow, "fp16": {}}
    rounding = {"weight_rounding": "gptq" if space.calibrated else "nearest"}
    cut = [name for name in ("prune",) if name in space.structures]
    for kind, settings in kinds.items():
        if kind in space.formats:
            yield _filled(space, format=kind, **settings)
    integer = next((kind for kind in ("int8", "int8-dynamic") if kind in space.formats), None)
    if integer and cut:
        yield _filled(space, format=integer, structure="prune", prune_ratio=0.25, **kinds[integer])
    if "w4a8" in space.formats and space.most_spared >= 2:
        yield _filled(space, format="w4a8", **{**narrow, "edges": "same", "spared": 2})
    if "int4" in space.formats:
        yield _filled(space, format="int4", **rounding)
    if space.train and "w4a8" in space.formats:
        yield _filled(space, format="w4a8", **{**narrow, "qat_epochs": 3})
    if space.train and integer and cut:
        yield _filled(space, format=integer, structure="prune", prune_ratio=0.4, tune_epochs=3, **kinds[integer])
    if "w3a8" in space.formats:
        yield _filled(space, format="w3a8", **narrow)
    if integer and space.sparse:
        yield _filled(space, format=integer, sparsity="ratio", sparse_ratio=0.5, **kinds[integer])
    if "cluster" in space.formats:
        yield _filled(space, format="cluster", cluster_bits=4)
    yield _filled(space, format="float")


def _filled(space: Space, **params: Any) -> Params:
    """Return parameters with the neutral value of every other one that `suggest` will ask for."""

    class Given:
        def suggest_categorical(self, name: str, choices: Any) -> Any:
            return params.get(name, choices[0])

        def suggest_int(self, name: str, low: int, high: int) -> int:
            return int(params.get(name, low))

        def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
            return float(params.get(name, low))

    return suggest(Given(), space)
