"""Planting: a picture in, near-duplicates of known kinds out, for measuring how many of them are found.

Comes before "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN": the rendered
rooms have such near-duplicates in their LMDB, and ``--calibrate`` and the benchmarks plant them into real pictures.

Every kind is as strong in a small picture as in a large one, relative to the picture: letters and frames are drawn in
units of 1/256 of the shorter side, so that a captioned picture of 32 pixels looks as one of 256 pixels does once it is
shrunk. Noise and the losses of JPEG and WebP are the exceptions, which come by the pixel wherever they occur.
"""

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

KINDS = (
    *("exact", "resize", "recompress", "brighten", "gamma", "text", "border"),
    *("noise", "crop2", "crop5", "crop10", "grey", "mirror"),
)
HARD_KINDS = ("crop20", "rotate5", "stretch10", "blur", "posterise", "colour_filter", "watermark", "turn90", "collage")

_DRAWING_SIDE = 256  # pixels of the shorter side that letters are drawn on, at least
_FONT = cv2.FONT_HERSHEY_DUPLEX
_CAPTIONS = ("FOR SALE", "TO LET", "NEW PRICE", "OPEN DAY")
_WATERMARKS = ("SAMPLE", "PREVIEW", "STOCK PHOTO", "COPYRIGHT")
_POSTERISED_LEVELS = 4


def plant(image: Pixels, kind: str, rng: Rng, *, encoded: bytes = b"", other: Pixels | None = None) -> bytes:
    """Make a near-duplicate of a picture, encoded as JPEG or WebP.

    Args:
        image: uint8 RGB (H, W, 3), of any size.
        kind: one of `KINDS` or `HARD_KINDS`.
        rng: draws how strong it is, the format and the quality.
        encoded: the picture as its source has it: what "exact" returns, and so needs.
        other: uint8 RGB, another picture, which "collage" needs.

    Returns:
        The encoded near-duplicate: equal bytes for "exact", quality 30 to 59 for "recompress", else 60 to 89.

    Raises:
        ValueError: an unknown kind, or one without what it needs.
    """
    if kind == "exact":
        if not encoded:
            raise ValueError("an exact duplicate needs the picture's encoded bytes")
        return encoded
    altered = alter_image(image, kind, rng, other)
    quality = int(rng.integers(30, 60) if kind == "recompress" else rng.integers(60, 90))
    return encode_image(altered, ".jpg" if rng.random() < 0.4 else ".webp", quality)


def alter_image(image: Pixels, kind: str, rng: Rng, other: Pixels | None = None) -> Pixels:
    """Make a near-duplicate's pixels.

    Args:
        image: uint8 RGB (H, W, 3), of any size.
        kind: one of `KINDS` or `HARD_KINDS`. "exact" and "recompress" leave the pixels as they are.
        rng: draws how strong it is.
        other: uint8 RGB, another picture, which stands beside this one in a "collage".

    Returns:
        uint8 RGB, of another size for "resize", "border", "stretch10", "turn90", "collage" and the crops.

    Raises:
        ValueError: an unknown kind, or "collage" without another picture.
    """
    height, width = image.shape[:2]
    altered: npt.NDArray[np.generic]
    match kind:
        case "exact" | "recompress":
            altered = image
        case "resize":
            altered = _scale(image, *[rng.uniform(0.45, 0.6)] * 2)
        case "brighten":
            altered = cv2.convertScaleAbs(image, alpha=rng.uniform(1.15, 1.25))
        case "gamma":
            levels = 255 * (np.arange(256) / 255) ** rng.uniform(0.77, 0.85)
            altered = cv2.LUT(image, levels.round().astype(np.uint8))
        case "text":
            caption, size = _CAPTIONS[rng.integers(len(_CAPTIONS))], rng.uniform(0.85, 1.1)
            left, up = int(rng.integers(8, 20)), int(rng.integers(14, 28))
            altered = _write(image, caption, size, left, up)
        case "border":
            x, y = (max(1, round(side * rng.uniform(0.022, 0.034))) for side in (width, height))
            altered = cv2.copyMakeBorder(image, y, y, x, x, cv2.BORDER_CONSTANT, value=(255,) * 3)
        case "noise":
            noise = rng.normal(0, rng.uniform(7, 11), image.shape)
            altered = np.clip(image + noise.round(), 0, 255)
        case "crop2" | "crop5" | "crop10" | "crop20":
            part = 1 - int(kind.removeprefix("crop")) / 100
            w, h = (max(1, round(side * part)) for side in (width, height))
            x, y = rng.integers(0, (width - w + 1, height - h + 1)).tolist()
            altered = image[y : y + h, x : x + w]
        case "grey":
            altered = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        case "mirror":
            altered = image[:, ::-1]
        case "rotate5":  # what it turns away from is black
            turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(rng.choice([-5, 5])), 1)
            altered = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)
        case "stretch10":
            altered = _scale(image, *rng.permutation([1.0, 1.1]).tolist())
        case "blur":
            altered = cv2.GaussianBlur(image, (0, 0), min(height, width) * rng.uniform(0.015, 0.025))
        case "posterise":
            step = 256 // _POSTERISED_LEVELS
            altered = image // step * (255 // (_POSTERISED_LEVELS - 1))
        case "colour_filter":
            altered = np.clip((image * rng.permutation([1.25, 0.9, 0.6])).round(), 0, 255)
        case "watermark":
            altered = _watermark(image, _WATERMARKS[rng.integers(len(_WATERMARKS))], rng.uniform(0.5, 0.7))
        case "turn90":
            altered = np.rot90(image, int(rng.choice([1, 3])))
        case "collage":
            if other is None:
                raise ValueError("a collage needs another picture")
            beside = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
            altered = np.hstack([image, beside][:: int(rng.choice([1, -1]))])
        case _:
            raise ValueError(f"no kind of near-duplicate is called {kind!r}")
    return np.ascontiguousarray(altered, np.uint8)


