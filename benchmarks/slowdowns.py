"""Models that careless quantization makes slower: a MobileNet with Pad nodes, as Keras exports it, and a ViT."""

from __future__ import annotations

from benchmarks import quantize_cnn, quantize_transformer
from benchmarks.comparison import Case, compare
from benchmarks.judge import sqnr
from benchmarks.models import model_file
from benchmarks.samples import random_images, sample_file
from benchmarks.settings import Settings


def run(settings: Settings) -> list[str]:
    return [_mobilenet(settings), _vit(settings)]


def _mobilenet(settings: Settings) -> str:
    cache = settings.cache
    model = model_file("mobilenet_v2", cache)
    calibration = sample_file(cache, "images_nhwc_64", lambda: {"input": random_images(64, seed=2, channels_last=True)})
    held_out = sample_file(
        cache, "images_nhwc_32_held_out", lambda: {"input": random_images(32, seed=3, channels_last=True)}
    )
    contenders = quantize_cnn.contenders(model, calibration)
    case = Case("MobileNetV2 with Pad nodes, 64 images", model, calibration, sqnr(held_out, model), contenders)
    return compare(case, settings)


def _vit(settings: Settings) -> str:
    cache = settings.cache
    model = model_file("vit", cache)
    calibration = sample_file(cache, "images_32", lambda: {"input": random_images(32, seed=4)})
    held_out = sample_file(cache, "images_32_held_out", lambda: {"input": random_images(32, seed=3)})
    contenders = quantize_transformer.contenders(model, calibration)
    case = Case("Vision transformer, 32 images", model, calibration, sqnr(held_out, model), contenders)
    return compare(case, settings)
