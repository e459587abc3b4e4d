"""What a candidate is made of: parameters as Optuna knows them -> passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from glob import escape
from typing import Any

from compressctl.passes import (
    cluster,
    finetune,
    low_rank,
    prune,
    qat,
    quantize,
    quantize_weights,
    simplify,
    smooth_quant,
    sparsify,
    store,
)
from compressctl.passes.base import PassConfig
from compressctl.search.space import Space

STATIC = ("int8", "w4a8", "w3a8", "w2a8")
NARROW = STATIC[1:]
INTEGER = (*STATIC, "auto", "int8-dynamic")
WEIGHTS = ("int4", "int3", "int2")

Params = Mapping[str, Any]


def passes_of(params: Params, space: Space, begin: Sequence[PassConfig], *, own_beginning: bool) -> list[PassConfig]:
    """Return the passes that parameters stand for.

    Args:
        params: a value for each parameter that `suggest` asks for.
        space: what they were chosen from.
        begin: the passes that every candidate begins with.
        own_beginning: whether these are the user's; else norms stay in place while a cut network trains.
    """
    structure = [name for name in params["structure"].split(",") if name]
    tunes = params.get("tune_epochs", 0)
    keeps_norms = bool(tunes and structure) and not own_beginning
    found: list[PassConfig] = [simplify.Config(skip=("batchnorm",))] if keeps_norms else list(begin)
    for name in structure:
        found.append(_cut(params, trained=bool(tunes)) if name == "prune" else low_rank.Config(energy=params["energy"]))
    if "sparsity" in params:
        found += _sparse(params)
    loses = bool(structure) or params.get("sparsity", "none") != "none"
    if tunes and loses:
        found.append(finetune.Config(epochs=tunes))
    if keeps_norms:
        found.append(simplify.Config())
    found += _numbers(params, [escape(name) for name in space.spare[: params.get("spared", 0)]])
    if params["format"] == "cluster" and tunes:
        found.append(finetune.Config(epochs=tunes, learning_rate=1e-4))
    if params["format"] == "cluster" or params.get("sparsity", "none") != "none":
        found.append(store.Config())
    return found


def identity(passes: Sequence[PassConfig]) -> str:
    """Return passes as canonical JSON: equal passes, equal texts."""
    return json.dumps([config.model_dump(mode="json") for config in passes], sort_keys=True)


def label(passes: Sequence[PassConfig]) -> str:
    """Return passes in a few words: `prune 0.25 > quantize w4a8 gptq`."""
    words = [_words(config) for config in passes if not config.prepares]
    return " > ".join(words) or "simplify"


def _words(config: PassConfig) -> str:
    fields = type(config).model_fields
    told = []
    for key in ("scheme", "rounding", "ratio", "nm", "energy", "clusters", "epochs", "steps"):
        value = getattr(config, key, None)
        if value is not None and (key == "scheme" or value != fields[key].default):
            told.append(f"{value:.3g}" if isinstance(value, float) else str(value))
    layers = len(getattr(config, "exclude", ())) or -len(getattr(config, "include", ()))
    if layers:
        told.append(f"without {layers} layers" if layers > 0 else f"on {-layers} layers")
    return " ".join([config.type, *told])


def _cut(params: Params, *, trained: bool) -> PassConfig:
    return prune.Config(ratio=params["prune_ratio"], reconstruct=False if trained else None)


def _sparse(params: Params) -> list[PassConfig]:
    kind = params["sparsity"]
    if kind == "none":
        return []
    return [sparsify.Config(ratio=params["sparse_ratio"]) if kind == "ratio" else sparsify.Config(nm=kind)]


def _numbers(params: Params, spared: list[str]) -> list[PassConfig]:
    """Return the passes that store numbers in the wanted format; spared layers get the next wider one."""
    kind = params["format"]
    globs = tuple(spared)
    if kind == "float":
        return []
    if kind == "fp16":
        return [quantize_weights.Config(scheme="fp16")]
    if kind == "cluster":
        return [cluster.Config(clusters=2 ** params["cluster_bits"])]
    if kind in WEIGHTS:
        weights = quantize_weights.Config(scheme=kind, rounding=params["weight_rounding"], exclude=globs)
        wide = [quantize_weights.Config(scheme="fp16", include=globs)] if globs else []
        return [weights, *wide]
    smooth: list[PassConfig] = [smooth_quant.Config()] if params.get("smooth") else []
    return [*smooth, *_integers(params, kind, globs)]


def _integers(params: Params, kind: Any, globs: tuple[str, ...]) -> list[PassConfig]:
    edges = {"edges": params["edges"]} if kind in NARROW else {}
    method = {"calibration_method": params["calibration_method"]} if "calibration_method" in params else {}
    if params.get("qat_epochs"):
        found: PassConfig = qat.Config(scheme=kind, epochs=params["qat_epochs"], exclude=globs, **edges, **method)
    else:
        rounding = params.get("narrow_rounding" if kind in NARROW else "rounding", "nearest")
        found = quantize.Config(scheme=kind, rounding=rounding, keep_float=0, exclude=globs, **edges, **method)
    if kind not in NARROW or not globs:
        return [found]
    return [found, quantize.Config(scheme="int8", keep_float=0, include=globs, **method)]
