import pytest

from compressctl.passes import finetune, prune, quantize, simplify
from compressctl.pipeline.choice import choose, lengths
from compressctl.recipe.model import Recipe
from tests.pipeline.measurements import measurement, output

SLOWER = {"size": 1.0, "latency": (1.3, 1.2, 1.4)}


def chosen(measured, **keys):
    """Choose among the results of len(measured) passes; None in `measured` where nothing may be measured."""
    recipe = Recipe(model="in.onnx", output="out.onnx", passes=(), **keys)

    def at(length):
        assert measured[length] is not None
        return measurement(**measured[length])

    known = [length for length in range(1, len(measured)) if measured[length] is not None]
    return choose(recipe, len(measured) - 1, at, known)


def test_what_is_measured_are_results_and_no_preparations():
    passes = [simplify.Config(), prune.Config(ratio=0.5), finetune.Config(), simplify.Config()]
    assert lengths(passes) == [2, 3, 4]
    assert lengths([simplify.Config(), quantize.Config()]) == [2]
    assert lengths([]) == []


def test_a_good_result_stands():
    assert chosen([{}, {}, {}], size_ratio=0.6) == chosen([None, None, {}], size_ratio=0.6)
    assert (chosen([{}, {}]).length, chosen([{}, {}]).rolled_back) == (1, {})


def test_slower_and_not_smaller_is_taken_back_one_by_one():
    choice = chosen([{}, {"size": 0.99, "latency": (1.0, 0.9, 1.1)}, SLOWER, SLOWER])
    assert choice.length == 1 and set(choice.rolled_back) == {1, 2}
    assert choice.rolled_back[2] == "the result was slower than the input (x 1.30) and not smaller (x 1.00)"


def test_slower_but_smaller_stands():
    assert chosen([{}, {"size": 0.5, "latency": (1.3, 1.2, 1.4)}]).length == 1


def test_keep_takes_nothing_back():
    assert chosen([{}, {}, SLOWER], on_regression="keep", size_ratio=0.1).length == 2


def test_a_pass_that_breaks_a_budget_is_taken_back():
    lossy = {"drop": (0.1, 0.05, 0.15), "size": 0.2}
    choice = chosen([{}, {}, lossy], max_accuracy_drop=0.02)
    assert choice.length == 1
    assert choice.rolled_back == {
        1: "its result broke a budget that the one before it keeps:"
        " max_accuracy_drop: at most 0.02 was asked for, 0.1 measured [0.05, 0.15]"
    }


def test_a_pass_in_between_may_break_what_a_later_one_mends():
    lossy = {"drop": (0.1, 0.05, 0.15)}
    assert chosen([{}, {}, lossy, {"size": 0.3}], max_accuracy_drop=0.02).length == 3


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [
        ({"size": 0.5}, {"size": 0.4}, 2),  # both miss the size, the second by less
        ({"size": 0.5}, {"size": 0.4, "drop": (0.1, 0.05, 0.15)}, 1),  # the second misses two budgets
        ({"size": 0.4}, {"size": 0.4}, 2),  # equal: all passes
    ],
)
def test_where_no_result_keeps_all_budgets_the_least_bad_is_chosen(first, second, length):
    choice = chosen([{}, first, second], size_ratio=0.1, max_accuracy_drop=0.02)
    assert choice.length == length
    assert all("at most 0.1 was asked for" in why or "at most 0.02" in why for why in choice.rolled_back.values())


def test_the_input_is_the_last_resort():
    choice = chosen([{"size": 1.0}, SLOWER], size_ratio=0.5)
    assert choice.length == 0 and set(choice.rolled_back) == {0}


def test_a_pass_below_the_fidelity_floor_is_taken_back():
    destroyed = {"size": 0.1, "outputs": (output(30.0, name="boxes"), output(2.0))}
    choice = chosen([{}, {"outputs": (output(15.0),)}, destroyed])
    assert choice.length == 1
    assert choice.rolled_back == {
        1: "its result is below the fidelity floor: y has an SQNR of 2.0 dB, the floor is 10 dB"
    }
    assert chosen([{}, {}, destroyed], on_regression="keep").length == 2


def test_a_later_pass_may_mend_what_is_below_the_floor():
    assert chosen([{}, {"outputs": (output(2.0),)}, {"outputs": (output(15.0),)}]).length == 2


def test_no_budget_is_kept_by_a_result_below_the_floor():
    destroyed = {"size": 0.1, "outputs": (output(2.0),)}
    assert chosen([{}, {"size": 0.5}, destroyed, {"size": 0.9}], size_ratio=0.3).length == 1
