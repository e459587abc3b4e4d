"""Sequences of speech for voice detectors: recordings inside the source package of pocketsphinx, which pip downloads.

What is calibrated on is read by one speaker, from a public-domain audio book; what is judged on is said by others.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import wave
from pathlib import Path

import numpy as np

from compressctl.arrays import Floats

PACKAGE = "pocketsphinx==5.1.1"
CALIBRATED = ("librivox/",)
JUDGED = ("cards/", "goforward.raw", "numbers.raw", "something.raw")
RATE, STEP, STEPS = 16_000, 512, 32  # samples a second, samples a step, steps a sequence: one second


def sequences(cache: Path, name: str, context: int) -> tuple[Path, Path]:
    """Write sequences to calibrate on and to judge on: arrays `name`, [sequences, steps, context + 512 samples].

    Args:
        cache: where recordings and arrays are kept.
        name: of the input.
        context: samples of the step before that each step begins with.
    """
    folder = recordings(cache)
    files = []
    for part, begins in (("calibrated", CALIBRATED), ("judged", JUDGED)):
        files.append(cache / f"speech.{part}.{name}.{context}.npz")
        paths = sorted(p for p in folder.rglob("*.*") if p.relative_to(folder).as_posix().startswith(begins))
        np.savez(files[-1], **{name: _cut(np.concatenate([_read(path) for path in paths]), context)})
    return files[0], files[1]


def recordings(cache: Path) -> Path:
    """Return the folder of the recordings; they are downloaded once."""
    folder = cache / "public" / PACKAGE
    if not folder.exists():
        made = folder.with_name(f"{PACKAGE}.part")
        command = ["pip", "download", "--quiet", "--no-deps", "--no-binary", "pocketsphinx", "--dest", str(made)]
        subprocess.run([sys.executable, "-m", *command, PACKAGE], check=True)
        with tarfile.open(next(made.glob("*.tar.gz"))) as archive:
            for member in archive:
                inside = member.name.partition("/test/data/")[2]
                if inside.startswith((*CALIBRATED, *JUDGED)) and inside.endswith((".wav", ".raw")):
                    member.name = inside
                    archive.extract(member, made, filter="data")
        made.rename(folder)
    return folder


def _read(path: Path) -> Floats:
    """Return the samples of a recording, 16 bits each, in [-1, 1]."""
    if path.suffix == ".raw":
        data = path.read_bytes()
    else:
        with wave.open(str(path)) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
                raise ValueError(f"{path} is not 16 kHz mono of 16 bits")
            data = file.readframes(file.getnframes())
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 2**15


def _cut(samples: Floats, context: int) -> Floats:
    count = len(samples) // (STEP * STEPS)
    steps = samples[: count * STEPS * STEP].reshape(count, STEPS, STEP)
    before = np.concatenate([np.zeros((count, 1, STEP)), steps[:, :-1]], axis=1)
    return np.concatenate([before[..., STEP - context :], steps], axis=2).astype(np.float32)
