"""The notation of loss terms, and what cannot be said in it."""

import json

import pytest
from pydantic import ValidationError

from compressctl.training.options import LossTerm, TrainingOptions


def test_a_term_in_short_is_the_term_in_full():
    short = LossTerm.model_validate("kl:temperature=2,weight=0.9,output=a/b:0")
    assert short == LossTerm(loss="kl", temperature=2, weight=0.9, output="a/b:0")
    assert LossTerm.model_validate("mse").aim == "teacher"
    assert LossTerm.model_validate("cross-entropy").aim == "labels"
    assert LossTerm.model_validate("mse:target=labels").aim == "labels"


@pytest.mark.parametrize(
    "text", ["kl", "kl:weight=0.5,temperature=2", "features:weight=0.1,student=a,teacher=b", "mse:target=labels"]
)
def test_a_term_is_shown_as_it_is_written(text):
    assert str(LossTerm.model_validate(text)) == text


def test_options_survive_json():
    options = TrainingOptions(losses=("kl:weight=0.9", {"loss": "mse"}, "attention:student=n"), augment=("flip",))
    assert TrainingOptions.model_validate(json.loads(options.model_dump_json())) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kl:weigth=1", "did you mean 'weight'"),
        ("kl:weight", "no KEY=VALUE"),
        ("kl:weight=1,weight=2", "given twice"),
        ("kl:weight=0", "greater than 0"),
        ("kl:weight=inf", "finite"),
        ("hinge", "'cross-entropy', 'next-token'"),
        ("mse:temperature=2", "only kl and contrastive have"),
        ("kl:target=labels", "cannot have the target labels"),
        ("cross-entropy:target=teacher", "cannot have the target teacher"),
        ("features", "features:student=NODE"),
        ("features:student=a,output=y", "not output"),
        ("kl:student=a", "name one with output"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        LossTerm.model_validate(text)


def test_the_schema_accepts_both_forms():
    schema = TrainingOptions.model_json_schema()
    forms = schema["$defs"]["LossTerm"]["anyOf"]
    assert [form["type"] for form in forms] == ["object", "string"]
