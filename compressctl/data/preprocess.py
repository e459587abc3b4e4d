"""From an image file to the array that a vision model's input wants, in the order torchvision made usual:
decode, resize, centre crop, scale, normalise, channel order, layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from compressctl.arrays import Array, Floats32
from compressctl.data.boxes import Frame
from compressctl.data.fit import numpy_dtype
from compressctl.data.opened import Files, Opened
from compressctl.data.options import Options, parse_size
from compressctl.errors import CompressctlError, DataError, MissingExtraError, UsageError
from compressctl.tensorspec import Dim, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
NORMS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}  # of RGB in [0, 1]
Size = tuple[int, int]
Fit = Literal["letterbox", "stretch", "shorter"]
"""How an image is brought to the size of the input without losing a part of it.

- letterbox: scaled to fit in, in the middle of grey (114, 114, 114), as Ultralytics does.
- stretch: to that size, whatever its proportions, as torchvision's SSD.
- shorter: the short side to the size that is wished for, the long one to `longest` at most, as DETR; where the model
  fixes its input, to fit in, with zeros below and to the right.
"""

_GREY = 114
_BILINEAR = 2  # PIL.Image.Resampling.BILINEAR: antialiased when it shrinks, as torchvision's Resize
_MOST_PIXELS = 89_478_485  # of an image, as Pillow has it: more take a GB while they are decoded and scaled


@dataclass(frozen=True)
class Pixels:
    """How the values of pixels are changed.

    Attributes:
        scale: factor on them, before mean and std.
        mean, std: of the scaled values in the order R, G, B.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Array) -> Floats32:
        """Change pixels [..., channels]."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        changed: Floats32 = (pixels * np.float32(self.scale) - mean) / std
        return changed


def read_pixels(options: Options, channels: int, scale: float) -> Pixels | None:
    """Read the options `norm`, `scale`, `mean` and `std`; None where none of them is given.

    Args:
        options: of a notation.
        channels: that pixels have.
        scale: where none is given.

    Raises:
        UsageError: an option has a bad value, or contradicts another.
    """
    norm = options.choice("norm", tuple(NORMS))
    factor, mean, std = _scale(options), options.numbers("mean"), options.numbers("std")
    if norm:
        if mean or std:
            raise UsageError(f"data {options.notation!r}: norm={norm} sets mean and std already", "drop one of them")
        mean, std = NORMS[norm]
    for key, values in (("mean", mean), ("std", std)):
        if values and len(values) not in (1, channels):
            raise UsageError(f"data {options.notation!r}: {key} has {len(values)} values for {channels} channel(s)")
    if std and min(std) <= 0:
        raise UsageError(f"data {options.notation!r}: std must be above 0")
    if factor is None and mean is None and std is None:
        return None
    return Pixels(scale if factor is None else factor, mean or (0.0,), std or (1.0,))


@dataclass(frozen=True)
class Preprocess:
    """How images become samples; sizes are (width, height).

    Attributes:
        channels: 1 (grayscale) or 3.
        layout: "nchw" or "nhwc".
        bgr: whether the channels are fed in the order B, G, R.
        resize: an int for the length of the short side, a size to resize to, or None.
        crop: size of the centre that is kept, or None.
        target: the size that the model's input fixes, each None where it is dynamic.
        pixels: what is done with the bytes, in the order R, G, B whatever `bgr` says; None: they are fed as they are.
        fit: how the whole image is brought to a size that has other proportions, see `Fit`; None: by `resize`, `crop`.
        longest: of the long side at most, with "shorter".
    """

    channels: int
    layout: str
    bgr: bool
    resize: int | Size | None
    crop: Size | None
    target: tuple[int | None, int | None]
    pixels: Pixels | None
    fit: Fit | None = None
    longest: int | None = None

    def load(self, path: Path) -> Array:
        """Read one image as an array [channels, height, width] or [height, width, channels].

        Raises:
            DataError: the file is no image, is damaged, or its size does not fit the model.
        """
        return self.load_framed(path)[0]

    def load_framed(self, path: Path) -> tuple[Array, Frame]:
        """Read one image as `load` does, and say where in the array it lies.

        Raises:
            DataError: as `load`.
        """
        with _decoding(path):
            image, frame = self._fitted(_decode(path, "L" if self.channels == 1 else "RGB"), path)
        pixels = np.asarray(image)
        return self._array(pixels, path, frame.fed), frame

    def load_mask(self, path: Path, frame: Frame, outside: int) -> Array:
        """Read classes of the pixels of an image, brought to its place in the input: int16 [height, width].

        Args:
            path: a file of one channel, or of a palette, whose numbers are classes.
            frame: of the image.
            outside: the class of pixels of the input that are none of the image.

        Raises:
            DataError: the file is no such image, or not of the image's size.
        """
        with _decoding(path):
            mask = _decode_mask(path)
        if mask.size != frame.image:
            have, want = (f"{width}x{height}" for width, height in (mask.size, frame.image))
            raise DataError(f"{path} is {have}, but its image is {want}")
        nearest = 0  # PIL.Image.Resampling.NEAREST
        scaled = mask.resize((round(frame.content[0]), round(frame.content[1])), nearest)
        placed = np.full(frame.fed[::-1], outside, np.int16)
        left, top = (round(shift) for shift in frame.offset)
        shown = np.asarray(scaled)[max(0, -top) :, max(0, -left) :][: frame.fed[1], : frame.fed[0]]
        top, left = max(0, top), max(0, left)
        placed[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return placed

    def _array(self, pixels: Array, path: Path, fed: Size) -> Array:
        height, width = fed[::-1]
        if any(want not in (None, have) for want, have in zip(self.target, (width, height), strict=True)):
            want = "x".join("?" if side is None else str(side) for side in self.target)
            raise DataError(f"{path} is {width}x{height} after resize and crop, but the model wants {want}")
        pixels = pixels.reshape(*pixels.shape[:2], self.channels)
        if self.pixels is not None:
            pixels = self.pixels(pixels)
        if pixels.shape[:2] != (height, width):  # as torchvision pads: below and to the right, by zeros of the input
            padding = [(0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)]
            pixels = np.pad(pixels, padding)
        if self.bgr:
            pixels = pixels[..., ::-1]
        return pixels.transpose(2, 0, 1) if self.layout == "nchw" else pixels

    def _fitted(self, image: Image, path: Path) -> tuple[Image, Frame]:
        """Return what of the input the image fills, or with "letterbox" the whole, and where in it the image lies."""
        own = image.size
        if self.fit is None:
            scaled = self._scaled(image)
            cropped = self._cropped(scaled, path)
            shift = tuple((have - want) // 2 for have, want in zip(scaled.size, cropped.size, strict=True))
            return cropped, Frame(own, cropped.size, _factors(own, scaled.size), (-float(shift[0]), -float(shift[1])))
        size = self._size(own)
        if self.fit == "letterbox":
            return letterbox(image, size)
        if self.fit == "shorter":
            inner = self._inner(own)
            return image.resize(inner, _BILINEAR), Frame(own, size, _factors(own, inner))
        return image.resize(size, _BILINEAR), Frame(own, size, _factors(own, size))

    def _size(self, own: Size) -> Size:
        """Return the size of the input for an image of this size."""
        width, height = self.target
        if width and height:
            return width, height
        if self.fit == "shorter":
            inner = self._inner(own)
            return width or inner[0], height or inner[1]
        given = self.resize
        assert given is not None  # `read_preprocess` sees to it
        return (given, given) if isinstance(given, int) else given

    def _inner(self, own: Size) -> Size:
        """Return the size with the short side as wished, unless the long one, or the input, allows less (DETR)."""
        width, height = self.target
        short, long = min(own), max(own)
        wish = self.resize if isinstance(self.resize, int) else min(side for side in self.target if side)
        if self.longest is not None and long / short * wish > self.longest:
            wish = round(self.longest * short / long)
        inner = tuple(wish if side == short else int(wish * side / short) for side in own)
        room = min(most / side for most, side in zip((width or inner[0], height or inner[1]), inner, strict=True))
        if room < 1:
            inner = tuple(max(1, int(side * room)) for side in inner)
        return inner[0], inner[1]

    def _scaled(self, image: Image) -> Image:
        width, height = self.target
        size = self.resize
        if size is None and self.crop is None and width and height:
            size = (width, height)
        if isinstance(size, int):
            short = min(image.size)
            size = (max(1, size * image.width // short), max(1, size * image.height // short))
        if size is not None and size != image.size:
            image = image.resize(size, _BILINEAR)
        return image

    def _cropped(self, image: Image, path: Path) -> Image:
        width, height = self.target
        crop = self.crop
        if crop is None and isinstance(self.resize, int) and width and height:
            crop = (width, height)
        return image if crop is None else _centre(image, crop, path)


def read_preprocess(options: Options, spec: TensorSpec) -> Preprocess:
    """Read the options of images, with defaults from the shape and type of the model's input.

    Raises:
        UsageError: an option has a bad value, or contradicts the model's input.
        DataError: the input takes no images.
    """
    layout, channels, target = image_layout(options.choice("layout", ("nchw", "nhwc")), spec)
    raw = numpy_dtype(spec) == np.uint8
    if not raw and numpy_dtype(spec).kind != "f":
        raise DataError(f"the model's input {spec} takes no images: float or uint8 pixels are fed")
    pixels = read_pixels(options, channels, 1 / 255)
    if raw and pixels is not None:
        raise UsageError(f"data {options.notation!r}: the model takes bytes as they are", "drop norm, scale, mean, std")
    fit: Fit | None = options.choice("fit", get_args(Fit))  # type: ignore[assignment]
    resize, crop = _size(options, "resize"), _crop(options)
    if fit is not None:
        _check_fit(options, fit, resize, crop, target)
    return Preprocess(
        channels=channels,
        layout=layout,
        bgr=options.choice("order", ("rgb", "bgr")) == "bgr" and channels == 3,
        resize=resize,
        crop=crop,
        target=target,
        pixels=None if raw else pixels or Pixels(1 / 255, (0.0,), (1.0,)),
        fit=fit,
        longest=options.size("longest") if fit == "shorter" else None,
    )


def letterbox(image: Image, size: Size) -> tuple[Image, Frame]:
    """Return an image in the middle of a grey one of another size, as Ultralytics' LetterBox, and where it lies."""
    from PIL.Image import new

    factor = min(want / have for want, have in zip(size, image.size, strict=True))
    inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    left, top = (round((want - have) / 2 - 0.1) for want, have in zip(size, inner, strict=True))
    canvas = new(image.mode, size, (_GREY,) * len(image.getbands()) if len(image.getbands()) > 1 else _GREY)
    canvas.paste(image.resize(inner, _BILINEAR) if inner != image.size else image, (left, top))
    return canvas, Frame(image.size, size, _factors(image.size, inner), (float(left), float(top)))


