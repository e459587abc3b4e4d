"""`vars`, `${name}`, `--set` and what is refused."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compressctl.errors import RecipeError
from compressctl.recipe.settings import apply_setting
from compressctl.recipe.variables import Variables

BASE = """
model: m.onnx
output: o.onnx
"""


@pytest.fixture
def load(load):
    return lambda text, *settings, **overrides: load(BASE + text, *settings, **overrides)


@pytest.fixture
def refused(load):
    def _refused(text, *settings) -> str:
        with pytest.raises(RecipeError) as caught:
            load(text, *settings)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return _refused


def test_a_variable_alone_keeps_its_type_and_in_a_text_becomes_one(load):
    text = """
vars: {n: 4, share: 0.5, yes_: true, where: train, skip: [pads, gemm]}
batch_size: ${n}
calibrate: digits:${where}[:${n}]
size_ratio: ${share}
strict: ${yes_}
passes: [{type: simplify, skip: '${skip}'}]
"""
    (recipe,) = load(text)
    assert (recipe.batch_size, recipe.calibrate, recipe.size_ratio) == (4, "digits:train[:4]", 0.5)
    assert recipe.strict and recipe.passes[0].skip == ("pads", "gemm")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (0.5, "0.5"), (True, "true"), (None, "null"), ("a b", "a b"), (1e-5, "1e-05"), ("", "")],
)
def test_how_values_stand_in_texts(value, text):
    variables = Variables({"x": value}, {}, "r")
    assert variables.fill("<${x}>") == f"<{text}>" and variables.fill("${x}") == value


def test_variables_refer_to_each_other_in_any_order(load):
    (recipe,) = load("vars: {a: '${b}-${c}', b: '${c}${c}', c: 7}\ncalibrate: ${a}\npasses: []")
    assert recipe.calibrate == "77-7"


def test_escapes_and_other_dollars_stay(load):
    (recipe,) = load("vars: {a: 1}\ncalibrate: $${a} $a $5 $$ ${a}\npasses: []")
    assert recipe.calibrate == "${a} $a $5 $$ 1"


@given(st.text())
def test_what_refers_to_nothing_is_left_as_it_is(text):
    escaped = text.replace("${", "$${")
    if "$$${" not in escaped:
        assert Variables({}, {}, "r").fill(escaped) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "vars: {bits: 4}\ncalibrate: x${bitz}\npasses: []",
            ["r.yaml: calibrate: there is no variable 'bitz'", "'bits'"],
        ),
        ("calibrate: x${bits}\npasses: []", ["calibrate", "'bits'", "add it to vars"]),
        ("passes: [{type: simplify, skip: ['${x}']}]", ["passes[0].skip[0]: there is no variable 'x'"]),
        ("vars: {a: '${b}', b: '${c}', c: '${a}'}\npasses: []", ["vars.a", "a cycle: a -> b -> c -> a"]),
        ("vars: {a: 'x${a}'}\npasses: []", ["vars.a", "a cycle: a -> a"]),
        ("vars: {a: ['${b}'], b: ['${a}']}\npasses: []", ["a cycle: a -> b -> a"]),
        ("calibrate: ${a b}\npasses: []", ["calibrate", "no name between", "$${"]),
        ("calibrate: '${'\npasses: []", ["no name between"]),
        ("vars: {a: [1]}\ncalibrate: x${a}\npasses: []", ["calibrate", "a is a list"]),
        ("vars: {a: {b: 1}}\npasses: []", ["r.yaml: vars.a"]),
        ("vars: {a b: 1}\npasses: []", ["r.yaml: vars.a b"]),
        ("vars: [1]\npasses: []", ["r.yaml: vars"]),
        ("var: {a: 1}\npasses: []", ["r.yaml: var: unknown key", "'vars'"]),
    ],
)
def test_refusals(refused, text, words):
    said = refused(text)
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("passes: &a [*a]", ["passes[0]: an alias contains itself", "a cycle: passes -> passes[0] -> passes"]),
        ("passes: [&p {type: simplify, skip: [*p]}]", ["a cycle: passes[0] -> passes[0].skip[0] -> passes[0]"]),
        ("vars: &v {a: *v}\npasses: []", ["alias contains itself"]),
        ("seed: 1\nseed: 2\npasses: []", ["r.yaml:5", "'seed' is given twice"]),
        ("passes: " + "[" * 5000, ["r.yaml"]),
    ],
)
def test_yaml_that_is_no_tree(refused, text, words):
    said = refused(text)
    for word in words:
        assert word in said


def test_aliases_that_multiply_are_refused_soon(refused):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "values" in refused("\n".join(lines))


def test_aliases_and_merges_are_as_yaml_has_them(load):
    text = """
