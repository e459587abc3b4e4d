"""`sweep`: one recipe for each combination."""

import itertools
from pathlib import Path

import pytest

from compressctl.errors import RecipeError

TEXT = """
model: m.onnx
output: out_${ratio}_${seed}.onnx
vars: {ratio: 0.9, tag: 'r${ratio}'}
sweep: {ratio: [0.5, 0.25], seed: [1, 2, 3]}
seed: ${seed}
calibrate: ${tag}
passes: [{type: prune, ratio: '${ratio}'}]
"""


def test_all_combinations_the_last_fastest(load):
    recipes = load(TEXT)
    found = [(recipe.passes[0].ratio, recipe.seed, str(recipe.output), recipe.calibrate) for recipe in recipes]
    expected = itertools.product([0.5, 0.25], [1, 2, 3])
    assert found == [(ratio, seed, f"out_{ratio}_{seed}.onnx", f"r{ratio}") for ratio, seed in expected]


def test_set_pins_a_swept_variable_or_sweeps_others(load):
    assert [recipe.seed for recipe in load(TEXT, "ratio=0.75")] == [1, 2, 3]
    assert {recipe.passes[0].ratio for recipe in load(TEXT, "ratio=0.75")} == {0.75}
    assert len(load(TEXT, "ratio=0.75", "seed=4")) == 1
    assert [recipe.seed for recipe in load(TEXT, "ratio=0.75", "sweep.seed=[7, 8]")] == [7, 8]


def test_values_may_refer_to_variables(load):
    text = TEXT.replace("[1, 2, 3]", "['${first}', 9]").replace("tag:", "first: 4, tag:")
    assert [recipe.seed for recipe in load(text, "ratio=0.5")] == [4, 9]


def test_lists_can_be_swept(load):
    text = """
model: m.onnx
output: out.onnx
sweep: {skip: [[], [pads, gemm]], seed: [1]}
passes: [{type: simplify, skip: '${skip}'}]
"""
    with pytest.raises(RecipeError, match=r"two runs: skip=\[\], seed=1 and skip=\['pads', 'gemm'\], seed=1"):
        load(text)
    assert load(text, "skip=[pads]")[0].passes[0].skip == ("pads",)


def test_variables_are_filled_into_flags(load):
    recipes = load(TEXT, "ratio=0.5", output=Path("build/${seed}.onnx"))
    assert [str(recipe.output) for recipe in recipes] == ["build/1.onnx", "build/2.onnx", "build/3.onnx"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("out_${ratio}_${seed}.onnx", "out_${ratio}.onnx", ["output: out_0.5.onnx", "seed=2", "out_0.5_${seed}.onnx"]),
        ("out_${ratio}_${seed}.onnx", "out.onnx", ["out_${seed}.onnx"]),
        ("[1, 2, 3]", "[1, 1]", ["output"]),
        ("[1, 2, 3]", "[]", ["r.yaml: sweep.seed"]),
        ("[1, 2, 3]", "3", ["r.yaml: sweep.seed", "list"]),
        ("[1, 2, 3]", "[{a: 1}]", ["r.yaml: sweep.seed"]),
        ("[1, 2, 3]", "['${seed}']", ["sweep.seed[0]"]),
        ("seed: ${seed}", "seed: ${seed}\nreport: all.json", ["report: all.json", "two runs"]),
        ("sweep:", "swep:", ["swep: unknown key", "'sweep'"]),
    ],
)
def test_refusals(load, old, new, words):
    assert old in TEXT
    with pytest.raises(RecipeError) as caught:
        load(TEXT.replace(old, new, 1))
    for word in words:
        assert word in str(caught.value)
