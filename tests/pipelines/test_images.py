import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers import encode, exif, smooth_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.images import (
    MAX_PIXELS,
    ImageRejected,
    RejectReason,
    centre_square,
    decode,
    encode_preview,
    make_thumbnail,
    read_header,
)

Array = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 131, 97
RGB = smooth_picture(WIDTH, HEIGHT)
ALPHA = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
RGBA = RGB.copy()
RGBA.putalpha(ALPHA)
GREY = RGB.convert("L")
GREY_ALPHA = Image.merge("LA", (GREY, ALPHA))
PALETTE = RGB.quantize(64)

FILES: dict[str, bytes] = {
    "jpeg": encode(RGB, "JPEG", quality=92),
    "jpeg progressive": encode(RGB, "JPEG", quality=92, progressive=True),
    "jpeg 4:4:4": encode(RGB, "JPEG", quality=92, subsampling=0),
    "jpeg grey": encode(GREY, "JPEG", quality=92),
    "jpeg cmyk": encode(RGB.convert("CMYK"), "JPEG", quality=92),
    "png": encode(RGB, "PNG"),
    "png alpha": encode(RGBA, "PNG"),
    "png grey": encode(GREY, "PNG"),
    "png grey alpha": encode(GREY_ALPHA, "PNG"),
    "png palette": encode(PALETTE, "PNG"),
    "png palette, one colour clear": encode(PALETTE, "PNG", transparency=3),
    "png palette, alpha table": encode(PALETTE, "PNG", transparency=bytes(range(0, 256, 4))),
    "png rgb, one colour clear": encode(RGB, "PNG", transparency=RGB.getpixel((50, 60))),
    "png 1 bit": encode(RGB.convert("1"), "PNG"),
    "png animated": encode(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "webp": encode(RGB, "WEBP", quality=92),
    "webp lossless": encode(RGB, "WEBP", lossless=True),
    "webp alpha": encode(RGBA, "WEBP", quality=92),
    "webp lossless alpha": encode(RGBA, "WEBP", lossless=True),
    "webp grey": encode(GREY, "WEBP", quality=92),
    "webp animated": encode(RGBA, "WEBP", save_all=True, append_images=[RGBA.rotate(180)], lossless=True),
    "gif": encode(PALETTE, "GIF"),
    "gif grey": encode(GREY, "GIF"),
    "gif clear": encode(PALETTE, "GIF", transparency=3),
    "gif animated": encode(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
    "bmp": encode(RGB, "BMP"),
    "bmp grey": encode(GREY, "BMP"),
    "bmp palette": encode(PALETTE, "BMP"),
    "bmp 1 bit": encode(RGB.convert("1"), "BMP"),
}


def as_pillow_shows(data: bytes) -> Array:
    """Upright RGB on white, by another library."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def difference(one: Array, other: Array) -> npt.NDArray[np.int16]:
    assert one.shape == other.shape
    return np.abs(one.astype(np.int16) - other)


def reason_of(read: Callable[[bytes], object], data: bytes) -> RejectReason:
    with pytest.raises(ImageRejected) as caught:
        read(data)
    return caught.value.reason


@pytest.mark.parametrize("name", FILES)
def test_agrees_with_pillow(name: str) -> None:
    image = decode(FILES[name])
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    assert difference(image, as_pillow_shows(FILES[name])).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image_format", "mode"),
    [
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_orientation_agrees_with_pillow(image_format: str, mode: str, orientation: int) -> None:
    image = {"RGBA": RGBA, "LA": GREY_ALPHA, "P": PALETTE}.get(mode) or RGB.convert(mode)
    data = encode(image, image_format, exif=exif(orientation))
    assert difference(decode(data), as_pillow_shows(data)).max() <= 3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded_and_alpha_is_laid_on_white(channels: int) -> None:
    deep = np.random.default_rng(channels).integers(0, 65536, (40, 50, channels), np.uint16)
    image = decode(cv2.imencode(".png", deep)[1].tobytes())
    exact = np.repeat(deep, 3, 2) if channels == 1 else deep[..., 2::-1]
    exact = exact / 65535
    if channels == 4:
        alpha = deep[..., 3:] / 65535
        exact = exact * alpha + 1 - alpha
    assert np.abs(image - 255 * exact).max() <= (0.51 if channels < 4 else 1.6)


def test_eight_bit_alpha_is_rounded_to_the_nearest() -> None:
    alpha, value = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    rgba = np.dstack([value, value, value, alpha])
    exact = (value * (alpha / 255)) + 255 - alpha
    assert np.abs(decode(encode(Image.fromarray(rgba), "PNG"))[..., 0] - exact).max() <= 0.5 + 1e-9


def test_bmp_top_down() -> None:
    data = bytearray(FILES["bmp"])
    struct.pack_into("<i", data, 22, -HEIGHT)
    assert np.array_equal(decode(bytes(data)), np.asarray(RGB)[::-1])


def test_bytes_behind_the_end_do_not_matter() -> None:
    for name in ("jpeg", "png", "webp", "gif", "bmp"):
        assert np.array_equal(decode(FILES[name] + b"junk" * 50), decode(FILES[name]))


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "jpeg 4:4:4", "jpeg grey", "jpeg cmyk"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_decoding_is_close_to_full_decoding_and_area(name: str, orientation: int) -> None:
    image = {"jpeg grey": GREY, "jpeg cmyk": RGB.convert("CMYK")}.get(name, RGB).resize((640, 480))
    options = {"progressive": "progressive" in name, "subsampling": 0 if "4:4:4" in name else 2}
    data = encode(image, "JPEG", quality=92, exif=exif(orientation), **options)
    full = decode(data)
    for at_least, factor in ((480, 1), (241, 1), (240, 2), (121, 2), (120, 4), (60, 8), (1, 8)):
        reduced = decode(data, at_least=at_least)
        assert reduced.shape == (full.shape[0] // factor, full.shape[1] // factor, 3)
        by_area = cv2.resize(full, reduced.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert difference(reduced, np.asarray(by_area, np.uint8)).mean() < 1.5


def test_other_formats_come_at_full_size_whatever_is_asked() -> None:
    for name in ("png", "webp", "gif", "bmp"):
        assert decode(FILES[name], at_least=1).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", FILES)
def test_thumbnail_is_the_centre_square_by_area(name: str) -> None:
    header, thumbnail = make_thumbnail(FILES[name])
    assert header == read_header(FILES[name])
    assert (thumbnail.shape, thumbnail.dtype) == ((32, 32, 3), np.uint8)
    assert difference(thumbnail, centre_square(decode(FILES[name]), 32)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(128, 96), (131, 96), (96, 131), (97, 97)])
def test_thumbnail_does_not_tell_stored_orientation_from_upright_pixels(
    size: tuple[int, int], orientation: int
) -> None:
    data = encode(smooth_picture(*size), "PNG", exif=exif(orientation))
    upright = encode(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), "PNG")
    off = difference(make_thumbnail(data)[1], make_thumbnail(upright)[1])
    assert off.mean() < (0.1 if (size[0] - size[1]) % 2 == 0 else 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (60_000, 1), (3, 2), (31, 33), (500, 20)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP"])
def test_thumbnail_of_odd_sizes(image_format: str, size: tuple[int, int]) -> None:
    header, thumbnail = make_thumbnail(encode(Image.new("RGB", size, (200, 100, 50)), image_format))
    assert (header.width, header.height) == size
    assert np.abs(thumbnail.astype(int) - (200, 100, 50)).max() <= 3


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 40))
def test_centre_square_takes_the_middle(width: int, height: int, size: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 255
    square = centre_square(image, size)
    assert square.shape == (size, size, 3)
    assert (square == 255).all()


def test_centre_square_shrinks_by_area() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    square = centre_square(np.dstack([checks] * 3).astype(np.uint8), 32)
    assert np.abs(square.astype(int) - 127.5).max() <= 1


@pytest.mark.parametrize(("size", "expected"), [((400, 200), (100, 50)), ((1, 900), (1, 100)), ((30, 20), (30, 20))])
def test_preview_is_a_jpeg_of_at_most_the_longest_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.asarray(smooth_picture(*size))
    preview = encode_preview(image, 100)
    assert read_header(preview).format == "jpeg"
    shown = decode(preview)
    assert shown.shape == (expected[1], expected[0], 3)
    small = cv2.resize(image, expected, interpolation=cv2.INTER_AREA)
    assert difference(shown, np.asarray(small, np.uint8)).mean() < 6


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@cache
def png_bomb() -> bytes:
    """900 megapixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    pixels = zlib.compress(zlib.compress(bytes(30_000 * 3_751), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def with_size(name: str, pattern: str, offset: int, *sides: int) -> bytes:
    data = bytearray(FILES[name])
    struct.pack_into(pattern, data, offset, *sides)
    return bytes(data)


def jpeg_with_size(width: int, height: int) -> bytes:
    return with_size("jpeg", ">HH", FILES["jpeg"].index(b"\xff\xc0") + 5, height, width)


# None of these holds the pixels that it claims, so a decoder that began would say that it is cut or corrupt.
TOO_LARGE = {
    "png": png_bomb(),
    "png header alone": png_bomb()[:33],
    "jpeg": jpeg_with_size(30_000, 30_000),
    "webp": b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(70),
    "gif": with_size("gif", "<HH", 6, 60_000, 60_000),
    "bmp": with_size("bmp", "<ii", 18, 30_000, 30_000),
    "bmp top-down": with_size("bmp", "<ii", 18, 30_000, -30_000),
    "bmp of the most rows": with_size("bmp", "<ii", 18, 30_000, -(2**31)),
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.parametrize("read", [decode, make_thumbnail])
def test_too_many_pixels_are_rejected_without_decoding(read: Callable[[bytes], object], name: str) -> None:
    assert reason_of(read, TOO_LARGE[name]) is RejectReason.TOO_MANY_PIXELS


def test_the_largest_size_is_allowed() -> None:
    side = int(MAX_PIXELS**0.5)
    flat = cv2.imencode(".png", np.zeros((side, side), np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
    assert make_thumbnail(flat)[1].max() == 0


def lying_files() -> dict[str, bytes]:
    """A harmless size where a quick reader looks, and a huge one where the decoder might."""
    png, small = FILES["png"], struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    bomb = png_bomb()
    data = FILES["jpeg"]
    frame = data.index(b"\xff\xc0")
    end = frame + 2 + struct.unpack_from(">H", data, frame + 2)[0]
    small_frame = data[frame:end]
    large_frame = bytearray(small_frame)
    struct.pack_into(">HH", large_frame, 5, 30_000, 30_000)
    gif = bytearray(FILES["gif"])
    picture = gif.index(b"\x2c", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    struct.pack_into("<HH", gif, picture + 5, 60_000, 60_000)
    webp = bytearray(encode(RGB, "WEBP", exif=exif(1)))
    webp[24:30] = b"\x03\0\0\x03\0\0"
    return {
        "png, another chunk first": png[:8] + chunk(b"teXt", small) + bomb[8:],
        "png, two headers": png[:8] + chunk(b"IHDR", small) + bomb[8:],
        "jpeg, two frame headers": data[:frame] + small_frame + bytes(large_frame) + data[end:],
        "jpeg, a frame header behind a stuffed byte": (
            data[:frame] + b"\xff\0" + struct.pack(">H", 2 + len(large_frame)) + large_frame + data[frame:]
        ),
        "gif, a frame beyond its screen": bytes(gif),
        "webp, a picture beyond its canvas": bytes(webp),
    }


LYING = lying_files()


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("read", [decode, make_thumbnail])
def test_a_lying_header_is_rejected(read: Callable[[bytes], object], name: str) -> None:
    assert reason_of(read, LYING[name]) in {RejectReason.CORRUPT, RejectReason.TOO_MANY_PIXELS}


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp", "webp lossless", "gif", "bmp"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_cut_file_is_truncated(name: str, part: float) -> None:
    cut = FILES[name][: int(len(FILES[name]) * part)]
    assert reason_of(decode, cut) is RejectReason.TRUNCATED
    assert reason_of(make_thumbnail, cut) is RejectReason.TRUNCATED


def test_every_other_reason() -> None:
    damaged = bytearray(FILES["png"])
    damaged[60:90] = bytes(30)
    assert reason_of(decode, bytes(damaged)) is RejectReason.CORRUPT
    assert reason_of(decode, b"") is RejectReason.EMPTY
    assert reason_of(decode, b"<html></html>") is RejectReason.NOT_AN_IMAGE
    assert reason_of(decode, encode(RGB, "TIFF")) is RejectReason.UNSUPPORTED_FORMAT


def test_no_memory_says_nothing_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdecode(*_: object) -> None:
        error = cv2.error("Insufficient memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    with pytest.raises(MemoryError):
        decode(FILES["jpeg"])


def decode_or_reject(data: bytes) -> None:
    try:
        image = decode(data)
        header, thumbnail = make_thumbnail(data)
    except ImageRejected as error:
        assert isinstance(error.reason, RejectReason)
    else:
        assert image.shape == (header.height, header.width, 3)
        assert image.dtype == np.uint8
        assert thumbnail.shape == (32, 32, 3)


SMALL = smooth_picture(20, 16)
SMALL_RGBA = RGBA.resize((20, 16))
SEEDS = [
    encode(SMALL, "JPEG", exif=exif(5)),
    encode(SMALL, "JPEG", progressive=True),
    encode(SMALL.convert("CMYK"), "JPEG"),
    encode(SMALL_RGBA, "PNG"),
    encode(SMALL.quantize(16), "PNG", transparency=3),
    encode(SMALL_RGBA, "WEBP", lossless=True, exif=exif(7)),
    encode(SMALL, "WEBP"),
    encode(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(180)]),
    encode(SMALL, "BMP"),
]
MAGICS = st.sampled_from([b"", *(seed[:30] for seed in SEEDS)])


@given(MAGICS, st.binary(max_size=300))
def test_arbitrary_bytes_are_a_picture_or_rejected(start: bytes, rest: bytes) -> None:
    decode_or_reject(start + rest)


# A byte of a size may grow to a picture of 100 megapixels, which is allowed, and slow: so large claims are left out.
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.integers(0, 5000) | st.none(),
)
def test_mutated_and_cut_files_are_a_picture_or_rejected(
    seed: bytes, changes: list[tuple[int, int]], end: int | None
) -> None:
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    data = data[: None if end is None else end % len(data)]
    try:
        header = read_header(bytes(data))
    except ImageRejected:
        return
    if header.width * header.height < 4_000_000 or header.width * header.height > MAX_PIXELS:
        decode_or_reject(bytes(data))


def test_real_pictures_agree_with_pillow(shared_data: Path) -> None:
    for path in sorted((shared_data / "faces").rglob("*.jpg"))[:40]:
        data = path.read_bytes()
        assert difference(decode(data), as_pillow_shows(data)).mean() < 1
