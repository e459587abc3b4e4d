"""Image folders: preprocessing against numpy on exact (PNG) pixels, order, labels, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

RNG = np.random.default_rng(0)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NCHW = [TensorSpec("x", "float32", ("n", 3, 6, 8))]
NHWC = [TensorSpec("x", "float32", ("n", 6, 8, 3))]


def _pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Classes of 3, 1 and 2 images of 6x8 pixels."""
    tmp_path = tmp_path / "images"
    pixels = {}
    for name, count in {"ant": 3, "bee": 1, "cat": 2}.items():
        (tmp_path / name).mkdir(parents=True)
        for i in range(count):
            pixels[name, i] = _pixels(6, 8, 3)
            Image.fromarray(pixels[name, i]).save(tmp_path / name / f"{i}.png")
    return tmp_path, pixels


def _one(tmp_path, pixels, options, inputs, name="a.png"):
    Image.fromarray(pixels).save(tmp_path / name)
    (batch,) = open_source(f"{tmp_path}{options}", inputs).batches(8)
    return batch.feeds["x"][0]


def test_classes_take_turns(folder):
    path, pixels = folder
    source = open_source(str(path), NCHW)
    order = [("ant", 0), ("bee", 0), ("cat", 0), ("ant", 1), ("cat", 1), ("ant", 2)]
    batches = list(source.batches(4))
    feeds = np.concatenate([batch.feeds["x"] for batch in batches])
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), [0, 1, 2, 0, 2, 0])
    expected = np.stack([pixels[key] for key in order]).transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(feeds, expected, rtol=1e-6)
    assert len(source) == 6 and source.has_labels and not source.notes and feeds.dtype == np.float32
    assert [batch.labels.tolist() for batch in open_source(f"{path}[1:5:2]", NCHW).batches(1)] == [[1], [0]]


def test_other_files_are_left_out_with_a_note(folder):
    path, _ = folder
    (path / "ant" / "notes.txt").write_text("hello")
    (path / "ant" / ".hidden.png").write_text("hello")
    (path / "loose.png").write_bytes((path / "bee" / "0.png").read_bytes())
    source = open_source(str(path), NCHW)
    assert len(source) == 6
    (note,) = source.notes
    assert note.kind == "skipped" and note.text.startswith("2 files")


def test_a_folder_without_classes_has_no_labels(tmp_path):
    assert _one(tmp_path, _pixels(6, 8, 3), "", NCHW).shape == (3, 6, 8)
    assert not open_source(str(tmp_path), NCHW).has_labels


@pytest.mark.parametrize("options", [",mean=0.485/0.456/0.406,std=0.229/0.224/0.225", ",norm=imagenet"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("inputs", [NCHW, NHWC])
def test_normalisation_order_and_layout(tmp_path, options, order, inputs):
    pixels = _pixels(6, 8, 3)
    expected = (pixels / 255 - MEAN) / STD
    expected = expected[..., ::-1] if order == "bgr" else expected
    expected = expected.transpose(2, 0, 1) if inputs is NCHW else expected
    result = _one(tmp_path, pixels, f"{options},order={order}", inputs)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("option", "factor"), [("1/128", 1 / 128), ("1", 1.0), ("0.5", 0.5)])
def test_scale(tmp_path, option, factor):
    pixels = _pixels(6, 8, 3)
    result = _one(tmp_path, pixels, f",scale={option},mean=1", NCHW)
    np.testing.assert_allclose(result, pixels.transpose(2, 0, 1) * factor - 1, rtol=1e-5, atol=1e-5)


def test_layout_can_be_given_where_the_shape_does_not_tell(tmp_path):
    pixels = _pixels(6, 8, 3)
    dynamic = [TensorSpec("x", "float32", ("n", None, None, None))]
    assert _one(tmp_path, pixels, ",layout=nhwc", dynamic).shape == (6, 8, 3)
    assert _one(tmp_path, pixels, "", dynamic).shape == (3, 6, 8)


def test_bytes_are_fed_raw(tmp_path):
    pixels = _pixels(6, 8, 3)
    inputs = [TensorSpec("x", "uint8", (1, 6, 8, 3))]
    result = _one(tmp_path, pixels, "", inputs)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, pixels)
    with pytest.raises(UsageError, match="takes bytes"):
        open_source(f"{tmp_path},norm=imagenet", inputs)


