"""Decoding: encoded bytes in, ``uint8`` RGB pictures and 32×32 thumbnails out. The one place that decodes.

Whatever the format, a picture comes out as a viewer shows it on white paper: upright, three channels, eight bits.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.headers import Header, ImageRejected, RejectReason, is_cut_short, read_header

__all__ = [
    "MAX_PIXELS",
    "THUMBNAIL_SIZE",
    "Header",
    "ImageRejected",
    "RejectReason",
    "centre_square",
    "decode",
    "encode_preview",
    "make_thumbnail",
    "measure_sharpness",
    "read_header",
    "shrink",
]

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000
THUMBNAIL_SIZE = 32
# Decoding JPEG down to no less than twice the thumbnail keeps the crop's rounding below a quarter of its pixel.
_THUMBNAIL_DECODE_SIZE = 2 * THUMBNAIL_SIZE

_REDUCTIONS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a bad image is a row in a table, not a message


def decode(data: bytes, *, at_least: int | None = None) -> Pixels:
    """Decode an image to RGB.

    JPEG, PNG, WebP, GIF (first frame) and BMP. Exif's orientation is applied; grey, palette and CMYK become RGB, alpha
    is laid on white, 16 bits a channel are rounded to 8.

    Args:
        data: the encoded image.
        at_least: where the format allows it (JPEG), decode to a half, a quarter or an eighth of the size, as long as
            the shorter side keeps this many pixels. None: full size.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        ImageRejected: with the reason. Size is checked before a pixel is decoded.
    """
    header = read_bounded_header(data)
    return _upright(_decode_bgr(data, header, at_least), header.orientation)


def read_bounded_header(data: bytes) -> Header:
    """Read the header of an image that is small enough to decode.

    Raises:
        ImageRejected: too_many_pixels (more than `MAX_PIXELS`), or a reason of `read_header`.
    """
    header = read_header(data)
    if header.width * header.height > MAX_PIXELS:
        raise ImageRejected(RejectReason.TOO_MANY_PIXELS)
    return header


def make_thumbnail(data: bytes) -> tuple[Header, Pixels]:
    """Decode an image once, at reduced scale where the format allows, to its header and 32×32 thumbnail.

    Returns:
        The header, and the area-downsampled centre square as uint8 RGB (32, 32, 3).

    Raises:
        ImageRejected: with the reason.
    """
    header = read_bounded_header(data)
    stored = _decode_bgr(data, header, _THUMBNAIL_DECODE_SIZE)
    # The square's place does not depend on the orientation, so turn the small picture and not the large one.
    return header, _upright(centre_square(stored, THUMBNAIL_SIZE), header.orientation)


def centre_square(image: Pixels, size: int) -> Pixels:
    """Cut the largest centred square and resize it to ``size`` × ``size``, by pixel area when it shrinks.

    The same picture as resizing the shorter side to ``size`` and then cropping the centre (the paper's "min-resized
    centre crop"), without resizing what is cut away.

    Args:
        image: uint8 (H, W, 3).
        size: side in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return _resize(square, size, size)


def encode_preview(image: Pixels, longest_side: int) -> bytes:
    """Encode a picture for a page: JPEG, quality 85, its longer side at most ``longest_side`` pixels."""
    small = shrink(image, longest_side)
    _, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return encoded.tobytes()


def shrink(image: Pixels, longest_side: int) -> Pixels:
    """Resize a picture, by pixel area, to at most ``longest_side`` pixels; a smaller one stays as it is.

    Args:
        image: uint8 (H, W, 3).
        longest_side: in pixels.

    Returns:
        uint8 (h, w, 3).
    """
    scale = min(1.0, longest_side / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return image if scale == 1.0 else _resize(image, width, height)


def measure_sharpness(image: Pixels, longest_side: int) -> float:
    """Variance of the Laplacian of a picture in grey, shrunk to ``longest_side`` pixels where it is larger.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy", https://doi.org/10.1109/ICPR.2000.903548.

    Args:
        image: uint8 RGB (H, W, 3).
        longest_side: in pixels: pictures of different sizes compare at one scale.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    return float(cv2.Laplacian(shrink(grey, longest_side), cv2.CV_32F).var())


def _resize(image: Pixels, width: int, height: int) -> Pixels:
    shrinks = width < image.shape[1]
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def _decode_bgr(data: bytes, header: Header, at_least: int | None) -> Pixels:
    """Decode as stored, before orientation: uint8 BGR (H, W, 3)."""
    keeps_channels = header.has_alpha or header.is_deep
    flags = cv2.IMREAD_UNCHANGED if keeps_channels else cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION
    if at_least is not None and header.format == "jpeg":
        shorter_side = min(header.width, header.height)
        for factor, reduced in _REDUCTIONS:
            if shorter_side >= factor * at_least:
                flags = reduced | cv2.IMREAD_IGNORE_ORIENTATION
                break
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:  # says nothing of the image
            raise MemoryError(f"no memory to decode {header.width} x {header.height} pixels") from error
        decoded = None
    if decoded is None:
        cut = is_cut_short(data, header.format)
        raise ImageRejected(RejectReason.TRUNCATED if cut else RejectReason.CORRUPT)
    return _to_bgr(decoded) if keeps_channels else np.asarray(decoded, np.uint8)


def _to_bgr(decoded: npt.NDArray[Any]) -> Pixels:
    """Eight bits, three channels, alpha laid on white, from whatever `cv2.IMREAD_UNCHANGED` gives."""
    if decoded.dtype == np.uint16:
        decoded = cv2.convertScaleAbs(decoded, alpha=1 / 257)  # 65535 is 255 * 257; 257 is odd, so none lies halfway
    pixels = np.asarray(decoded, np.uint8)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3].astype(np.uint16)
    white = 255 * (255 - alpha) + 127
    # Channel by channel, and 255 * 255 + 127 fits 16 bits: a picture of the largest size must not take gigabytes.
    return np.dstack([((pixels[..., channel] * alpha + white) // 255).astype(np.uint8) for channel in range(3)])


def _upright(stored: Pixels, orientation: int) -> Pixels:
    """Turn a stored BGR picture as Exif's orientation says, and into RGB."""
    image = stored[..., ::-1]
    if orientation >= 5:  # 5 to 8 are 1 to 4 of the transposed picture, in another order
        image = image.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return np.ascontiguousarray(image)
