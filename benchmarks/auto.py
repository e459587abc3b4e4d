"""Scheme `auto` beside the schemes that a user can force: latency and SQNR against FP32, model by model."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.models import families
from benchmarks.samples import cifar_images, sample_file, sentences
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, MINILM, RESNET20, STSB_DEV, STSB_TRAIN, Settings
from compressctl.data.notation import open_source
from compressctl.measure.fidelity import fidelity
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.save import save_model
from compressctl.passes import quantize, simplify
from compressctl.passes.base import Context

SCHEMES = ("auto", "int8", "int8-dynamic")
SECONDS = 8.0  # of latency measurement a model, all of its files interleaved
THREADS = 1
SAMPLES = Path(__file__).parents[1] / "sample_models"


@dataclass(frozen=True)
class Task:
    """A model, data to calibrate on and data to compare outputs on."""

    name: str
    model: Path
    calibration: str
    held_out: str


def run(settings: Settings) -> list[str]:
    heads = " | ".join(f"{scheme}: latency | dB | s" for scheme in SCHEMES)
    rows = [f"| model | {heads} |", "|---" * (1 + 3 * len(SCHEMES)) + "|"]
    for task in tasks(settings):
        print(f"  {task.name}", file=sys.stderr)
        rows.append(row(task))
    return ["\n".join([*rows, ""])]


def tasks(settings: Settings) -> list[Task]:
    """Return the models that there are."""
    cache, data = settings.cache, settings.data
    found = []
    for name, build in families.BUILDERS.items():
        path = cache / f"{name}.onnx"
        if not path.exists():
            build(path)
        kind, make = ("files", families.files) if name == "filetype" else ("images_64px", families.images)
        samples = [sample_file(cache, f"{kind}_{seed}", lambda make=make, seed=seed: make(64, seed)) for seed in (2, 3)]
        found.append(Task(name, path, *map(str, samples)))
    for name in ("mlp", "cnn", "transformer", "lstm"):
        found.append(Task(f"digits, {name}", SAMPLES / f"{name}.onnx", "digits:train[:256]", "digits:test"))
    if data is not None and not settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        samples = [
            sample_file(cache, f"cifar_256_{tar}", lambda tar=tar: cifar_images(data / tar, 256))
            for tar in (CIFAR_TRAIN, CIFAR_TEST)
        ]
        found.append(Task("ResNet-20", data / RESNET20, *map(str, samples)))
    if data is not None and not settings.missing(MINILM, STSB_TRAIN, STSB_DEV):
        samples = [
            sample_file(cache, f"sentences_{count}", lambda npz=npz, count=count: sentences(data / npz, count))
            for npz, count in ((STSB_TRAIN, 128), (STSB_DEV, 64))
        ]
        found.append(Task("MiniLM", data / MINILM, *map(str, samples)))
    return found


def row(task: Task) -> str:
    """Quantize by every scheme; return the figures of each: latency over that of FP32, lowest SQNR, seconds to make."""
    with TemporaryDirectory() as folder:
        made = [_make(task, scheme, Path(folder)) for scheme in SCHEMES]
        walk = open_source(task.held_out, interface(load_model(task.model).model)[0]).walk(1)
        options = LatencyOptions(threads=THREADS, seconds=SECONDS)
        ratios = compare_latency(task.model, [path for path, _ in made], walk, options)
        figures = [
            f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) | {_sqnr(task, path):.1f} | {seconds:.1f}"
            for ratio, (path, seconds) in zip(ratios, made, strict=True)
        ]
    return f"| {task.name} | {' | '.join(figures)} |"


def _make(task: Task, scheme: str, folder: Path) -> tuple[Path, float]:
    model = load_model(task.model).model
    source = open_source(task.calibration, interface(model)[0])
    context = Context(baseline=model, workdir=folder, calibration=source, threads=THREADS)
    simplified = simplify.Config().run(model.clone(), context).model
    started = time.perf_counter()
    outcome = quantize.Config(scheme=scheme).run(simplified, replace(context, unprepared=model))
    seconds = time.perf_counter() - started
    path = folder / f"{scheme}.onnx"
    save_model(outcome.model, path, overwrite=True)
    return path, seconds


def _sqnr(task: Task, result: Path) -> float:
    before, after = (Session(path, threads=THREADS) for path in (task.model, result))
    source = open_source(task.held_out, interface(load_model(task.model).model)[0])
    return min(one.sqnr_db for one in fidelity(before, after, source, 8, most=256))
