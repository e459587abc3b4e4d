"""Parameters -> passes: whatever is chosen makes a recipe that is valid, and says what it is meant to."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressctl.passes import simplify
from compressctl.passes.space import Format, Space
from compressctl.recipe.load import build_recipe
from compressctl.search.candidate import label, passes_of, starts, suggest
from compressctl.search.local_search import dominates, local_move
from compressctl.search.record import dumped

KINDS = {
    "float": ("float", "fp16"),
    "integer": ("int8", "w4a8", "w3a8", "w2a8", "auto", "int8-dynamic"),
    "weights": ("int4", "int3", "int2", "cluster"),
}
FORMATS = tuple(Format(name, kind, repeats=name == "cluster") for kind, names in KINDS.items() for name in names)
CHOICES = {
    "sparsity": ("none", "ratio", "2:4", "1:4"),
    "narrow_rounding": ("gptq", "adaround"),
    "smooth": (False, True),
}
STRUCTURES = ("", "prune", "low_rank", "prune,low_rank", "low_rank,prune")


def space(**changes):
    whole = {
        "formats": FORMATS,
        "structures": STRUCTURES,
        "choices": CHOICES,
        "calibrated": True,
        "train": True,
        "spare": ("a/Conv", "b[0]", "c", "d", "e", "f"),
    }
    return Space(**{**whole, **changes})


class Dice:
    """Chooses at random, and remembers the choices of each parameter, which must always be the same."""

    def __init__(self, seed):
        self.random, self.asked = random.Random(seed), {}

    def suggest_categorical(self, name, choices):
        assert self.asked.setdefault(name, tuple(choices)) == tuple(choices)
        return self.random.choice(choices)

    def suggest_int(self, name, low, high):
        assert self.asked.setdefault(name, (low, high)) == (low, high)
        return self.random.randint(low, high)

    def suggest_float(self, name, low, high, *, step=None):
        assert self.asked.setdefault(name, (low, high, step)) == (low, high, step)
        return low + step * self.random.randint(0, round((high - low) / step))


def content(passes):
    return {"model": "a.onnx", "output": "b.onnx", "calibrate": "random", "train": "x.npz", "passes": dumped(passes)}


def passes(params, of=None, begin=()):
    return passes_of(params, of or space(), begin)


@given(st.integers(0, 10**9), st.booleans(), st.booleans())
def test_every_candidate_is_a_valid_recipe(seed, train, calibrated):
    where = space(train=train, calibrated=calibrated)
    found = passes(suggest(Dice(seed), where), where)
    assert list(build_recipe(content(found), "search").passes) == found
    assert label(found)


def test_a_parameter_of_optuna_has_the_same_choices_always():
    dice = Dice(0)
    for _ in range(500):
        suggest(dice, space())


def test_the_first_start_is_plain_int8_and_all_are_different():
    first, *others = (passes(params) for params in starts(space()))
    assert [config.type for config in first] == ["simplify", "quantize"]
    assert first[1].scheme == "int8" and first[1].rounding == "nearest" and not first[1].exclude
    assert all(other != first for other in others)
    types = {(config.type, getattr(config, "scheme", None)) for other in others for config in other}
    assert {("quantize", "w4a8"), ("quantize_weights", "int4"), ("quantize", "int8-dynamic")} <= types
    assert ("prune", None) in types and ("qat", "w4a8") in types


def test_starts_of_a_model_without_static_layers_begin_with_dynamic_int8():
    static = {"int8", "w4a8", "w3a8", "w2a8", "auto"}
    where = space(formats=tuple(format for format in FORMATS if format.name not in static), calibrated=False)
    first = passes(next(iter(starts(where))), where)
    assert [getattr(config, "scheme", "") for config in first] == ["", "int8-dynamic"]


def test_spared_layers_get_the_next_wider_format_by_escaped_globs():
    narrow = {"format": "w3a8", "structure": "", "narrow_rounding": "gptq", "first_last": "same", "spared": 2}
    _, few, wide = passes(narrow)
    assert few.exclude == wide.include == ("a/Conv", "b[[]0]") and wide.scheme == "int8" and few.scheme == "w3a8"
    _, few, wide = passes({"format": "int4", "structure": "", "weight_rounding": "gptq", "spared": 1})
    assert wide.scheme == "fp16" and wide.include == few.exclude == ("a/Conv",)
    (_, eight) = passes({"format": "int8", "structure": "", "rounding": "nearest", "spared": 1})
    assert eight.exclude == ("a/Conv",) and eight.keep_float == 0


def test_norms_stay_while_a_cut_network_trains_unless_the_user_says_how_to_begin():
    params = {"format": "int8", "structure": "prune", "prune_ratio": 0.5, "tune_epochs": 3}
    types = [config.type for config in passes(params)]
    assert types == ["simplify", "prune", "finetune", "simplify", "quantize"] and passes(params)[0].skip == (
        "batchnorm",
    )
    assert passes(params)[1].reconstruct is False
    assert [config.type for config in passes(params, begin=(simplify.Config(),))] == [
        "simplify",
        "prune",
        "finetune",
        "quantize",
    ]


def test_order_is_a_parameter():
    both = {"format": "float", "prune_ratio": 0.5, "energy": 0.9}
    assert label(passes({**both, "structure": "prune,low_rank"})) == "prune 0.5 > low_rank 0.9"
    assert label(passes({**both, "structure": "low_rank,prune"})) == "low_rank 0.9 > prune 0.5"


@given(st.integers(0, 10**9))
def test_a_neighbour_is_valid_different_and_near(seed):
    parent = suggest(Dice(seed), space())
    found = local_move(parent, space(), str(seed))
    assert found != parent and found == local_move(parent, space(), str(seed))
    assert list(build_recipe(content(passes(found)), "search").passes) == passes(found)


def test_most_settings_of_neighbours_stay():
    parent = {**next(iter(starts(space()))), "calibration_method": "mse"}
    near = [local_move(parent, space(), str(seed)) for seed in range(200)]
    changed = [sum(found.get(key) != value for key, value in parent.items()) for found in near]
    assert 1 <= sum(changed) / len(changed) <= 3 and min(changed) >= 1


HARSH = {"format": "w4a8", "structure": "prune", "prune_ratio": 0.4, "spared": 2, "first_last": "same"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"prune_ratio": 0.5}, True),
        ({"prune_ratio": 0.3}, False),
        ({"format": "w3a8", "spared": 0}, True),
        ({"format": "int8"}, False),
        ({"spared": 3}, False),
        ({"first_last": "int8"}, False),
        ({"tune_epochs": 3}, False),
    ],
)
def test_what_is_harsher_in_every_respect(changes, expected):
    assert dominates({**HARSH, **changes}, HARSH) is expected
