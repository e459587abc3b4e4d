"""Run the benchmarks: python -m benchmarks [--only NAME] [--data DIR] [--cache DIR] [--output FILE]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import (
    auto,
    calibration,
    deep_compression,
    distillation,
    exports,
    large,
    large_model,
    low_bits,
    low_rank,
    packing,
    pipelines,
    processes,
    pruning,
    public,
    quantize_cnn,
    quantize_transformer,
    results,
    schemes,
    seeds,
    slowdowns,
    sparsity,
    startup,
    storage,
    structure,
    training_step,
)
from benchmarks.settings import Settings

BENCHMARKS = {
    "startup": startup,
    "calibration": calibration,
    "quantize_cnn": quantize_cnn,
    "quantize_transformer": quantize_transformer,
    "slowdowns": slowdowns,
    "auto": auto,
    "public": public,
    "exports": exports,
    "training_step": training_step,
    "distillation": distillation,
    "large": large,
    "large_model": large_model,
    "low_bits": low_bits,
    "low_rank": low_rank,
    "sparsity": sparsity,
    "processes": processes,
    "storage": storage,
    "structure": structure,
    "packing": packing,
    "pipelines": pipelines,
    "pruning": pruning,
    "schemes": schemes,
    "seeds": seeds,
    "deep_compression": deep_compression,
}
FOLDER = Path(__file__).parent


def main() -> None:
    options = _arguments()
    options.cache.mkdir(parents=True, exist_ok=True)
    settings = Settings(options.data, options.cache)
    for name in options.only or BENCHMARKS:
        print(name, file=sys.stderr)
        module = BENCHMARKS[name]
        title = (module.__doc__ or "").strip().splitlines()[0]
        command = f"python -m benchmarks --only {name}{' --data $DATA' if settings.data else ''}"
        results.update(options.output, name, title, command, module.run(settings))
    print(f"written: {options.output}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare with onnxruntime's quantizer.")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated")
    parser.add_argument("--data", type=Path, help="folder of real models and data; without it they are skipped")
    parser.add_argument("--cache", type=Path, default=Path("build/benchmarks"), help="folder for what is generated")
    parser.add_argument("--output", type=Path, default=FOLDER / "RESULTS.md", help="the file to update")
    return parser.parse_args()


if __name__ == "__main__":
    main()
