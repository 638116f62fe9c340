"""What an image file says of itself before its pixels are decoded: format, size, orientation, alpha, depth.

Encoded bytes in, `Header` out. Reads JPEG (ITU-T T.81), PNG (W3C, 3rd edition), WebP (RFC 9649), GIF89a and BMP, and
Exif's orientation tag (CIPA DC-008) in the first three.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class RejectReason(StrEnum):
    """The closed list of reasons for which an image is rejected."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"


class ImageRejected(Exception):
    """An image cannot be used; ``reason`` says why. Not an error of the run: it becomes a row of the rejected table."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """An image's own claims. ``stored_width`` × ``stored_height`` is the size before ``orientation`` (Exif: 1 to 8)."""

    format: str
    stored_width: int
    stored_height: int
    orientation: int = 1
    has_alpha: bool = False
    is_deep: bool = False  # 16 bits a channel

    @property
    def width(self) -> int:
        """Pixels across, as a viewer shows it."""
        return self.stored_width if self.orientation < 5 else self.stored_height

    @property
    def height(self) -> int:
        """Pixels down, as a viewer shows it."""
        return self.stored_height if self.orientation < 5 else self.stored_width


def read_header(data: bytes) -> Header:
    """Read the header of an encoded image.

    Raises:
        ImageRejected: empty, not_an_image, unsupported_format, truncated (the header itself is cut) or corrupt.
    """
    if not data:
        raise ImageRejected(RejectReason.EMPTY)
    read = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if read is None:
        known = any(data.startswith(magic, offset) for offset, magic in _UNSUPPORTED)
        raise ImageRejected(RejectReason.UNSUPPORTED_FORMAT if known else RejectReason.NOT_AN_IMAGE)
    try:
        header = read(data)
    except (struct.error, IndexError) as error:
        raise ImageRejected(RejectReason.TRUNCATED) from error
    if header.stored_width < 1 or header.stored_height < 1:
        raise ImageRejected(RejectReason.CORRUPT)
    return header


def is_cut_short(data: bytes, image_format: str) -> bool:
    """Whether an image that does not decode lacks its end; otherwise what is inside it is damaged."""
    match image_format:
        case "jpeg":
            return data.find(b"\xff\xd9", max(0, data.rfind(b"\xff\xda"))) < 0
        case "png":
            return b"IEND" not in data[-64:]
        case "webp":
            return len(data) < 8 + int(struct.unpack_from("<I", data, 4)[0])
        case "gif":
            return not data.rstrip(b"\0").endswith(b"\x3b")
        case _:
            return len(data) < int(struct.unpack_from("<I", data, 2)[0])


def _read_jpeg(data: bytes) -> Header:
    orientation, at = 1, 2
    while True:
        at = data.find(b"\xff", at)  # stray bytes between segments are legal to skip
        if at < 0:
            raise ImageRejected(RejectReason.TRUNCATED)
        marker = data[at + 1]
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:  # stuffing, fill, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        if marker in {0xD9, 0xDA}:  # the picture ends or begins, and no frame header came
            raise ImageRejected(RejectReason.CORRUPT)
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("jpeg", width, height, orientation)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _read_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length


def _read_png(data: bytes) -> Header:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    orientation, has_alpha = 1, colour in {4, 6}
    for name, start, size in _png_chunks(data):
        if name == b"tRNS":
            has_alpha = True
        elif name == b"eXIf":
            orientation = _read_orientation(data[start : start + size])
    return Header("png", width, height, orientation, has_alpha, depth == 16)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of all chunks: Exif's may stand behind the pixels."""
    at = 8
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], at + 8, size
        at += 12 + size


def _read_webp(data: bytes) -> Header:
    if data[8:12] != b"WEBP":
        raise ImageRejected(RejectReason.NOT_AN_IMAGE)
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return Header("webp", width & 0x3FFF, height & 0x3FFF)
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, has_alpha=bool(bits >> 28 & 1))
        case b"VP8X":
            flags, low_w, high_w, low_h, high_h = struct.unpack_from("<B3xHBHB", data, 20)
            width, height = (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
            orientation = _webp_orientation(data) if flags & 0x08 else 1
            return Header("webp", width, height, orientation, has_alpha=bool(flags & 0x10))
        case _:
            raise ImageRejected(RejectReason.CORRUPT if len(data) >= 16 else RejectReason.TRUNCATED)


def _webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            return _read_orientation(data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"))
        at += 8 + size + size % 2
    return 1


def _read_gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, has_alpha=True)  # transparency is said per frame; asking for it costs little


def _read_bmp(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size not in _BMP_HEADER_SIZES:
        raise ImageRejected(RejectReason.NOT_AN_IMAGE)
    if header_size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("bmp", width, abs(height))


def _read_orientation(tiff: bytes) -> int:
    """Exif's orientation tag (0x0112), 1 to 8; 1 where there is none or the block is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * entry)
            if tag == 0x0112 and kind == 3:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})

_READERS = (
    (b"\xff\xd8\xff", _read_jpeg),
    (b"\x89PNG\r\n\x1a\n", _read_png),
    (b"RIFF", _read_webp),
    (b"GIF8", _read_gif),
    (b"BM", _read_bmp),
)

_UNSUPPORTED = (
    (0, b"II*\0"),  # TIFF
    (0, b"MM\0*"),
    (0, b"\0\0\0\x0cjP  "),  # JPEG 2000
    (0, b"\xff\x0a"),  # JPEG XL
    (0, b"\0\0\0\x0cJXL "),
    (0, b"8BPS"),  # Photoshop
    (0, b"<svg"),
    (0, b"\xff\x4f\xff\x51"),
    (4, b"ftypavif"),
    (4, b"ftypavis"),
    (4, b"ftyphei"),  # heic, heix, heim, heis
    (4, b"ftyphev"),
    (4, b"ftypmif1"),
    (4, b"ftypmsf1"),
)
