"""An interrupted training goes on to the same bytes; a file that is not its own checkpoint is refused."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch

from compressctl.errors import DataError, OutputError, UsageError
from compressctl.measure.metrics import parse_metric
from compressctl.training.checkpoint_paths import CheckpointPath
from compressctl.training.loop import Training
from tests.graphs import model, weights
from tests.training.tiny import Arrays, Interrupted, blobs, fit, mlp, options

RNG = np.random.default_rng(0)


def checkpoint(folder, *, key: str = "k", resume: bool = True) -> CheckpointPath:
    return CheckpointPath(folder / "checkpoints" / "0-finetune.pt", key, resume)


def net() -> ir.Model:
    """Return a network with dropout, batch statistics and a Relu, so that each kind of state matters."""
    body = """
        h = MatMul(x, W) n = BatchNormalization(h, g, b, mean, var) a = Relu(n)
        d = Dropout(a, ratio, yes) y = MatMul(d, V)
    """
    arrays = {"W": (8, 6), "V": (6, 3)}
    rng = np.random.default_rng(1)
    floats = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in arrays.items()}
    ones, zeros = np.ones(6, np.float32), np.zeros(6, np.float32)
    constants = {"g": ones, "b": zeros, "mean": zeros, "var": ones, "ratio": np.float32(0.3), "yes": np.array(True)}
    return model(body, {**floats, **constants}, "float[N, 8] x", "float[N, 3] y")


def run(folder, m=None, **given) -> tuple[Training, dict[str, bytes]]:
    m = net() if m is None else m
    o = options(steps=40, learning_rate=0.02, checkpoint_every=7, evaluate_every=5)
    losses = ["features:student=Relu_2,teacher=Relu_1", "cross-entropy"]
    result = fit(m, blobs(), losses, folder, o, metric=parse_metric("top1"), teachers=(mlp(3),), **given)
    return result, {name: array.tobytes() for name, array in weights(m).items()}


@pytest.mark.parametrize("at", [3, 7, 24, 36])
def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path, at):
    result, want = run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint=checkpoint(tmp_path), progress=Interrupted(at))
    assert checkpoint(tmp_path).path.exists() == (at >= 7)
    resumed, got = run(tmp_path, checkpoint=checkpoint(tmp_path))
    assert got == want and resumed == result
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"]
    assert [p.name for p in checkpoint(tmp_path).path.parent.iterdir()] == ["0-finetune.pt"]


def test_varied_images_go_on_as_they_would_have(tmp_path):
    x = RNG.standard_normal((64, 3, 8, 8)).astype(np.float32)
    arrays = {"W": RNG.standard_normal((192, 2)).astype(np.float32)}

    def varied(**given) -> bytes:
        m = model("f = Flatten(x) y = MatMul(f, W)", arrays, "float[N, 3, 8, 8] x", "float[N, 2] y")
        o = options(steps=12, checkpoint_every=5, augment=("flip", "crop"))
        fit(m, Arrays({"x": x}, (x.mean((1, 2, 3)) > 0).astype(int)), "cross-entropy", tmp_path, o, **given)
        return weights(m)["W"].tobytes()

    want = varied()
    with pytest.raises(KeyboardInterrupt):
        varied(checkpoint=checkpoint(tmp_path), progress=Interrupted(8))
    assert varied(checkpoint=checkpoint(tmp_path)) == want


def test_a_finished_training_is_not_repeated(tmp_path):
    result, want = run(tmp_path, checkpoint=checkpoint(tmp_path))
    again, got = run(tmp_path, checkpoint=checkpoint(tmp_path), progress=Interrupted(0))
    assert got == want and again == result


def test_without_resume_training_starts_again(tmp_path):
    run(tmp_path, checkpoint=checkpoint(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint=checkpoint(tmp_path, resume=False), progress=Interrupted(0))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    run(tmp_path, checkpoint=checkpoint(tmp_path))
    with pytest.raises(UsageError, match=r"0-finetune\.pt: is a checkpoint of another recipe.*--force"):
        run(tmp_path, checkpoint=checkpoint(tmp_path, key="other"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "foreign", "pickle"])
def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path, damage):
    path = checkpoint(tmp_path).path
    run(tmp_path, checkpoint=checkpoint(tmp_path))
    content = path.read_bytes()
    if damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    elif damage == "pickle":
        torch.save({"format": 1, "key": "k", "state": replace}, path)
    else:
        middle = len(content) // 2
        flipped = content[:200] + bytes(byte ^ 255 for byte in content[200:1200]) + content[1200:]
        path.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(DataError, match=r"0-finetune\.pt: a damaged checkpoint"):
        run(tmp_path, checkpoint=checkpoint(tmp_path))


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="the checkpoint cannot be written"):
        run(tmp_path, checkpoint=checkpoint(tmp_path))


def test_the_former_checkpoint_survives_a_write_that_fails(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint=checkpoint(tmp_path), progress=Interrupted(10))
    before = checkpoint(tmp_path).path.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run(tmp_path, checkpoint=checkpoint(tmp_path))
    assert checkpoint(tmp_path).path.read_bytes() == before
    assert len(list(checkpoint(tmp_path).path.parent.iterdir())) == 1