def encode_image(image: Pixels, suffix: str, quality: int = 90) -> bytes:
    """Encode RGB, RGBA or grey as ".jpg", ".webp" or ".png"; ``quality`` (0 to 100) is of the first two."""
    options = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality], ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality]}
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    _, encoded = cv2.imencode(suffix, image, options.get(suffix, []))
    return encoded.tobytes()


def _scale(image: Pixels, across: float, down: float) -> Pixels:
    """Resize by two factors, by pixel area where it shrinks."""
    height, width = image.shape[:2]
    size = (max(1, round(width * across)), max(1, round(height * down)))
    shrinks = min(across, down) < 1
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def _write(image: Pixels, caption: str, size: float, left: int, up: int) -> Pixels:
    """Write a white caption ``left`` and ``up`` from the lower left corner, in 1/256 of the shorter side."""
    height, width = image.shape[:2]
    unit = min(height, width) / _DRAWING_SIDE
    if unit >= 1:
        at = (round(left * unit), height - round(up * unit))
        written = cv2.putText(
            image.copy(), caption, at, _FONT, size * unit, (255,) * 3, _thickness(4 * unit), cv2.LINE_AA
        )
        return np.asarray(written, np.uint8)
    sheet = _sheet(height, width)
    cv2.putText(sheet, caption, (left, len(sheet) - up), _FONT, size, 255, 3, cv2.LINE_AA)
    return _lay_white(image, sheet, 1.0)


def _watermark(image: Pixels, text: str, opacity: float) -> Pixels:
    """Lay white translucent letters over the middle, four fifths as wide as the picture or its height allows."""
    sheet = _sheet(*image.shape[:2])
    height, width = sheet.shape
    unit = min(height, width) / _DRAWING_SIDE
    thickness = _thickness(6 * unit)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, unit, thickness)
    size = unit * min(0.8 * width / text_width, 0.5 * height / text_height)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, size, thickness)
    at = ((width - text_width) // 2, (height + text_height) // 2)
    cv2.putText(sheet, text, at, _FONT, size, 255, thickness, cv2.LINE_AA)
    return _lay_white(image, sheet, opacity)


def _thickness(pixels: float) -> int:
    """What OpenCV is to be asked for: its smoothed strokes come out a pixel wider."""
    return round(pixels) - 1


def _sheet(height: int, width: int) -> Pixels:
    """A black sheet of a picture's shape, large enough for letters: uint8 (H, W)."""
    zoom = max(1.0, _DRAWING_SIDE / min(height, width))
    return np.zeros((round(height * zoom), round(width * zoom)), np.uint8)


def _lay_white(image: Pixels, sheet: Pixels, opacity: float) -> Pixels:
    """Lighten a picture where the sheet, brought to its size, is white."""
    height, width = image.shape[:2]
    cover = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)[..., None] * (opacity / 255)
    return np.asarray((image + (255 - image.astype(np.float64)) * cover).round(), np.uint8)