def test_one_channel_is_grayscale(tmp_path):
    pixels = _pixels(6, 8, 3)
    result = _one(tmp_path, pixels, ",mean=0.5,std=0.25", [TensorSpec("x", "float32", ("n", 1, 6, 8))])
    luma = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, rounded to bytes
    np.testing.assert_allclose(result[0], (luma / 255 - 0.5) / 0.25, atol=4 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("", (8, 6)),  # straight to the input's size
        (",resize=8x6", (8, 6)),
        (",resize=12", (18, 12)),  # short side to 12, then the centre of the input's size
    ],
)
def test_resize_is_pillows_antialiased_bilinear(tmp_path, options, size):
    pixels = _pixels(20, 30, 3)
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    left, top = (size[0] - 8) // 2, (size[1] - 6) // 2
    expected = resized[top : top + 6, left : left + 8].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(_one(tmp_path, pixels, options, NCHW), expected, rtol=1e-6)


def test_crop_takes_the_centre(tmp_path):
    pixels = _pixels(11, 9, 3)
    inputs = [TensorSpec("x", "float32", ("n", 3, "height", "width"))]
    for options, rows, columns in [(",crop=5", slice(3, 8), slice(2, 7)), (",crop=3x7", slice(2, 9), slice(3, 6))]:
        result = _one(tmp_path, pixels, options, inputs)
        np.testing.assert_allclose(result, pixels[rows, columns].transpose(2, 0, 1) / 255, rtol=1e-6)


def test_format_is_told_by_content(tmp_path):
    pixels = _pixels(6, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    (batch,) = open_source(str(tmp_path), NCHW).batches(1)
    np.testing.assert_allclose(batch.feeds["x"][0], pixels.transpose(2, 0, 1) / 255, rtol=1e-6)


def test_a_palette_and_transparency_are_converted(tmp_path):
    pixels = _pixels(6, 8, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (batch,) = open_source(str(tmp_path), NCHW).batches(1)
    np.testing.assert_allclose(batch.feeds["x"][0], pixels[..., :3].transpose(2, 0, 1) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.png is not an image"),
        (b"\x89PNG\r\n\x1a\n garbage", "bad.png is not an image"),
        ("truncated", "bad.png is not an image"),
        ("16 bits", "bad.png has more than 8 bits"),
    ],
)
def test_broken_images_are_named(tmp_path, content, message):
    path = tmp_path / "bad.png"
    if content == "16 bits":
        Image.fromarray(np.zeros((6, 8), np.uint16)).save(path)
    elif content == "truncated":
        Image.fromarray(_pixels(60, 80, 3)).save(path)
        path.write_bytes(path.read_bytes()[:4000])
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(open_source(str(tmp_path), NCHW).batches(1))


def test_images_of_several_sizes_need_a_resize(tmp_path):
    inputs = [TensorSpec("x", "float32", ("n", 3, "height", "width"))]
    Image.fromarray(_pixels(6, 8, 3)).save(tmp_path / "a.png")
    Image.fromarray(_pixels(8, 6, 3)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png differs in shape from .*a\.png: 3x8x6 and 3x6x8 \(add resize=WxH\)"):
        list(open_source(str(tmp_path), inputs).batches(2))
    (batch,) = open_source(f"{tmp_path},resize=5x4", inputs).batches(2)
    assert batch.feeds["x"].shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",resize=0", "resize=0"),
        (",resize=8x", "resize=8x"),
        (",resize=1x2x3", "resize=1x2x3"),
        (",mean=a/b/c", "mean=a/b/c"),
        (",mean=1/2", "mean has 2 values for 3 channel"),
        (",std=0", "above 0"),
        (",scale=0", "other than 0"),
        (",scale=1/2/3", "for example scale=1/255"),
        (",norm=imagnet", "did you mean 'imagenet'"),
        (",norm=imagenet,mean=0", "sets mean and std"),
        (",order=brg", "order=brg"),
        (",layout=hwc", "did you mean 'nhwc'"),
        (",means=0", "did you mean 'mean'"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(UsageError, match=message):
        open_source(f"{folder[0]}{options}", NCHW)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([TensorSpec("x", "float32", ("n", 48))], "", "takes no images"),
        ([TensorSpec("x", "int64", ("n", 3, 6, 8))], "", "takes no images"),
        ([TensorSpec("x", "float32", ("n", 4, 6, 8))], "", "4 channels"),
        (NCHW, ",layout=nhwc", "8 channels as nhwc"),
        ([*NCHW, TensorSpec("y", "float32", ("n", 1))], "", "the model has 2"),
        (NCHW, "[6:]", "no samples"),
        (NCHW, ",crop=20", "too small for the crop"),
        (NCHW, ",resize=9x9", "is 9x9 after resize and crop, but the model wants 8x6"),
    ],
)
def test_what_does_not_fit(folder, inputs, options, message):
    with pytest.raises(DataError, match=message):
        list(open_source(f"{folder[0]}{options}", inputs).batches(1))


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="no samples found"):
        open_source(str(tmp_path), NCHW)
