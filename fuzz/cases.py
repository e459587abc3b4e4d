"""One case: files in a folder, and a command on them. A seed and a number always give the same one."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz import damage
from fuzz.models import MODELS

_ODD = ("", "-1", "0", "1", "2", "1e9", "nan", "inf", "99999999999999999999", "x", "0x1", "1.5", "[1]", "a=b", "-")
Case = list[str]


def make_case(seed: int, number: int, kinds: tuple[str, ...], folder: Path) -> Case:
    """Write the files of a case into `folder`; return the command's arguments."""
    rng = Random(f"{seed}/{number}")
    return _KINDS[kinds[number % len(kinds)]](rng, folder)


def _model(rng: Random, folder: Path) -> Case:
    """A damaged model."""
    sound = rng.choice(MODELS)()
    damaged = damage.message(sound, rng)
    try:
        data = damaged.SerializeToString()
    except ValueError:  # a text that is none
        data = sound.SerializeToString()
    if rng.random() < 0.15:
        data = damage.bytes_(sound.SerializeToString(), rng)
    (folder / "m.onnx").write_bytes(data)
    (folder / "data.bin").write_bytes(bytes(2048 if rng.random() < 0.9 else 100))
    quiet = ["-q", "--threads", "1", "--cache", "cache"] if rng.random() < 0.1 else ["-q", "--threads", "1"]
    return rng.choice(
        (
            ["inspect", "m.onnx"],
            ["inspect", "m.onnx", "--json"],
            ["simplify", "m.onnx", "-o", "o.onnx", *quiet],
            ["quantize", "m.onnx", "-o", "o.onnx", "--scheme", "int8-dynamic", *quiet],
            ["quantize", "m.onnx", "-o", "o.onnx", "--scheme", "int8", "--calibrate", "random:4", *quiet],
            ["quantize", "m.onnx", "-o", "o.onnx", "--scheme", "int4", *quiet],
            ["prune", "m.onnx", "-o", "o.onnx", "--ratio", "0.5", *quiet],
            ["store", "m.onnx", "-o", "o.onnx", *quiet],
            ["pack", "m.onnx", "-o", "o.ccz", "--threads", "1"],
            ["bench", "m.onnx", "--seconds", "0.05", "-q", "--threads", "1"],
            ["diff", "m.onnx", "m.onnx", "--threads", "1"],
            ["init", "m.onnx", "-o", "-"],
        )
    )


def _recipe(rng: Random, folder: Path) -> Case:
    """A damaged recipe."""
    (folder / "m.onnx").write_bytes(_sound())
    content = rng.choice(RECIPES)
    (folder / "r.yaml").write_text(damage.tree(content, rng), encoding="utf-8", errors="surrogateescape")
    more = []
    if rng.random() < 0.3:
        key = rng.choice(("seed", "passes.0.type", "passes.9.x", "a", "vars.a", "", "model.x", ".", "sweep.a"))
        more = ["--set", f"{key}={rng.choice((*_ODD, '${a}', '[[', '!!int x'))}"]
    return ["pipeline", "r.yaml", "--dry-run", *more]


def _samples(rng: Random, folder: Path) -> Case:
    """Damaged samples, or of another type or shape than the model wants."""
    (folder / "m.onnx").write_bytes(_sound())
    x = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    y = np.arange(12) % 4
    if rng.random() < 0.3:
        kinds: Any = (np.float64, np.int8, np.uint64, np.complex64, "S3", "U3", bool, "M8[s]", ">f4")
        x = x.astype(rng.choice(kinds))
    if rng.random() < 0.3:
        x = rng.choice((x.T, x[:0], x[:, :3], x.reshape(-1), x[None], np.asfortranarray(x), np.zeros((0, 0))))
    if rng.random() < 0.2:
        y = rng.choice((y[:3], y.astype(float) * np.nan, y - 9, y[:, None], y * 2**40))
    out = io.BytesIO()
    if single := rng.random() < 0.2:
        np.save(out, x, allow_pickle=True)
    else:
        rng.choice((np.savez, np.savez_compressed))(out, x=x, labels=y)
    data = out.getvalue()
    if rng.random() < 0.4:
        sizes = (b"(12, 8)", b"(12,)")
        wrong = rng.choice((b"(99, 8)", b"(-1, 8)", b"(12, 9999999999)", b"(12, 8, 1)", b"None", b"(1e9,)", b"()"))
        data = data.replace(rng.choice(sizes), wrong) if single else _renamed(data, sizes, wrong)
    elif rng.random() < 0.6:
        data = damage.bytes_(data, rng) if single else damage.archive(data, rng)
    name = "d.npy" if single else "d.npz"
    (folder / name).write_bytes(data)
    slices = rng.choice(("", "", "[:4]", "[4:2]", "[-99999:]", "[::3]", ",labels=x", ",labels=no", ",pairs=true"))
    return [
        *("bench", "m.onnx", "--data", name + slices, "--metric", rng.choice(("top1", "mse", "f1", "top5", "psnr"))),
        *("--seconds", "0.05", "-q", "--threads", "1"),
    ]


