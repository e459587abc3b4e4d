"""Boxes of images as people have them: COCO's .json, YOLO's text files, Pascal VOC's .xml."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from compressctl.arrays import Floats
from compressctl.data.options import Options
from compressctl.data.parse import Notation
from compressctl.data.preprocess import SUFFIXES
from compressctl.errors import DataError, nearest

_Named = tuple[str, tuple[float, ...]]  # a class, and what follows it in a row of boxes
Counting = Literal["index", "id"]
_SLACK = 1.0  # pixels that a box may stand out of its image: coordinates are rounded
_NORMAL_SLACK = 0.01  # the same in shares of the image, as Ultralytics allows


@dataclass(frozen=True)
class Annotated:
    """An image with its boxes.

    Attributes:
        image: the file.
        where: the file that the boxes are from, or a part of it, for error messages.
        boxes: [K, 6]: class, x1, y1, x2, y2, whether it is a crowd.
        size: (width, height) that the labels say the image has; None: they do not.
        shares: boxes are in shares of the image's size, else in pixels.
    """

    image: Path
    where: str
    boxes: Floats
    size: tuple[int, int] | None = None
    shares: bool = False

    def in_pixels(self, size: tuple[int, int]) -> Floats:
        """Return the boxes in pixels of an image that has this size.

        Raises:
            DataError: they are of an image of another size, or lie outside of it.
        """
        if self.size not in (None, size):
            raise DataError(f"{self.where}: {self.image} is {_sides(size)}, but the labels say {_sides(self.size)}")
        factor = np.array([1, *size, *size, 1]) if self.shares else np.ones(6)
        boxes = self.boxes * factor
        slack = np.array(size) * _NORMAL_SLACK if self.shares else np.array([_SLACK, _SLACK])
        for box, written in zip(boxes, self.boxes, strict=True):
            shown = ", ".join(f"{number:g}" for number in written[1:5])
            if not np.isfinite(box).all() or (box[3:5] < box[1:3]).any():
                raise DataError(f"{self.where}: the box {shown} (x1, y1, x2, y2) has no area", "mend or leave it out")
            if (box[1:3] < -slack).any() or (box[3:5] > size + slack).any():
                raise DataError(
                    f"{self.where}: the box {shown} (x1, y1, x2, y2) lies outside the image, which is {_sides(size)}",
                    "mend it, or let images be left out: skip_broken=N",
                )
        return boxes


def is_coco(path: Path) -> bool:
    """Return whether a path names a .json file."""
    return path.suffix.lower() == ".json" and not path.is_dir()


def is_yolo(path: Path) -> bool:
    """Return whether it is a folder of images/ and labels/, or a data.yaml file."""
    return path.suffix.lower() in (".yaml", ".yml") or ((path / "images").is_dir() and (path / "labels").is_dir())


def is_voc(path: Path) -> bool:
    """Return whether it is a folder of JPEGImages/ and Annotations/."""
    return (path / "JPEGImages").is_dir() and (path / "Annotations").is_dir()


def read_annotations(notation: Notation) -> list[Annotated]:
    """Return the images that a notation names, in the order of their names (of COCO: of the file).

    Options: of COCO `images=DIR` and `classes=index|id`; of YOLO `split=NAME`, a folder or an entry of data.yaml; of
    VOC `split=NAME`, a list in ImageSets/Main, and `names=A/B/…`, its classes; of all `first=N`, added to classes.

    Raises:
        DataError: a file is missing or damaged; the line or entry is named.
        UsageError: an option has a bad value.
    """
    path, options = Path(notation.source), notation.options
    reader = _coco if is_coco(path) else _voc if is_voc(path) else _yolo
    try:
        found = reader(path, options)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: labels are not UTF-8 text: {error.reason}") from error
    if not found:
        raise DataError(f"{path} names no images")
    first = options.natural("first")
    if first:
        for one in found:
            one.boxes[:, 0] += first
    return found


def _coco(path: Path, options: Options) -> list[Annotated]:
    counting = options.choice("classes", get_args(Counting)) or "index"
    given = options.text("images")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {entry["id"]: entry for entry in content["images"]}
        annotations = content["annotations"]
        ids = sorted({entry["id"] for entry in content["categories"]})
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path} is no COCO file of instances: {what}", "images, annotations and categories") from error
    numbers = {kind: number for number, kind in enumerate(ids)} if counting == "index" else {kind: kind for kind in ids}
    boxes: dict[Any, list[tuple[float, ...]]] = {key: [] for key in images}
    for place, entry in enumerate(annotations):
        where = f"{path}, annotation {entry.get('id', place) if isinstance(entry, dict) else place}"
        try:
            x, y, width, height = map(float, entry["bbox"])
            image, kind = entry["image_id"], entry["category_id"]
            strange = "image" if image not in boxes else "category" if kind not in numbers else None
            crowd = float(bool(entry.get("iscrowd", 0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: no bbox of four numbers, image_id and category_id") from error
        if strange is not None:
            raise DataError(f"{where}: there is no {strange} {image if strange == 'image' else kind!r}")
        boxes[image].append((numbers[kind], x, y, x + width, y + height, crowd))
    folder = _coco_folder(path, given, next(iter(images.values()), {}))
    found = []
    for key, entry in images.items():
        where = f"{path}, image {key}"
        name = entry.get("file_name")
        if not isinstance(name, str):
            raise DataError(f"{where} has no file_name")
        size = (entry["width"], entry["height"]) if "width" in entry and "height" in entry else None
        found.append(Annotated(_there(folder / name, where), where, _rows(boxes[key]), size))
    return found


def _coco_folder(path: Path, given: str | None, first: Mapping[str, Any]) -> Path:
    """Return the folder that file names start from: the one given, or that beside the file that has the first image."""
    if given is not None:
        if not Path(given).is_dir():
            raise DataError(f"images={given}: there is no such folder", nearest(given, _folders_beside(path)))
        return Path(given)
    name = str(first.get("file_name", ""))
    places = [path.parent, *(path.parent / folder for folder in ("images", path.stem)), path.parent.parent / "images"]
    for place in places:
        if name and (place / name).exists():
            return place
    raise DataError(f"{path}: the image {name!r} is not beside it", f"say where: {path},images=FOLDER")


def _folders_beside(path: Path) -> list[str]:
    return [str(entry) for entry in path.parent.iterdir() if entry.is_dir()]


def _yolo(path: Path, options: Options) -> list[Annotated]:
    images = list(_yolo_images(path, options))
    found, labels = [], {}
    for image in images:
        file = _label_file(image)
        labels[file] = image
        found.append(Annotated(image, str(file), _yolo_boxes(file), shares=True))
    for folder in sorted({file.parent for file in labels}):
        for file in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            if file not in labels and file.name != "classes.txt":
                raise DataError(f"{file} has labels of an image that does not exist", "remove it, or add the image")
    return found


def _yolo_images(path: Path, options: Options) -> Iterator[Path]:
    if path.is_dir():
        split = options.text("split")
        folder = path / "images" / (split or "")
        if not folder.is_dir():
            raise DataError(
                f"split={split}: there is no folder {folder}", nearest(split or "", _names(path / "images"))
            )
        yield from _images_in(folder)
        return
    import yaml

    split = options.text("split") or "val"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or split not in content:
        keys = list(content) if isinstance(content, dict) else []
        raise DataError(f"{path} names no {split} images", nearest(split, keys) or "split=train, for example")
    base = path.parent / str(content.get("path") or "")
    base = base if base.is_dir() else path.parent
    named = content[split]
    for entry in [named] if isinstance(named, str) else named or ():
        place = base / str(entry)
        if str(entry).startswith("../") and not place.exists():  # as Roboflow writes it
            place = base / str(entry)[3:]
        if place.suffix == ".txt":
            for line in place.read_text(encoding="utf-8").split("\n"):
                if line.strip():
                    yield _there(base / line.strip(), str(place))
        elif place.is_dir():
            yield from _images_in(place)
        else:
            raise DataError(f"{path}: {split}: there is no folder {place}")


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _label_file(image: Path) -> Path:
    """Return the file of an image's labels: the last folder called images is labels."""
    parts = list(image.parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _yolo_boxes(file: Path) -> Floats:
    """Read `class cx cy w h` in shares of the image, a line a box; polygons `class x1 y1 x2 y2 …` as their bounds.

    An image without a file has no boxes, as with Ultralytics.
    """
    if not file.exists():
        return _rows([])
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            kind, *numbers = (float(word) for word in line.split())
        except ValueError:
            kind, numbers = -1.0, []
        if (
            kind < 0
            or kind != math.floor(kind)
            or not (len(numbers) == 4 or (len(numbers) > 4 and len(numbers) % 2 == 0))
        ):
            raise DataError(f"{file}, line {number}: no class and four numbers: {line.strip()[:60]!r}")
        if len(numbers) == 4:
            x, y, width, height = numbers
            edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        else:
            edges = [min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])]
        rows.append((kind, *edges, 0.0))
    return _rows(rows)


