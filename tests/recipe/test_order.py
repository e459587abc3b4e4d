"""Passes in an order that cannot work: refused before anything runs, and held to what the passes really do."""

from itertools import product

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import CompressctlError, RecipeError
from compressctl.model.load import interface, load_model
from compressctl.passes import PASSES
from compressctl.passes.base import Context
from compressctl.recipe.load import build_recipe
from compressctl.recipe.refusal import COMMAND_LINE
from tests.graphs import weights
from tests.samples import MLP

EDITS = (
    {"type": "smooth_quant"},
    {"type": "sparsify", "ratio": 0.5},
    {"type": "low_rank", "ratio": 0.5},
    {"type": "clip", "percentile": 99},
    {"type": "cluster"},
    {"type": "quantize", "scheme": "int8"},
    {"type": "quantize", "scheme": "int8-dynamic"},
    {"type": "quantize_weights", "scheme": "int4"},
)
CHANGES = (
    {"type": "quantize", "scheme": "int8"},
    {"type": "quantize", "scheme": "int8-dynamic"},
    {"type": "quantize", "scheme": "w2a8"},
    {"type": "quantize_weights", "scheme": "int4"},
)
PRUNE = {"type": "prune", "ratio": 0.3}
STORED = ({"type": "cluster"}, {"type": "store"})


def built(*passes, **keys):
    return build_recipe({"model": "m.onnx", "output": "o.onnx", "passes": passes, **keys}, "r.yaml")


def refused(*passes, origin="r.yaml", **keys) -> str:
    with pytest.raises(RecipeError) as caught:
        build_recipe({"model": "m.onnx", "output": "o.onnx", "passes": passes, **keys}, origin)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome(passes, workdir):
    """Run passes on the MLP; return its constants before and after the last one."""
    model = load_model(MLP).model
    source = open_source("digits:train[:32]", interface(model)[0])
    context = Context(baseline=model.clone(), workdir=workdir, calibration=source, threads=1)
    states = [{}]
    for config in passes:
        model = config.run(model.clone(), context).model
        states.append(weights(model))
    return states[-2], states[-1]


def pairs(firsts, seconds):
    """All pairs; of those with one first, every third in short runs, another third for each."""
    return [
        pytest.param(
            first, second, marks=() if (i + j) % 3 == 0 else pytest.mark.long, id=f"{called(first)}-{called(second)}"
        )
        for (i, first), (j, second) in product(enumerate(firsts), enumerate(seconds))
    ]


def called(passes) -> str:
    config = passes if isinstance(passes, dict) else passes[-1]
    return "-".join(map(str, config.values()))


@pytest.mark.parametrize(("earlier", "later"), pairs([*([change] for change in CHANGES), STORED], [*EDITS, PRUNE]))
def test_what_is_refused_has_nothing_to_do_or_fails(earlier, later, tmp_path):
    said = refused({"type": "simplify"}, *earlier, later)
    index = len(earlier)
    assert f"r.yaml: passes[{index + 1}] ({later['type']}) cannot come after" in said
    assert f"passes[{index}] ({earlier[-1]['type']}), which" in said
    configs = [built(config).passes[0] for config in (*earlier, later)]
    try:
        before, after = outcome(configs, tmp_path)
    except CompressctlError:
        return
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("first", "last"), pairs([*EDITS, PRUNE], [{"type": "simplify"}, {"type": "store"}]))
def test_what_is_allowed_works(first, last, tmp_path):
    assert outcome(built(first, last).passes, tmp_path)[1]


@pytest.mark.long
def test_passes_without_integers_go_in_any_order(tmp_path):
    passes = [*EDITS[1:5], {**PRUNE, "importance": "l2", "reconstruct": False}]
    for shift in range(len(passes)):
        assert outcome(built(*passes[shift:], *passes[:shift]).passes, tmp_path)[1]


@pytest.mark.long
def test_weights_that_are_unpacked_are_plain_again(tmp_path):
    packed, dense = {"type": "quantize_weights", "scheme": "int4"}, {"type": "store", "format": "dense"}
    assert "store with format: dense" in refused(packed, PRUNE)
    for later in (PRUNE, *EDITS[1:]):
        before, after = outcome(built(packed, dense, later).passes, tmp_path)
        changed = [name for name in before if name not in after or not np.array_equal(before[name], after[name])]
        assert changed or before.keys() != after.keys()
    assert "integers" in refused(CHANGES[0], dense, EDITS[1])


