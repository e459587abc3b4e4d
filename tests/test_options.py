"""Options are generated from the fields that they stand for."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import onnx_ir as ir
import pytest
from pydantic import Field

from compressctl.__main__ import run
from compressctl.budgets import Budgets
from compressctl.cli import Commands, groups
from compressctl.cli.groups import Group, command
from compressctl.fields import Option, Options
from compressctl.passes import CONFIGS, PASSES
from compressctl.passes.base import Context, Outcome
from compressctl.quantities import Bytes
from compressctl.recipe.model import Recipe
from compressctl.recipe.options import Files, ReportOptions, RunOptions, Samples

COMMANDS = dict(Commands())
OF_RECIPES = ("quantize", "prune", "cluster", "distill", "finetune", "simplify", "store", "pipeline")
OF_PASSES = {
    "quantize": ("quantize", "quantize_weights", "qat"),
    "prune": ("prune", "sparsify", "finetune"),
    "cluster": ("cluster", "finetune"),
    "distill": ("distill",),
    "finetune": ("finetune",),
    "store": ("store",),
}
OWN_FLAG = {
    "output": "--output/-o",
    "per_channel": "--per-channel/--per-tensor",
    "symmetric": "--symmetric/--asymmetric",
    "reduced_range": "--reduced-range/--full-range",
    "keep_zeros": "--keep-zeros/--free-zeros",
    "keep_clusters": "--keep-clusters/--free-clusters",
    "losses": "--loss",
    "teachers": "--teacher",
    "features": "--feature",
}
BY_HAND = {("prune", "structure"), ("distill", "model")}
FIELDS = [
    *((name, Recipe, key) for name in OF_RECIPES for key in Recipe.model_fields if key not in ("passes", "search")),
    *(
        (name, CONFIGS[one], key)
        for name, ones in OF_PASSES.items()
        for one in ones
        for key in CONFIGS[one].model_fields
        if key != "type"
    ),
]


def parameter(name, key):
    (found,) = (one for one in COMMANDS[name].params if one.name == key)
    return found


def plain(text):
    return " ".join((text or "").split())


@pytest.mark.parametrize(("name", "model", "key"), FIELDS, ids=lambda part: getattr(part, "__module__", part))
def test_every_field_is_an_option(name, model, key):
    found, info = parameter(name, key), model.model_fields[key]
    if found.param_type_name == "argument":
        assert key == "model"
    else:
        flag = f"--{key.replace('_', '-')}"
        switch = info.annotation in (bool, bool | None) and info.default is not False
        wanted = OWN_FLAG.get(key, f"{flag}/--no-{flag[2:]}" if switch else flag)
        assert "/".join([*found.opts, *found.secondary_opts]) == wanted
    assert found.default is None  # what is not given is the field's to say
    assert found.required == (key in ("model", "output", "student") and name != "pipeline")
    if (name, key) not in BY_HAND and name not in ("quantize", "prune"):
        assert plain(found.help).startswith(plain(info.description))
        if isinstance(info.default, int | float | str) and not isinstance(info.default, bool) and info.default:
            assert plain(found.help).endswith(f"[default: {info.default}]")


def test_groups_are_those_of_the_classes():
    titles = {Files: None, Samples: "Samples", Budgets: "Budgets", RunOptions: "Run", ReportOptions: "Report"}
    for model, title in titles.items():
        for key in model.model_fields:
            assert getattr(parameter("pipeline", key), "rich_help_panel", None) == title
    assert parameter("finetune", "epochs").rich_help_panel == "Training"
    assert parameter("pipeline", "trials").rich_help_panel == "Search"


def test_an_option_of_several_passes_says_what_it_means_in_each():
    rounding = parameter("quantize", "rounding")
    assert "adaround: learned" in plain(rounding.help) and "Weights alone: nearest: with scales" in plain(rounding.help)
    assert rounding.metavar == "nearest|gptq|adaround|hqq|awq"
    assert "Weights alone" not in parameter("quantize", "include").help  # means the same there
    assert parameter("quantize", "epochs").help.endswith("[default: 3]")  # of qat, which trains there


class _Made(Options):
    group = "Made"

    count: int = Field(default=3, ge=1)
    """How many."""
    share: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    """Which part."""
    size: Bytes | None = None
    """How large."""
    kinds: Annotated[tuple[Literal["a", "b"], ...], Option(everyday=True)] = ()
    """Which ones."""
    files: tuple[Path, ...] = ()
    """Where."""
    on: bool = True
    """Whether."""
    off: bool = False
    """Whether else."""
    exact: Literal[1, 2] = 1
    """One of two numbers."""


def _made(given: Annotated[dict, Group(lambda: {_Made: None})]) -> int:
    """Do something."""
    GIVEN.append(given)
    return 0


GIVEN: list[dict] = []


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {}),
        (["--count", "2"], {"count": 2}),
        (["--share", "0.5"], {"share": "0.5"}),  # pydantic makes it a number, or a word
        (["--share", "auto"], {"share": "auto"}),
        (["--size", "2MB"], {"size": "2MB"}),
        (["--kinds", "a", "--kinds", "b"], {"kinds": ["a", "b"]}),
        (["--files", "x"], {"files": [Path("x")]}),
        (["--no-on", "--off"], {"on": False, "off": True}),
        (["--exact", "2"], {"exact": 2}),
    ],
)
def test_a_new_field_is_a_flag_of_its_type(arguments, given):
    GIVEN.clear()
    assert command(_made).main(arguments, standalone_mode=False) == 0
    (taken,) = GIVEN
    assert taken == given
    _Made(**taken)  # which pydantic takes as they are


def test_a_new_field_is_in_the_help(capsys, monkeypatch):
    monkeypatch.setattr(groups, "_FEW", 0)  # so that it is worth the while to show some
    command(_made).main(["--help-all"], standalone_mode=False)
    text = capsys.readouterr().out
    for line in ("--count N", "--kinds a|b", "--on / --no-on", "--exact 1|2", "How many. [default: 3]", "Made:"):
        assert line in text
    command(_made).main(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "--kinds a|b" in text and "--count N" not in text and "  Made  7: --count" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--qat", "--loss", "kl:weight=x"], "--loss: must be a valid number"),
        (["--qat", "--loss", "kl:targt=3"], "--loss: 'kl:targt=3': unknown key 'targt'"),
        (["--percentile", "3"], "--percentile: must be greater than 50"),
        (["--max-size", "two"], "--max-size: give a number of bytes"),
        (["--scheme", "fp16", "--rounding", "nearest"], "scheme fp16 has no scales, so rounding does not go with it"),
    ],
)
def test_errors_name_the_flag(arguments, error, capsys):
    assert run(["quantize", "in.onnx", "-o", "out.onnx", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: bad option: {error}")


def test_errors_name_a_flag_that_is_not_the_field(capsys):
    assert run(["distill", "in.onnx", "--student", "s.onnx", "-o", "out.onnx", "--feature", "=b"]) == 2
    assert capsys.readouterr().err.startswith("error: bad option: --feature: '=b' is not")


@pytest.mark.parametrize("config", PASSES, ids=[config.name() for config in PASSES])
def test_what_a_pass_runs_takes_its_options(config):
    run = import_module(f"{config.__module__}.run").run
    assert get_type_hints(run) == {"model": ir.Model, "config": config, "context": Context, "return": Outcome}
