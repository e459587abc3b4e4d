"""Every sample model reaches, on the held-out digits, the accuracy that its README states."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from compressctl.__main__ import run
from compressctl.data.notation import open_source
from compressctl.measure.accuracy import evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from tests.samples import SAMPLES

ROW = re.compile(r"\| `(?P<file>[\w.]+)` \| .* \| `\[N, (?P<shape>[\d, ]+)\]` \| .* \| (?P<accuracy>[\d.]+) % \|")
TABLE = {
    match["file"]: (tuple(map(int, match["shape"].split(", "))), float(match["accuracy"]) / 100)
    for match in ROW.finditer((SAMPLES / "README.md").read_text())
}
SCENE_ROW = re.compile(r"\| `(?P<file>\w+\.onnx)` \| .* \| (?P<metric>mAP|mIoU) (?P<score>[\d.]+) % \|")
CLIP_ROW = re.compile(r"\| `(?P<file>\w+\.onnx)` \| .* \| SI-SDR (?P<score>[\d.]+) dB \|")
SCENES = {
    match["file"]: (match["metric"].lower(), float(match["score"]) / 100)
    for match in SCENE_ROW.finditer((SAMPLES / "README.md").read_text())
}
CLIPS = {match["file"]: float(match["score"]) for match in CLIP_ROW.finditer((SAMPLES / "README.md").read_text())}


def held_out_digits(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    data = pytest.importorskip("sklearn.datasets").load_digits()
    images = (data.data / 16).astype(np.float32).reshape(-1, *shape)
    return images[::5], data.target[::5]


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    if path.suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"input": images})[0]
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return torch.jit.load(path, map_location="cpu")(torch.from_numpy(images)).numpy()


def test_readme_lists_every_artefact() -> None:
    assert set(TABLE) | set(SCENES) | set(CLIPS) == {
        path.name for path in SAMPLES.iterdir() if path.suffix in (".onnx", ".pt")
    }


def test_artefacts_are_small() -> None:
    assert sum((SAMPLES / name).stat().st_size for name in (*TABLE, *SCENES, *CLIPS)) < 2_500_000


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", TABLE)
def test_accuracy_is_what_the_readme_states(name: str) -> None:
    shape, accuracy = TABLE[name]
    images, labels = held_out_digits(shape)
    correct = int((logits(SAMPLES / name, images).argmax(axis=1) == labels).sum())
    # One digit on the fence may fall to the other side on another processor.
    assert abs(correct - accuracy * len(labels)) < 1.1


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_answered_as_the_readme_states(name: str) -> None:
    metric, stated = SCENES[name]
    session = Session(SAMPLES / name)
    labels = "masks" if metric == "miou" else "boxes"
    source = open_source(f"scenes:test[:60],labels={labels}", session.inputs)
    score = evaluate(session, source, parse_metric(metric))
    assert score.low - 0.02 < stated < score.high + 0.02  # of 60 scenes, where the README has 200


@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_denoised_as_the_readme_states(name: str) -> None:
    session = Session(SAMPLES / name)
    score = evaluate(session, open_source("tones:test", session.inputs), parse_metric("si_sdr"))
    assert score.value == pytest.approx(CLIPS[name], abs=0.02)


@pytest.mark.parametrize(
    ("scheme", "drop", "code"), [("int8", "0.3", 0), pytest.param("int2", "0.1", 4, id="more than two bits allow")]
)
def test_a_denoiser_keeps_to_a_budget_in_decibels_or_not(scheme, drop, code, tmp_path, capsys):
    command = ["quantize", str(SAMPLES / "denoiser.onnx"), "-o", str(tmp_path / "small.onnx"), "--scheme", scheme]
    data = ["--calibrate", "tones:train[:64]", "--data", "tones:test", "--metric", "si_sdr"]
    assert run([*command, *data, "--max-accuracy-drop", drop, "--json", "-q"]) == code
    (verdict,) = json.loads(capsys.readouterr().out)["budgets"]
    assert (verdict["value"] > float(drop)) == (code == 4)


@pytest.mark.parametrize("name", [name for name in TABLE if name.endswith(".onnx")])
def test_onnx_files_are_valid_and_batch_is_dynamic(name: str) -> None:
    model = onnx.load(SAMPLES / name)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    names = {tensor.name for tensor in model.graph.initializer}
    assert not [tensor for tensor in names if tensor.startswith("onnx::")]


def test_cnn_keeps_batch_normalization() -> None:
    operators = [node.op_type for node in onnx.load(SAMPLES / "cnn.onnx").graph.node]
    assert operators.count("Conv") == operators.count("BatchNormalization") == 9
    assert "Identity" not in operators