def _voc(path: Path, options: Options) -> list[Annotated]:
    split, given = options.text("split"), options.text("names")
    if split is None:
        files = sorted((path / "Annotations").glob("*.xml"))
    else:
        listed = path / "ImageSets" / "Main" / f"{split}.txt"
        if not listed.exists():
            known = _names(listed.parent) if listed.parent.is_dir() else []
            raise DataError(f"split={split}: there is no {listed}", nearest(f"{split}.txt", known))
        lines = listed.read_text(encoding="utf-8").split("\n")
        files = [path / "Annotations" / f"{line.split()[0]}.xml" for line in lines if line.strip()]
    read = [_voc_file(file) for file in files]
    names = given.split("/") if given else sorted({name for _, _, objects in read for name, _ in objects})
    found = []
    for file, (image, size, objects) in zip(files, read, strict=True):
        for name, _ in objects:
            if name not in names:
                raise DataError(f"{file}: there is no class {name!r} among names", nearest(name, names))
        boxes = _rows([(names.index(name), *numbers) for name, numbers in objects])
        found.append(Annotated(_there(path / "JPEGImages" / image, str(file)), str(file), boxes, size))
    return found


def _voc_file(file: Path) -> tuple[str, tuple[int, int] | None, list[_Named]]:
    """Read the image's name, its size, and its objects: a name, and x1, y1, x2, y2 from 0 with whether it is difficult.

    VOC counts pixels from 1, and both edges are inside: x1 - 1 to x2 are the edges. What is difficult is neither to be
    found nor missed.
    """
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(file.read_bytes())
    except ElementTree.ParseError as error:
        raise DataError(f"{file} is no XML: {error}") from error
    objects: list[_Named] = []
    for number, one in enumerate(root.iter("object"), 1):
        try:
            edges = [float(one.findtext(f"bndbox/{edge}") or "") for edge in ("xmin", "ymin", "xmax", "ymax")]
            name = (one.findtext("name") or "").strip()
            difficult = float((one.findtext("difficult") or "0").strip() == "1")
        except ValueError as error:
            raise DataError(f"{file}: object {number} has no bndbox of four numbers") from error
        objects.append((name, (edges[0] - 1, edges[1] - 1, edges[2], edges[3], difficult)))
    width, height = (root.findtext(f"size/{side}") or "" for side in ("width", "height"))
    size = (int(width), int(height)) if width.strip().isdigit() and height.strip().isdigit() else None
    return (root.findtext("filename") or f"{file.stem}.jpg").strip(), None if size == (0, 0) else size, objects


def _rows(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, np.float64).reshape(-1, 6)


def _there(image: Path, where: str) -> Path:
    if not image.exists():
        raise DataError(f"{where}: there is no image {image}")
    return image


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _sides(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[0]}x{size[1]}"
