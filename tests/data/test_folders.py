"""Folders of .npy arrays and of sounds."""

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy.signal import resample_poly

from compressctl.data.carried import CarriedStates
from compressctl.data.fingerprint import fingerprint
from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

X = [TensorSpec("x", "float32", ("n", 3))]
WAVE = [TensorSpec("wave", "float32", ("n", "samples"))]


def read(notation, inputs, size=4, name=None):
    batches = list(open_source(str(notation), inputs).batches(size))
    labels = None if batches[0].labels is None else np.concatenate([batch.labels for batch in batches])
    return np.concatenate([batch.feeds[name or inputs[0].name] for batch in batches]), labels


def sound(path, samples, rate=8000):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")


def refused(notation, inputs=WAVE):
    with pytest.raises((DataError, UsageError)) as caught:
        read(notation, inputs)
    return str(caught.value)


def test_arrays_in_class_folders(tmp_path):
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    for index, folder in enumerate(("b", "a", "b", "a", "a")):
        (tmp_path / folder).mkdir(exist_ok=True)
        np.save(tmp_path / folder / f"{index}.npy", values[index : index + 1] if index == 0 else values[index])
    x, labels = read(tmp_path, X)
    np.testing.assert_array_equal(x, values[[1, 0, 3, 2, 4]])
    assert labels.tolist() == [0, 1, 0, 1, 0]
    assert read(tmp_path / "a", X)[1] is None
    assert fingerprint(str(tmp_path)) != fingerprint(str(tmp_path / "a"))


def test_an_array_that_does_not_fit_is_named(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "1.npy", np.zeros(4, np.float32))
    assert f"{tmp_path}/1.npy has shape 1x4, which does not fit" in refused(tmp_path, X)


def test_files_that_are_sequences(tmp_path):
    inputs = [*X, TensorSpec("h", "float32", ("n", 2), state="hn")]
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.full((5, 3), index, np.float32))
    source = open_source(str(tmp_path), inputs)
    assert (source.steps, len(source), source.carries) == (5, 15, True)
    carried = CarriedStates(source, lambda feeds, names: {"hn": feeds["h"] + feeds["x"][:, :2]})
    states = [batch.feeds["h"][:, 0].tolist() for batch in carried.batches(2)]
    assert states == [[0, step] for step in range(5)] + [[2 * step] for step in range(5)]
    np.save(tmp_path / "2.npy", np.zeros((4, 3), np.float32))
    assert "2.npy has 4 steps, but" in refused(tmp_path, inputs)


def test_broken_files_are_left_out_only_where_that_is_asked_for(tmp_path):
    for index in range(6):
        Image.new("L", (4, 4), index).save(tmp_path / f"{index}.png")
    for index in (2, 4):
        (tmp_path / f"{index}.png").write_bytes(b"\x89PNG no image")
    inputs = [TensorSpec("x", "uint8", ("n", 1, 4, 4))]
    assert f"{tmp_path}/2.png is not an image that can be read" in refused(tmp_path, inputs)
    assert "more than 1 of 6 files are broken: " in refused(f"{tmp_path},skip_broken=1", inputs)
    source = open_source(f"{tmp_path},skip_broken=2", inputs)
    assert [note.text.partition(": ")[0] for note in source.notes] == ["2 of 6 files are left out"]
    assert next(source.batches(8)).feeds["x"][:, 0, 0, 0].tolist() == [0, 1, 3, 5]


def test_sounds_become_clips_of_one_length(tmp_path):
    rng = np.random.default_rng(0)
    clips = [rng.uniform(-1, 1, length).astype(np.float32) for length in (5, 8, 3)]
    for index, clip in enumerate(clips):
        sound(tmp_path / ("yes" if index else "no") / f"{index}.wav", clip)
    x, labels = read(tmp_path, WAVE)
    assert x.shape == (3, 8) and labels.tolist() == [0, 1, 1]
    for row, clip in zip(x, clips, strict=True):
        np.testing.assert_array_equal(row, np.pad(clip, (0, 8 - len(clip))))
    source = open_source(f"{tmp_path},length=4", WAVE)
    assert "2 of 3 sounds are longer than 4 samples" in source.notes[0].text
    assert read(tmp_path, [TensorSpec("x", "float32", ("n", 1, 6))])[0].shape == (3, 1, 6)
    assert "takes no sound" in refused(tmp_path, [TensorSpec("x", "int64", ("n", 6))])


def test_rates_that_differ_are_refused_or_changed(tmp_path):
    signal = np.sin(np.arange(400) / 7).astype(np.float32)
    sound(tmp_path / "a.wav", signal, 8000)
    sound(tmp_path / "b.wav", signal, 16000)
    assert "b.wav has 16000 samples a second, but" in refused(tmp_path)
    assert "a.wav has 8000 samples a second, but 16000 are wanted (add resample=true)" in refused(
        f"{tmp_path},rate=16000"
    )
    x, _ = read(f"{tmp_path},rate=16000,resample=true", WAVE)
    np.testing.assert_allclose(x[0], resample_poly(signal.astype(float), 2, 1), atol=1e-6)
    np.testing.assert_array_equal(x[1, :400], signal)
    told = [*WAVE, TensorSpec("sr", "int64", (), axis=None, value=8000)]
    assert "b.wav has 16000 samples a second, but 8000 are wanted" in refused(tmp_path, told)
    assert "rate=fast" in refused(f"{tmp_path},rate=fast")


def test_channels_are_mixed_where_that_is_asked_for(tmp_path):
    stereo = np.array([[0.5, 0.25], [-0.5, 0.0]], np.float32)
    sound(tmp_path / "a.wav", stereo)
    assert "a.wav has 2 channels, but the model takes 1 (add channels=mean" in refused(tmp_path)
    assert read(f"{tmp_path},channels=mean", WAVE)[0].tolist() == [[0.375, -0.25]]
    assert read(f"{tmp_path},channels=first", WAVE)[0].tolist() == [[0.5, -0.5]]
    both = [TensorSpec("x", "float32", ("n", 2, "samples"))]
    np.testing.assert_array_equal(read(tmp_path, both)[0][0], stereo.T)
    assert "there is" in refused(f"{tmp_path}x")


def test_frames_follow_each_other_where_the_model_has_states(tmp_path):
    inputs = [TensorSpec("x", "float32", ("n", 4)), TensorSpec("h", "float32", ("n", 2), state="hn")]
    clip = np.arange(9, dtype=np.float32) / 16
    sound(tmp_path / "noisy" / "a.wav", clip)
    sound(tmp_path / "clean" / "a.wav", -clip)
    x, labels = read(f"{tmp_path}/noisy,hop=2,target={tmp_path}/clean", inputs, 2)
    padded = np.pad(clip, (0, 1))
    np.testing.assert_array_equal(x, [padded[start : start + 4] for start in (0, 2, 4, 6)])
    np.testing.assert_array_equal(labels, -x)
    source = open_source(f"{tmp_path}/noisy", inputs)
    assert (source.steps, len(source)) == (3, 3)
    (tmp_path / "clean" / "a.wav").unlink()
    assert f"there is no file {tmp_path}/clean/a.wav" in refused(f"{tmp_path}/noisy,target={tmp_path}/clean", inputs)
    assert "hop=2 needs frames" in refused(f"{tmp_path}/noisy,hop=2")


def test_a_damaged_sound_is_named(tmp_path):
    sound(tmp_path / "a.wav", np.zeros(4))
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    assert f"{tmp_path}/b.wav is no sound that can be read" in refused(tmp_path)
    assert read(f"{tmp_path},skip_broken=1", WAVE)[0].shape == (1, 4)