@pytest.mark.parametrize("limit", [{"include": ["a*"]}, {"exclude": ["a*"]}])
def test_passes_that_are_limited_can_share_a_model(limit):
    for earlier in CHANGES:
        assert built({**earlier, **limit}, EDITS[1]) and built(earlier, {**EDITS[1], **limit})
    assert built({**CHANGES[0], "keep_float": 2}, CHANGES[3]) and built(
        {**CHANGES[0], "include_op": ["Gemm"]}, EDITS[4]
    )
    assert "put prune before quantize" in refused({**CHANGES[0], **limit}, {**PRUNE, **limit})


@pytest.mark.parametrize(
    ("passes", "words"),
    [
        (["quantize", "qat"], ["passes[1] (qat)", "passes[0] (quantize)", "leave one of them out"]),
        (["qat", "qat"], ["leave one of them out"]),
        (["qat", "simplify", "clip"], ["passes[2] (clip)", "passes[0] (qat)", "put clip before qat", "include"]),
        (["quantize", "finetune"], ["without gradients", "put finetune before quantize"]),
        (["qat", "distill"], ["put distill before qat"]),
        (["store", "equalize"], ["put equalize before store"]),
    ],
)
def test_remedies(passes, words):
    options = {"clip": {"threshold": 1}, "distill": {"student": "s.onnx"}}
    said = refused(*({"type": name, **options.get(name, {})} for name in passes))
    for word in words:
        assert word in said


def test_training_goes_on_beside_static_integers():
    assert built(CHANGES[0], {"type": "finetune"}) and built({"type": "qat"}, {"type": "finetune"})


def test_every_pass_that_edits_weights_says_so():
    for config in PASSES:
        if config.name() != "store":
            assert config.model_construct().form is None or config.edits_weights


ACCURACY = {"max_accuracy_drop": 0.01}


@pytest.mark.parametrize(
    ("keys", "file", "flag"),
    [
        (ACCURACY, "r.yaml: max_accuracy_drop needs", "--max-accuracy-drop needs something to measure (add --data"),
        ({"min_accuracy": 0.9}, "add data, and metric where", "--min-accuracy needs"),
        ({**ACCURACY, "data": "random:8", "metric": "top1"}, "max_accuracy_drop cannot be judged on random", "--data"),
        ({"min_accuracy": 0.9, "data": "random", "metric": "top1"}, "min_accuracy cannot be judged", "--min-accuracy"),
        (
            {"max_accuracy_drop": 1, "data": "d.npz", "metric": "top1"},
            "max_accuracy_drop: 1 of top1 is 100 points of 100 (give 1% or 0.01)",
            "--max-accuracy-drop: 1 of top1",
        ),
        ({"min_accuracy": 80, "data": "d.npz", "metric": "f1:y"}, "(give 80% or 0.8)", "--min-accuracy: 80 of f1:y"),
        ({"robustness": True}, "r.yaml: robustness needs something to measure", "--robustness needs something"),
        ({"metric": "top1"}, "r.yaml: metric needs data", "--metric needs data to be measured on"),
        ({"output": "./m.onnx"}, "r.yaml: output: m.onnx is the model itself", "--output: m.onnx"),
        ({"report": "m.onnx"}, "r.yaml: report: m.onnx is the model itself", "--report: m.onnx"),
        ({"calibrate": "o.onnx[:5],labels=y"}, "o.onnx is the samples of calibrate", "samples of calibrate"),
    ],
)
def test_keys_that_do_not_go_together(keys, file, flag):
    assert file in refused(**keys) and flag in refused(origin=COMMAND_LINE, **keys)


@pytest.mark.parametrize("files", [{"student": "o.onnx"}, {"student": "s.onnx", "teachers": ["t.onnx", "o.onnx"]}])
def test_the_output_is_no_student_and_no_teacher(files):
    said = refused({"type": "simplify"}, {"type": "distill", **files})
    assert "output: o.onnx is a model that passes[1] (distill) reads" in said


def test_links_to_what_is_read_are_seen(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "m.onnx")
    assert "is the model itself" in refused(model=tmp_path / "m.onnx", output=tmp_path / "link.onnx")
