"""The samples that both sides get: .npz files of arrays named as the inputs, and `labels` where there are any."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]

CIFAR_MEAN, CIFAR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224


def sample_file(cache: Path, name: str, make: Callable[[], Arrays]) -> Path:
    """Return the path of an .npz file in `cache`, made there if it is missing."""
    path = cache / f"{name}.npz"
    if not path.exists():
        np.savez(path, **make())
    return path


def batches(samples: Path, names: list[str], size: int) -> Iterator[Arrays]:
    """Yield the rows of the named arrays, `size` at a time."""
    with np.load(samples) as file:
        arrays = {name: file[name] for name in names}
    for start in range(0, len(arrays[names[0]]), size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def random_images(count: int, seed: int, *, channels_last: bool = False) -> NDArray[np.float32]:
    """Return images [count, 3, 224, 224] of coloured blocks under noise; pure noise looks the same to any network."""
    random = np.random.default_rng(seed)
    blocks = random.normal(size=(count, 3, 8, 8)).repeat(SIDE // 8, 2).repeat(SIDE // 8, 3)
    images = (blocks + random.normal(scale=0.3, size=blocks.shape)).astype(np.float32)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if channels_last else images


def random_sentences(count: int, tokens: int, seed: int) -> Arrays:
    """Return the three inputs of a BERT, [count, tokens] each; the second half of a sentence may be padding."""
    random = np.random.default_rng(seed)
    lengths = random.integers(tokens // 2, tokens + 1, (count, 1))
    return {
        "input_ids": random.integers(0, 30_522, (count, tokens)),
        "attention_mask": (np.arange(tokens) < lengths).astype(np.int64),
        "token_type_ids": np.zeros((count, tokens), np.int64),
    }


def cifar_images(tar: Path, count: int | None = None) -> Arrays:
    """Return the first `count` normalised images of a tar of CLASS/NAME.jpg, taken in turn from each class."""
    from PIL import Image

    with tarfile.open(tar) as archive:
        by_class: dict[str, list[str]] = defaultdict(list)
        for name in sorted(name for name in archive.getnames() if name.endswith(".jpg")):
            by_class[name.split("/")[-2]].append(name)
        in_turn = [name for name in chain(*zip_longest(*by_class.values())) if name][:count]
        pixels = np.stack([np.asarray(Image.open(archive.extractfile(name))) for name in in_turn])
    images = (pixels / np.float32(255) - np.float32(CIFAR_MEAN)) / np.float32(CIFAR_STD)
    classes = sorted(by_class)
    labels = np.array([classes.index(name.split("/")[-2]) for name in in_turn])
    return {"input": np.ascontiguousarray(images.transpose(0, 3, 1, 2)), "labels": labels}


def sentences(npz: Path, count: int) -> Arrays:
    """Return the first `count` rows of each input array in a file of tokenised sentences."""
    with np.load(npz) as file:
        return {name: file[name][:count] for name in ("input_ids", "attention_mask", "token_type_ids")}


def unpacked(tar: Path, cache: Path) -> Path:
    """Return the innermost folder of class folders in `cache`, unpacked from a tar of FOLDER/…/CLASS/NAME.jpg."""
    target = cache / tar.stem
    if not target.exists():
        with tarfile.open(tar) as archive:
            archive.extractall(target, filter="data")
    return next(target.rglob("*.jpg")).parent.parent
