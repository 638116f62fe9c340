import io
import pickle
import struct
import zlib
from pathlib import Path

import pytest
from helpers import encode, exif, smooth_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from pipelines.headers import Header, ImageRejected, RejectReason, is_cut_short, read_header

PICTURE = smooth_picture(37, 23)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def reason_of(data: bytes) -> RejectReason:
    with pytest.raises(ImageRejected) as caught:
        read_header(data)
    return caught.value.reason


@pytest.mark.parametrize("image_format", FORMATS)
def test_format_and_size(image_format: str) -> None:
    header = read_header(encode(PICTURE, image_format))
    assert (header.format, header.stored_width, header.stored_height) == (image_format.lower(), 37, 23)
    assert header.orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_orientation_turns_the_size(image_format: str, orientation: int) -> None:
    header = read_header(encode(PICTURE, image_format, exif=exif(orientation)))
    assert header.orientation == orientation
    assert (header.width, header.height) == ((37, 23) if orientation < 5 else (23, 37))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("value", "expected"), [(6, 6), (0, 1), (9, 1), (65535, 1)])
def test_orientation_in_both_byte_orders_and_out_of_range(order: str, value: int, expected: int) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(order + "IHHHIHxx", 8, 1, 0x0112, 3, 1, value)
    assert read_header(encode(PICTURE, "JPEG", exif=b"Exif\0\0" + tiff)).orientation == expected


@pytest.mark.parametrize(
    "tiff",
    [b"", b"II", b"XX*\0" + bytes(20), b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + bytes(30)],
    ids=["none", "cut", "no byte order", "directory outside", "too many entries"],
)
def test_damaged_exif_is_no_orientation(tiff: bytes) -> None:
    segment = b"Exif\0\0" + tiff
    data = encode(PICTURE, "JPEG")
    assert read_header(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]) == Header(
        "jpeg", 37, 23
    )


def test_png_orientation_behind_the_pixels() -> None:
    data = encode(PICTURE, "PNG")
    content = exif(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    assert read_header(data[:-12] + chunk + data[-12:]).orientation == 6


def test_jpeg_size_is_not_that_of_the_thumbnail_in_its_exif() -> None:
    thumbnail = encode(PICTURE.resize((8, 8)), "JPEG")
    segment = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    data = encode(PICTURE, "JPEG", progressive=True)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert (read_header(data).width, read_header(data).height) == (37, 23)


def test_jpeg_markers_without_a_length_and_stray_bytes_are_skipped() -> None:
    data = encode(PICTURE, "JPEG")
    for between in (b"\xff", b"\xff\xff\xff", b"\xff\x01", b"\xff\x00", b"stray", b"\xff\xd0"):
        assert read_header(data[:2] + b"\xff\x01" + between + data[2:]) == Header("jpeg", 37, 23)


def test_alpha_and_depth() -> None:
    rgba = PICTURE.convert("RGBA")
    assert read_header(encode(rgba, "PNG")).has_alpha
    assert read_header(encode(PICTURE.convert("LA"), "PNG")).has_alpha
    assert read_header(encode(PICTURE.quantize(8), "PNG", transparency=3)).has_alpha
    assert not read_header(encode(PICTURE, "PNG")).has_alpha
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    assert read_header(encode(rgba, "WEBP")).has_alpha
    assert read_header(encode(rgba, "WEBP", lossless=True)).has_alpha
    assert not read_header(encode(PICTURE, "WEBP")).has_alpha
    assert read_header(encode(Image.new("I;16", (3, 2)), "PNG")).is_deep
    assert not read_header(encode(PICTURE, "PNG")).is_deep


def test_bmp_of_the_oldest_kind_and_top_down() -> None:
    core = b"BM" + struct.pack("<IHHI", 38, 0, 0, 26) + struct.pack("<IHHHH", 12, 2, 2, 1, 24) + bytes(16)
    assert (read_header(core).width, read_header(core).height) == (2, 2)
    data = bytearray(encode(PICTURE, "BMP"))
    struct.pack_into("<i", data, 22, -23)
    assert read_header(bytes(data)).height == 23


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_cut_header_is_never_another_header(image_format: str) -> None:
    data = encode(PICTURE, image_format, **({"exif": exif(6)} if image_format in {"JPEG", "WEBP"} else {}))
    whole = read_header(data)
    for end in range(1, len(data)):
        try:
            header = read_header(data[:end])
        except ImageRejected as error:
            assert error.reason in {RejectReason.TRUNCATED, RejectReason.NOT_AN_IMAGE}
            assert error.reason is RejectReason.TRUNCATED or end < 16
        else:
            assert (header.stored_width, header.stored_height) == (whole.stored_width, whole.stored_height)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_cut_file_is_known_as_cut(image_format: str) -> None:
    data = encode(PICTURE, image_format)
    assert not is_cut_short(data, image_format.lower())
    assert is_cut_short(data[: len(data) * 2 // 3], image_format.lower())


def test_nothing_is_empty() -> None:
    assert reason_of(b"") is RejectReason.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><title>404</title>",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"BMW is a maker of cars, and this is a text about it.",
        b"\0" * 100,
        b"\xff\xd8",
    ],
)
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    assert reason_of(data) is RejectReason.NOT_AN_IMAGE


def test_formats_that_are_known_and_not_read() -> None:
    writable = ["TIFF"] + ["AVIF"] * features.check("avif") + ["JPEG2000"] * features.check("jpg_2000")
    for image_format in writable:
        assert reason_of(encode(PICTURE, image_format)) is RejectReason.UNSUPPORTED_FORMAT
    for start in (b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypheix", b"\0\0\0\x18ftypavis", b"8BPS", b"<svg xmlns=''>"):
        assert reason_of(start + bytes(20)) is RejectReason.UNSUPPORTED_FORMAT


def test_a_side_of_zero_is_corrupt() -> None:
    data = bytearray(encode(PICTURE, "PNG"))
    struct.pack_into(">I", data, 16, 0)
    assert reason_of(bytes(data)) is RejectReason.CORRUPT


def test_a_rejection_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(ImageRejected(RejectReason.CORRUPT)))
    assert error.reason is RejectReason.CORRUPT
    assert str(error) == "corrupt"


MAGICS = st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBPVP8X", b"GIF89a", b"BM"])


@given(MAGICS, st.binary(max_size=200))
def test_any_bytes_are_a_header_or_rejected(magic: bytes, rest: bytes) -> None:
    try:
        header = read_header(magic + rest)
    except ImageRejected as error:
        assert isinstance(error.reason, RejectReason)
    else:
        assert header.width > 0
        assert header.height > 0
        assert 1 <= header.orientation <= 8


def test_agrees_with_pillow_on_real_pictures(shared_data: Path) -> None:
    for path in sorted((shared_data / "faces").rglob("*.jpg"))[:60]:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            header = read_header(data)
            assert (header.stored_width, header.stored_height) == image.size
            assert header.orientation == image.getexif().get(0x0112, 1)
