"""Robustness against models that are run by hand on the changed samples."""

import importlib.util
from dataclasses import replace

import numpy as np
import onnxruntime as ort
from pydantic import TypeAdapter
from scipy import ndimage

from compressctl.data.notation import open_source
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.robustness import attack
from compressctl.robustness.measure import measure_robustness
from compressctl.robustness.schema import Robustness
from tests import graphs
from tests.explanation.files import after
from tests.samples import SAMPLES

TOP1 = parse_metric("top1")
random = graphs.Random(0)
RNG = random.rng


def digits(model, count=64):
    return open_source(f"digits:test[:{count}]", Session(model, threads=1).inputs)


def conditions(found):
    return {(one.name, one.strength): one for one in found.conditions}


def test_of_an_int8_model(tmp_path, resources):
    model = SAMPLES / "cnn.onnx"
    result = after(model, [{"type": "simplify"}, {"type": "quantize", "scheme": "int8"}], tmp_path)
    source = digits(model)
    found = measure_robustness(model, result, source, TOP1, resources)
    assert found.notes == () and found.samples == 64
    names = [(one.name, one.strength) for one in found.conditions]
    assert names[:3] == [("clean", 0), ("noise", 0.1), ("noise", 0.3)]
    assert [name for name, _ in names[3:]] == ["blur", "brightness", "contrast", "fgsm", "fgsm-result"]
    scores = [evaluate(Session(path, threads=1), source, TOP1) for path in (model, result)]
    clean = found.conditions[0]
    assert (clean.baseline.value, clean.result.value) == (scores[0].value, scores[1].value)
    assert clean.drop == compare(*scores, TOP1)
    (batch,) = source.batches(64)
    blurred = ndimage.gaussian_filter(batch.feeds["input"].astype(np.float64), (0, 0, 1, 1)).astype(np.float32)
    for path, value in ((model, found.conditions[3].baseline.value), (result, found.conditions[3].result.value)):
        answers = ort.InferenceSession(path).run(None, {"input": blurred})[0].argmax(axis=1)
        assert value == np.mean(answers == batch.labels)
    assert TypeAdapter(Robustness).validate_json(TypeAdapter(Robustness).dump_json(found)) == found
    assert measure_robustness(model, result, source, TOP1, resources) == found
    other = measure_robustness(model, result, source, TOP1, replace(resources, seed=1))
    assert other.conditions[0] == clean and other.conditions[3:] == found.conditions[3:]


def test_an_attack_hurts_more_than_noise_of_its_size(resources):
    model = SAMPLES / "lstm.onnx"
    found = conditions(measure_robustness(model, model, digits(model, 360), TOP1, resources))
    assert found["fgsm", 0.05].baseline.value < found["noise", 0.1].baseline.value - 0.02
    assert all(one.drop.drop == 0 for one in found.values())


def test_integer_kernels_have_no_gradient(tmp_path, resources):
    model = SAMPLES / "mlp.onnx"
    result = after(model, [{"type": "quantize", "scheme": "int8-dynamic"}], tmp_path)
    found = measure_robustness(model, result, digits(model), TOP1, resources)
    assert "fgsm" in [one.name for one in found.conditions]
    (note,) = found.notes
    assert note.kind == "skipped" and "no gradient" in note.text and len(note.text) < 200 and note.node == "after.onnx"


def test_token_ids_are_left_alone(tmp_path, resources):
    body = "e = Gather (table, ids) m = ReduceMean <axes = [1], keepdims = 0> (e) y = MatMul (m, w)"
    arrays = {"table": random(30, 8), "w": random(8, 4)}
    graphs.save(tmp_path / "m.onnx", body, arrays, "int64[batch, 5] ids", "float[batch, 4] y")
    np.savez(tmp_path / "d.npz", ids=RNG.integers(0, 30, (40, 5)), labels=RNG.integers(0, 4, 40))
    source = open_source(str(tmp_path / "d.npz"), Session(tmp_path / "m.onnx").inputs)
    found = measure_robustness(tmp_path / "m.onnx", tmp_path / "m.onnx", source, TOP1, resources)
    assert [one.name for one in found.conditions] == ["clean"]
    texts = " ".join(note.text for note in found.notes)
    assert "no float inputs that vary" in texts and "integers cannot be changed by a little" in texts
    assert len(found.notes) == 2


def test_several_inputs_of_a_fixed_batch(tmp_path, resources):
    body = "e = Gather (table, ids) s = Add (a, e) m = MatMul (s, w) y = Add (m, c)"
    arrays = {"table": random(9, 4), "w": random(4, 4)}
    graphs.save(tmp_path / "m.onnx", body, arrays, "float[6, 4] a, int64[6] ids, float[6, 4] c", "float[6, 4] y")
    data = {"a": RNG.normal(size=(20, 4)), "ids": RNG.integers(0, 9, 20), "c": np.ones((20, 4))}
    data |= {"labels": RNG.integers(0, 4, 20)}
    np.savez(tmp_path / "d.npz", **data)
    source = open_source(str(tmp_path / "d.npz"), Session(tmp_path / "m.onnx").inputs)
    found = measure_robustness(tmp_path / "m.onnx", tmp_path / "m.onnx", source, TOP1, resources)
    assert [one.name for one in found.conditions] == ["clean", "noise", "noise", "fgsm", "fgsm-result"]
    assert found.samples == 20 and "no input is an image" in found.notes[0].text
    rows = [np.random.default_rng((0, 0, row)).standard_normal(4) for row in range(20)]  # c is constant: left alone
    x = data["a"].astype(np.float32)
    noisy = (x + 0.3 * x.astype(np.float64).std() * np.stack(rows)).astype(np.float32)
    y = (noisy + arrays["table"][data["ids"]]) @ arrays["w"]
    assert found.conditions[2].baseline.value == np.mean(y.argmax(axis=1) == data["labels"])


def test_without_torch_there_are_no_adversarial_samples(resources, monkeypatch):
    monkeypatch.setattr(attack, "find_spec", lambda name: None if name == "torch" else importlib.util.find_spec(name))
    model = SAMPLES / "mlp.onnx"
    found = measure_robustness(model, model, digits(model), TOP1, resources)
    assert "fgsm" not in [one.name for one in found.conditions]
    (note,) = found.notes
    assert "compressctl[torch]" in note.text
