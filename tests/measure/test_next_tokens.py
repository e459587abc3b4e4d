"""Divergence and agreement of next tokens against torch, and what the floor and budgets make of them."""

import json
import math

import numpy as np
import pytest
import torch

from compressctl.__main__ import run
from compressctl.data.notation import open_source
from compressctl.measure.fidelity import fidelity
from compressctl.measure.floor import VERDICT, shortfall
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.scores import Classes, score_outputs
from compressctl.numerics.logits import divergence
from tests import decoders
from tests.graphs import parsed

RNG = np.random.default_rng(0)
P = (3 * RNG.normal(size=(400, 1000))).astype(np.float32)
Q = P + RNG.normal(size=P.shape).astype(np.float32)


def _kl(p, q):
    p, q = (torch.log_softmax(torch.tensor(each, dtype=torch.float64), -1) for each in (p, q))
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1).numpy()


def test_divergence_is_torchs():
    found = divergence(P, Q)
    assert found.nats == pytest.approx(_kl(P, Q), rel=1e-9)
    assert np.array_equal(found.agrees, P.argmax(1) == Q.argmax(1))
    share = torch.softmax(torch.tensor(P).double(), -1).numpy()
    given = np.take_along_axis(share, Q.argmax(1)[:, None], 1)[:, 0]
    assert found.lost == pytest.approx(share.max(1) - given, rel=1e-9, abs=1e-12)
    assert divergence(P, P + 7).nats == pytest.approx(0, abs=1e-6), "what all logits have in common"


def test_what_is_excluded_costs_nothing_or_everything():
    p, q = np.zeros((3, 4)), np.zeros((3, 4))
    p[:2, 0] = q[0, 0] = q[2, 1] = -np.inf
    found = divergence(p, q)
    assert found.nats == pytest.approx([0, math.log(4 / 3), math.inf])
    q[0, 2] = np.nan
    assert math.isnan(divergence(p, q).nats[0]) and not divergence(p, q).agrees[0]


def _compared(tmp_path, cache=False, mask=None, scale=1.0):
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    decoders.decoder(files[0], cache=cache)
    decoders.decoder(files[1], cache=cache, scale=0.3 * scale)
    arrays = {"input_ids": decoders.text(), **({} if mask is None else {"attention_mask": mask})}
    np.savez(tmp_path / "x.npz", **arrays)
    before, after = (Session(path, threads=1) for path in files)
    model = load_model(files[0]).model
    source = open_source(f"{tmp_path}/x.npz", interface(model)[0])
    feeds = next(source.batches(12)).feeds
    logits = [session.run(feeds, ["logits"])["logits"] for session in (before, after)]
    return fidelity(before, after, source, 5, scores=score_outputs(model))[0], *logits


@pytest.mark.parametrize("cache", [False, True])
def test_next_tokens_of_a_decoder(tmp_path, cache):
    found, before, after = _compared(tmp_path, cache, scale=1.5)
    nats = _kl(before, after)
    assert found.kl.value == pytest.approx(nats.mean(), rel=1e-6) and found.tokens == 240 and found.count == 12
    assert found.kl.low < found.kl.value < found.kl.high and found.agreement == 1, "a scale changes no order"


def test_padding_does_not_count(tmp_path):
    mask = (np.arange(20) < np.arange(8, 20)[:, None]).astype(np.int64)
    found, before, after = _compared(tmp_path, mask=mask, scale=0.5)
    assert found.kl.value == pytest.approx(_kl(before, after)[mask == 1].mean(), rel=1e-6)
    assert found.tokens == mask.sum()


@pytest.mark.parametrize(("scale", "below"), [(1.1, False), (4.0, True)])
def test_the_floor_is_the_rise_of_perplexity(tmp_path, scale, below):
    found, *_ = _compared(tmp_path, scale=scale)
    assert (found.kl.value > math.log(1.25)) == below
    assert [one.what for one in shortfall([found], VERDICT)] == ["divergence"] * below


def test_which_outputs_are_over_a_vocabulary():
    def words(name, table, rows, given="int64[N, T] input_ids"):
        arrays = {"e": np.ones((table, 4), np.float32), "w": np.ones((4, rows), np.float32)}
        body = f"a = Gather(e, input_ids) {name} = MatMul(a, w)"
        model = parsed(f"g ({given}) => (float[N, T, {rows}] {name}) {{ {body} }}", **arrays)
        return score_outputs(model).get(name)

    assert words("logits", 50, 50) == words("y", 50, 50) == words("logits", 1200, 1100) == Classes(-1, words=True)
    assert words("logits", 1200, 9) == Classes(-1), "tags of tokens"
    assert words("y", 50, 40) is None and words("last_hidden_state", 50, 50) is None


def test_a_spoilt_decoder_is_not_ok_and_a_budget_says_so(tmp_path, capsys):
    model = decoders.decoder(tmp_path / "m.onnx", cache=False, scale=1.0)
    np.savez(tmp_path / "x.npz", input_ids=decoders.text())
    command = [
        "quantize",
        str(model),
        "-o",
        str(tmp_path / "o.onnx"),
        "--scheme",
        "int2",
        "--data",
        f"{tmp_path}/x.npz",
    ]
    command += ["--force", "--threads", "1", "--max-kl"]
    assert run([*command, "0.05"]) == 4
    report = json.loads((tmp_path / "o.report.json").read_text())
    (found,) = report["output"]["fidelity"]
    assert report["below"][0]["what"] == "divergence" and found["kl"]["value"] == report["budgets"][0]["value"]
    text = (tmp_path / "o.report.md").read_text()
    assert "next tokens diverge by" in text and "perplexity is expected to rise" in text and "KL" in text
    assert run([*command, "1e3"]) == 0
    assert json.loads((tmp_path / "o.report.json").read_text())["verdict"] == "degraded"


def test_kl_asks_for_a_language_model(tmp_path, capsys):
    code = run(["quantize", "sample_models/cnn.onnx", "-o", str(tmp_path / "o.onnx"), "--max-kl", "0.1"])
    assert code == 2 and "max_kl: no output of the model is the logits of a language model" in capsys.readouterr().err