passes:
  - &one {type: prune, ratio: 0.5}
  - *one
  - {<<: *one, ratio: 0.25}
"""
    (recipe,) = load(text, "passes.1.ratio=0.125")
    assert [config.ratio for config in recipe.passes] == [0.5, 0.125, 0.25]


def test_settings_change_variables_keys_and_places(load):
    text = "vars: {epochs: 1}\npasses: [{type: simplify}, {type: finetune, epochs: '${epochs}'}]"
    epochs = [load(text, setting)[0].passes[1].epochs for setting in ("epochs=3", "passes.1.epochs=4", "vars.epochs=5")]
    assert epochs == [3, 4, 5]
    (recipe,) = load(text, "max_size=2MB", "passes.0.skip=[pads]", "seed=1", "seed=2", "calibrate=a=b", "strict=true")
    assert (recipe.max_size, recipe.passes[0].skip, recipe.seed, recipe.calibrate) == (2_000_000, ("pads",), 2, "a=b")
    assert recipe.strict and load(text, "seed=7", seed=8)[0].seed == 8


def test_a_variable_hides_a_key_of_its_name(load):
    (recipe,) = load("vars: {seed: 1}\ncalibrate: x${seed}\npasses: []", "seed=5")
    assert (recipe.calibrate, recipe.seed) == ("x5", 0)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epohcs=3", ["--set epohcs=3", "no variable and no key 'epohcs'", "did you mean 'epochs'?"]),
        ("max_sise=3", ["did you mean 'max_size'?"]),
        ("passes.7.epochs=3", ["passes has no entry '7'", "0 to 1"]),
        ("passes.x.epochs=3", ["passes has no entry 'x'"]),
        ("passes.1.epohcs=3", ["--set passes.1.epohcs=3: passes[1].epohcs: unknown key", "did you mean 'epochs'?"]),
        ("passes.1.epochs=x", ["r.yaml --set", "passes[1].epochs", "integer"]),
        ("model.x=3", ["model is 'm.onnx'", "no entry 'x'"]),
        ("seed", ["not KEY=VALUE"]),
        ("=3", ["not KEY=VALUE"]),
        ("seed=[", ["--set seed=[", "not valid YAML"]),
        ("epochs={a: 1}", ["vars.epochs"]),
    ],
)
def test_settings_that_are_refused(refused, setting, words):
    said = refused("vars: {epochs: 1}\npasses: [{type: simplify}, {type: finetune, epochs: '${epochs}'}]", setting)
    for word in words:
        assert word in said


@given(st.lists(st.sampled_from(["0", "1", "a", "b", "9999999999999"]), max_size=4), st.integers())
def test_settings_leave_what_they_were_given(parts, value):
    content = {"search": {"a": [1, {"b": 2}], "b": None}}
    before = yaml.safe_dump(content)
    setting = ".".join(["search", *parts]) + f"={value}"
    try:
        changed = apply_setting(content, setting)
    except RecipeError as error:
        assert str(error).startswith(f"--set {setting}")
    else:
        place = changed
        for part in ["search", *parts]:
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert place == value
    assert yaml.safe_dump(content) == before
