"""Images with boxes: each notation gives the same, `fit` brings them to the input and back, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from compressctl.data.boxes import unpack
from compressctl.data.fingerprint import fingerprint, source_files
from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

RNG = np.random.default_rng(0)
SIZES = {"a": (40, 20), "b": (16, 32), "c": (24, 24)}  # width, height
BOXES = {"a": [(0, 4, 2, 20, 12), (1, 10, 5, 40, 20)], "b": [(1, 0, 8, 16, 24)], "c": []}
NAMES = ("cat", "dog")


def _inputs(height, width):
    return [TensorSpec("x", "float32", ("n", 3, height, width))]


def _images(folder):
    folder.mkdir(parents=True)
    for name, (width, height) in SIZES.items():
        Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{name}.png")


@pytest.fixture
def coco(tmp_path):
    _images(tmp_path / "photos")
    annotations = [
        {"id": 10 * i + j, "image_id": i, "category_id": 3 + 4 * kind, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": j}
        for i, name in enumerate(BOXES)
        for j, (kind, x1, y1, x2, y2) in enumerate(BOXES[name])
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": w, "height": h}
            for i, (name, (w, h)) in enumerate(SIZES.items())
        ],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path / "instances.json", content


@pytest.fixture
def yolo(tmp_path):
    _images(tmp_path / "yolo" / "images" / "val")
    labels = tmp_path / "yolo" / "labels" / "val"
    labels.mkdir(parents=True)
    for name, boxes in BOXES.items():
        w, h = SIZES[name]
        lines = [f"{k} {(a + c) / 2 / w} {(b + d) / 2 / h} {(c - a) / w} {(d - b) / h}\n" for k, a, b, c, d in boxes]
        if lines:
            (labels / f"{name}.txt").write_text("".join(lines))
    (tmp_path / "yolo" / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return tmp_path / "yolo"


@pytest.fixture
def voc(tmp_path):
    _images(tmp_path / "voc" / "JPEGImages")
    (tmp_path / "voc" / "Annotations").mkdir()
    for name, boxes in BOXES.items():
        w, h = SIZES[name]
        objects = "".join(
            f"<object><name>{NAMES[k]}</name><difficult>0</difficult><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin>"
            f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for k, a, b, c, d in boxes
        )
        text = (
            f"<annotation><filename>{name}.png</filename><size><width>{w}</width><height>{h}</height></size>{objects}"
        )
        (tmp_path / "voc" / "Annotations" / f"{name}.xml").write_text(text + "</annotation>")
    return tmp_path / "voc"


def _truths(notation, inputs, batch=8):
    return [truth for one in open_source(notation, inputs).batches(batch) for truth in unpack(one.labels)]


def _boxes(truths):
    return [[tuple(round(float(number), 4) for number in box[:5]) for box in truth.boxes] for truth in truths]


def test_each_notation_gives_the_same_boxes(coco, yolo, voc, tmp_path):
    file, _ = coco
    for notation in (f"{file},images={tmp_path / 'photos'}", str(yolo), f"{yolo / 'data.yaml'}", str(voc)):
        truths = _truths(notation, _inputs(16, 16))
        assert _boxes(truths) == list(BOXES.values())
        assert [truth.frame.image for truth in truths] == list(SIZES.values())
    crowds = _truths(f"{file},images={tmp_path / 'photos'}", _inputs(16, 16))[0].boxes[:, 5]
    assert crowds.tolist() == [0, 1]
    by_id = _truths(f"{file},images={tmp_path / 'photos'},classes=id", _inputs(16, 16))
    assert [box[0] for truth in by_id for box in truth.boxes] == [3, 7, 7]
    assert [box[0] for truth in _truths(f"{voc},first=1", _inputs(16, 16)) for box in truth.boxes] == [1, 2, 2]
    assert [box[0] for truth in _truths(f"{voc},names=dog/cat", _inputs(16, 16)) for box in truth.boxes] == [1, 0, 0]
    assert len(_truths(f"{yolo}[1:],split=val", _inputs(16, 16))) == 2


def test_letterbox_is_that_of_ultralytics(yolo):
    # LetterBox: r = min(32/40, 32/20); 32x16 in the middle of 32x32, 8 rows of 114 above and below
    (batch,) = open_source(f"{yolo}[:1],fit=letterbox", _inputs(32, 32)).batches(1)
    (truth,) = unpack(batch.labels)
    image = batch.feeds["x"][0]
    assert np.allclose(image[:, :8], 114 / 255) and np.allclose(image[:, 24:], 114 / 255)
    own = Image.open(yolo / "images" / "val" / "a.png").resize((32, 16), 2)
    np.testing.assert_allclose(image[:, 8:24], np.asarray(own).transpose(2, 0, 1) / 255, rtol=1e-6)
    assert truth.frame.scale == (0.8, 0.8) and truth.frame.offset == (0.0, 8.0)
    fed = np.array([[4 * 0.8, 2 * 0.8 + 8, 20 * 0.8, 12 * 0.8 + 8]])
    np.testing.assert_allclose(truth.frame.back(fed), [[4, 2, 20, 12]])
    assert len(_truths(f"{yolo},fit=letterbox,resize=64", _inputs("h", "w"))) == 3


def test_shorter_is_that_of_detr(yolo):
    # the sides by torchvision's and DETR's rule: short side 20 -> 10, long side 40 -> 20, at most 18: 9x18
    source = open_source(f"{yolo},fit=shorter,resize=10,longest=18", _inputs("h", "w"))
    shapes = [batch.feeds["x"].shape for batch in source.batches(8)]
    assert shapes == [(1, 3, 9, 18), (1, 3, 18, 9), (1, 3, 10, 10)]
    (batch,) = open_source(f"{yolo}[:1],fit=shorter", _inputs(16, 16)).batches(1)
    (truth,) = unpack(batch.labels)
    assert truth.frame.content == (16, 8) and not batch.feeds["x"][0, :, 8:].any()


def test_a_crop_has_a_frame_too(yolo):
    (truth,) = _truths(f"{yolo}[:1],resize=20,crop=16", _inputs(16, 16))
    np.testing.assert_allclose(truth.frame.back(np.array([[0.0, 0.0, 16.0, 16.0]])), [[12, 2, 28, 18]])


def test_what_decides_the_samples_is_in_the_fingerprint(yolo):
    before = fingerprint(str(yolo))
    assert len(source_files(str(yolo))) == 5
    (yolo / "labels" / "val" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert fingerprint(str(yolo)) != before


def test_broken_labels_are_named(coco, yolo, voc, tmp_path):
    file, content = coco
    notation = f"{file},images={tmp_path / 'photos'}"

    def refused(pattern, where=notation, error=DataError):
        with pytest.raises(error, match=pattern):
            list(open_source(where, _inputs(16, 16)).batches(4))

    refused(r"the image 'a\.png' is not beside it", str(file))
    content["annotations"][0]["bbox"] = [30, 0, 20, 10]
    file.write_text(json.dumps(content))
    refused(
        r"instances\.json, image 0: the box 30, 0, 50, 10 \(x1, y1, x2, y2\) lies outside the image, which is 40x20"
    )
    assert len(_truths(f"{notation},skip_broken=1", _inputs(16, 16))) == 2
    content["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(content))
    refused(r"annotation 0: there is no category 99")
    file.write_text(json.dumps({"images": [], "annotations": []}))
    refused(r"no COCO file of instances: it has no 'categories'")
    (yolo / "labels" / "val" / "a.txt").write_text("0 0.5 0.5\n")
    refused(r"a\.txt, line 1: no class and four numbers: '0 0\.5 0\.5'", str(yolo))
    (yolo / "labels" / "val" / "a.txt").write_text("0 0.9 0.5 0.5 0.5\n")
    refused(r"a\.txt: the box .* lies outside the image, which is 40x20", str(yolo))
    (yolo / "labels" / "val" / "a.txt").write_text("")
    (yolo / "labels" / "val" / "d.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    refused(r"d\.txt has labels of an image that does not exist", str(yolo))
    refused(r"names no tset images", f"{yolo / 'data.yaml'},split=tset")
    (voc / "JPEGImages" / "b.png").unlink()
    refused(r"b\.xml: there is no image", str(voc))
    refused(
        r"fit=shorter needs the short side|fit=letterbox keeps the whole", f"{yolo},fit=letterbox,crop=4", UsageError
    )
