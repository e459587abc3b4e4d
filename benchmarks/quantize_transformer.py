"""INT8 of transformers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison import Case, Contender, compare, dynamic, ours, static
from benchmarks.judge import spearman, sqnr
from benchmarks.models import model_file
from benchmarks.samples import random_sentences, sample_file, sentences
from benchmarks.settings import MINILM, STSB_DEV, STSB_TRAIN, Settings


def run(settings: Settings) -> list[str]:
    return [_minilm(settings), _bert(settings)]


def _minilm(settings: Settings) -> str:
    if reason := settings.missing(MINILM, STSB_TRAIN, STSB_DEV):
        return f"MiniLM skipped: {reason}\n"
    data, cache = settings.data, settings.cache
    assert data is not None
    model = data / MINILM
    calibration = sample_file(cache, "stsb_train_128", lambda: sentences(data / STSB_TRAIN, 128))
    judge = spearman(data / STSB_DEV, "sentence_embedding")
    return compare(Case("MiniLM, 128 sentences", model, calibration, judge, contenders(model, calibration)), settings)


def _bert(settings: Settings) -> str:
    model = model_file("bert_base", settings.cache)
    calibration = sample_file(settings.cache, "sentences_16", lambda: random_sentences(16, 128, seed=2))
    held_out = sample_file(settings.cache, "sentences_8_held_out", lambda: random_sentences(8, 128, seed=3))
    judge = sqnr(held_out, model)
    case = Case("BERT-base shape, 16 sentences", model, calibration, judge, contenders(model, calibration))
    return compare(case, settings)


def contenders(model: Path, calibration: Path) -> tuple[Contender, ...]:
    """Return ours by default and static; the rival dynamic and static, with all operators or weight MatMul only."""
    u8s8 = ("--activations", "u8", "--per-channel")
    return (
        ours("compressctl", model, calibration),
        ours("compressctl, static", model, calibration, "--scheme", "int8"),
        dynamic("ort dynamic, all defaults", model, calibration.parent),
        dynamic("ort dynamic, per channel", model, calibration.parent, "--per-channel"),
        static("ort static, all defaults", model, calibration),
        static("ort static, u8s8 minmax", model, calibration, *u8s8),
        static("ort static, u8s8 minmax, weight MatMul only", model, calibration, *u8s8, "--only-op", "MatMul"),
        static("ort static, u8s8 percentile", model, calibration, *u8s8, "--method", "percentile"),
    )