def _renamed(data: bytes, sizes: tuple[bytes, ...], wrong: bytes) -> bytes:
    """Return an archive whose arrays say that they are of another shape."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            for size in sizes:
                content = content.replace(size, wrong)
            target.writestr(member.filename, content, member.compress_type)
    return out.getvalue()


def _images(rng: Random, folder: Path) -> Case:
    """Damaged images."""
    from PIL import Image

    (folder / "m.onnx").write_bytes(MODELS[1]().SerializeToString())
    for label in ("a", "b"):
        (folder / "images" / label).mkdir(parents=True)
        for index in range(2):
            kind = rng.choice(("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm"))
            out = io.BytesIO()
            pixels = np.random.default_rng(index).integers(0, 255, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(out, kind)
            data = out.getvalue()
            if rng.random() < 0.5:
                data = damage.png(data, rng) if kind == "png" and rng.random() < 0.8 else damage.bytes_(data, rng)
            (folder / "images" / label / f"{index}.{kind}").write_bytes(data)
    more = rng.choice(
        ("", ",norm=imagenet", ",resize=8x8", ",resize=8,crop=8", ",resize=65535x65535", ",crop=9", "[:1]")
    )
    return ["bench", "m.onnx", "--data", f"images{more}", "--seconds", "0.05", "-q", "--threads", "1"]


def _packed(rng: Random, folder: Path) -> Case:
    """A damaged .ccz file."""
    (folder / "m.ccz").write_bytes(damage.bytes_(_ccz(), rng))
    return rng.choice(
        (
            ["unpack", "m.ccz", "-o", "o.onnx", "--threads", "1"],
            ["inspect", "m.ccz"],
            ["bench", "m.ccz", "--seconds", "0.05", "-q", "--threads", "1"],
        )
    )


def _torchscript(rng: Random, folder: Path) -> Case:
    """A damaged TorchScript archive."""
    (folder / "m.pt").write_bytes(damage.archive(_scripted(), rng, compress=False))
    given = rng.choice(("x:1x8", "x:1x8", "x:0x8", "x:1x9", "x:1x8:int64", "y:1x8", "x:Nx8"))
    return ["inspect", "m.pt", "--input", given]


def _flags(rng: Random, folder: Path) -> Case:
    """Odd values of flags."""
    (folder / "m.onnx").write_bytes(_sound())
    command = rng.choice(tuple(_FLAGS))
    case = [command, "m.onnx", *([] if command in ("bench", "inspect", "init") else ["-o", "o.onnx"])]
    for flag in rng.sample(_FLAGS[command], min(len(_FLAGS[command]), rng.choice((1, 2)))):
        case += [flag, rng.choice(_ODD)]
    return [*case, *(["--threads", "1", "-q"] if command not in ("inspect", "init") else [])]


RECIPES: tuple[dict[str, Any], ...] = (
    {"model": "m.onnx", "output": "o.onnx", "passes": [{"type": "simplify"}], "seed": 3, "threads": 1, "strict": True},
    {
        "model": "${a}.onnx",
        "output": "o_${b}.onnx",
        "vars": {"a": "m", "c": [1, 2]},
        "sweep": {"b": [1, 2]},
        "calibrate": "random:8",
        "passes": [{"type": "simplify"}, {"type": "quantize", "scheme": "int8", "exclude": ["x"]}],
        "max_size": "1MB",
        "latency_ratio": 2.0,
        "report": "r_${b}.json",
    },
    {
        "model": "m.onnx",
        "output": "o.onnx",
        "train": "d.npz",
        "data": "d.npz",
        "metric": "top1",
        "passes": [{"type": "prune", "ratio": 0.5}, {"type": "finetune", "epochs": 1, "train_batch": 4}],
        "max_accuracy_drop": 0.1,
        "input": ["x:1x8"],
    },
    {"model": "m.onnx", "output": "o.onnx", "search": {"objective": "size", "time_limit": "10s", "trials": 2}},
)
_RUN = ("--batch-size", "--seed", "--max-size", "--latency-ratio", "--input", "--calibrate", "--data", "--max-memory")
_FLAGS: dict[str, tuple[str, ...]] = {
    "quantize": (*_RUN, "--scheme", "--rounding", "--group-size", "--include", "--min-accuracy"),
    "prune": (*_RUN, "--ratio", "--structure", "--target-macs"),
    "cluster": (*_RUN, "--clusters", "--vector"),
    "store": ("--format", "--seed", "--max-accuracy-drop"),
    "bench": ("--seconds", "--batch-size", "--seed", "--data", "--input", "--metric", "--baseline"),
    "inspect": ("--input",),
    "init": ("--goal", "--calibrate", "--data", "--input", "--metric"),
}


@cache
def _sound() -> bytes:
    return MODELS[0]().SerializeToString()


@cache
def _ccz() -> bytes:
    import tempfile

    from compressctl.container.pack import pack

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "m.onnx").write_bytes(MODELS[8]().SerializeToString())
        (folder / "data.bin").write_bytes(bytes(range(256)) * 8)
        pack(folder / "m.onnx", folder / "m.ccz", threads=1)
        return (folder / "m.ccz").read_bytes()


@cache
def _scripted() -> bytes:
    import torch

    torch.manual_seed(0)
    out = io.BytesIO()
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    torch.jit.save(torch.jit.script(layers), out)
    return out.getvalue()


_KINDS: dict[str, Callable[[Random, Path], Case]] = {
    "model": _model,
    "recipe": _recipe,
    "samples": _samples,
    "images": _images,
    "packed": _packed,
    "torchscript": _torchscript,
    "flags": _flags,
}
EVERY = ("model", "recipe", "model", "samples", "model", "packed", "model", "flags", "model", "images", "torchscript")
"""Kinds in turn; models hold the most."""
QUICK = tuple(kind for kind in EVERY if kind != "torchscript")
"""Those that do without torch."""