def open_images(files: Files) -> Opened:
    """Return images as samples; see `read_preprocess`."""
    return Opened(read_preprocess(files.options, files.spec).load)


def read_image(path: Path) -> Image:
    """Return an image as it is.

    Raises:
        DataError: it is missing, damaged, or of more than 8 bits a channel.
        MissingExtraError: pillow is not installed.
    """
    with _decoding(path):
        return _decode(path, "RGB")


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn whatever a damaged image makes Pillow raise into one line about it."""
    try:
        yield
    except CompressctlError:
        raise
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise DataError(f"{path} is not an image that can be read: {' '.join(str(error).split())}") from error


def _factors(before: Size, after: Size) -> tuple[float, float]:
    return after[0] / before[0], after[1] / before[1]


def _check_fit(
    options: Options, fit: Fit, resize: int | Size | None, crop: Size | None, target: tuple[int | None, int | None]
) -> None:
    if crop is not None:
        raise UsageError(f"data {options.notation!r}: fit={fit} keeps the whole image", "drop crop")
    if fit == "shorter":
        if not isinstance(resize, int) and (resize is not None or None in target):
            raise UsageError(f"data {options.notation!r}: fit=shorter needs the short side", "resize=800,longest=1333")
    elif None in target and resize is None:
        raise UsageError(
            f"data {options.notation!r}: the model leaves its size open", "add resize=WxH, as resize=640x640"
        )


def _decode_mask(path: Path) -> Image:
    image = _read(path)
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise DataError(f"{path} has {len(image.getbands())} channels", "a mask has one, of classes, or a palette")
    return image


def _read(path: Path) -> Image:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("images", "images") from None
    with Image.open(BytesIO(path.read_bytes())) as image:  # one read, where Pillow would make dozens of small ones
        image.load()
        return image


def _decode(path: Path, mode: str) -> Image:
    image = _read(path)
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{path} has more than 8 bits a channel, which are not taken")
    return image.convert(mode)


def _centre(image: Image, size: Size, path: Path) -> Image:
    if image.width < size[0] or image.height < size[1]:
        have, want = f"{image.width}x{image.height}", f"{size[0]}x{size[1]}"
        raise DataError(f"{path} is {have}, too small for the crop to {want}", "add or raise resize=N")
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


def image_layout(given: str | None, spec: TensorSpec) -> tuple[str, int, tuple[int | None, int | None]]:
    """Return layout, channels and target (width, height) of an input [N, C, H, W] or [N, H, W, C]."""
    if len(spec.shape) != 4:
        raise DataError(f"the model's input {spec} takes no images: [N, C, H, W] or [N, H, W, C] is wanted")
    _, second, third, last = (dim if isinstance(dim, int) else None for dim in spec.shape)
    layout = given or ("nhwc" if last in (1, 3) and second not in (1, 3) else "nchw")
    channels: Dim = second if layout == "nchw" else last
    if channels is None:
        channels = 3
    if channels not in (1, 3):
        raise DataError(f"the model's input {spec} has {channels} channels as {layout}; images have 1 or 3")
    height, width = (third, last) if layout == "nchw" else (second, third)
    return layout, int(channels), (width, height)


def _size(options: Options, key: str) -> int | Size | None:
    """Read `N` or `WxH`."""
    value = options.text(key)
    if value is None:
        return None
    sides = [parse_size(side) for side in value.split("x")]
    if None in sides or len(sides) > 2 or math.prod(side or 0 for side in (sides * 2)[:2]) > _MOST_PIXELS:
        raise options.error(key, "a size N or WxH", value)
    first, *rest = (side for side in sides if side is not None)
    return (first, rest[0]) if rest else first


def _crop(options: Options) -> Size | None:
    crop = _size(options, "crop")
    return (crop, crop) if isinstance(crop, int) else crop


def _scale(options: Options) -> float | None:
    """Read a factor, which may be written as a fraction such as 1/255."""
    numbers = options.numbers("scale")
    if numbers is None:
        return None
    if len(numbers) > 2 or 0 in numbers:
        raise UsageError(f"data {options.notation!r}: scale is a factor other than 0", "for example scale=1/255")
    return numbers[0] / (numbers[1] if len(numbers) == 2 else 1)
