"""INT8 of convolutional networks, from calibration images to the file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison import Case, Contender, compare, ours, static
from benchmarks.judge import sqnr, top1
from benchmarks.models import model_file
from benchmarks.samples import cifar_images, random_images, sample_file
from benchmarks.settings import CIFAR_TEST, CIFAR_TRAIN, RESNET20, Settings


def run(settings: Settings) -> list[str]:
    return [_resnet20(settings), _resnet50(settings)]


def _resnet20(settings: Settings) -> str:
    if reason := settings.missing(RESNET20, CIFAR_TRAIN, CIFAR_TEST):
        return f"ResNet-20 skipped: {reason}\n"
    data, cache = settings.data, settings.cache
    assert data is not None
    model = data / RESNET20
    calibration = sample_file(cache, "cifar_train_256", lambda: cifar_images(data / CIFAR_TRAIN, 256))
    test = sample_file(cache, "cifar_test", lambda: cifar_images(data / CIFAR_TEST))
    case = Case("ResNet-20, 256 images", model, calibration, top1(test), contenders(model, calibration))
    return compare(case, settings)


def _resnet50(settings: Settings) -> str:
    model = model_file("resnet50", settings.cache)
    calibration = sample_file(settings.cache, "images_64", lambda: {"input": random_images(64, seed=2)})
    held_out = sample_file(settings.cache, "images_32_held_out", lambda: {"input": random_images(32, seed=3)})
    judge = sqnr(held_out, model)
    case = Case("ResNet-50 shape, 64 images", model, calibration, judge, contenders(model, calibration))
    return compare(case, settings)


def contenders(model: Path, calibration: Path) -> tuple[Contender, ...]:
    """Return our default and our histogram method, and what the rival's documentation advises for this processor."""
    return (
        ours("compressctl", model, calibration),
        ours("compressctl, entropy", model, calibration, "--calibration-method", "entropy"),
        static("ort, all defaults", model, calibration),
        *(
            static(
                f"ort, u8s8 {method}", model, calibration, "--activations", "u8", "--per-channel", "--method", method
            )
            for method in ("minmax", "percentile", "entropy")
        ),
    )
