"""Verdict: is this a picture that we can use? An answer's headers and bytes go in, a picture or a status comes out.

A part of the arrow "URLs → photographs"; pure. The bytes are kept as they are; only a content encoding is undone.
"""

import hashlib
import zlib
from dataclasses import dataclass

from facescrape.status import Status
from facescrape.web.exchange import Failed
from pipelines.headers import Header, ImageRejected, RejectReason, is_cut_short, read_header

_STATUS_OF = {
    RejectReason.EMPTY: Status.NOT_AN_IMAGE,
    RejectReason.NOT_AN_IMAGE: Status.NOT_AN_IMAGE,
    RejectReason.CORRUPT: Status.NOT_AN_IMAGE,
    RejectReason.UNSUPPORTED_FORMAT: Status.UNSUPPORTED_FORMAT,
    RejectReason.TRUNCATED: Status.TRUNCATED,
}
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-octet-stream"})
_SVG = "image/svg+xml"
_END_OF_JPEG = b"\xff\xd9"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # https://docs.python.org/3/library/zlib.html#zlib.decompress
_BARE_DEFLATE = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's own bytes and what its header says of it, upright."""

    content: bytes
    sha256: str
    format: str
    width: int
    height: int


def status_of_code(code: int) -> Status:
    """The status that an HTTP status code comes to, where it is no 200 and no redirect (RFC 9110, 15)."""
    if code in {404, 410}:
        return Status.NOT_FOUND
    if code in {401, 402, 403, 451}:
        return Status.FORBIDDEN
    if code == 429:
        return Status.RATE_LIMITED
    if 200 <= code < 300:
        return Status.NOT_AN_IMAGE
    return Status.REFUSED if 300 <= code < 500 else Status.SERVER_ERROR


def check_content_type(value: str) -> None:
    """Refuse what does not even call itself an image; no type, and that of any bytes, say nothing.

    Raises:
        Failed: not_an_image, or unsupported_format (SVG).
    """
    kind = value.partition(";")[0].strip().lower()
    if kind == _SVG:
        raise Failed(Status.UNSUPPORTED_FORMAT)
    if kind not in _UNTYPED and not kind.startswith("image/"):
        raise Failed(Status.NOT_AN_IMAGE)


def check_beginning(first: bytes, max_pixels: int) -> None:
    """Refuse by the first bytes what all bytes would only confirm.

    Raises:
        Failed: not_an_image, unsupported_format or too_many_pixels.
    """
    try:
        _read_header(first, max_pixels)
    except Failed as failed:
        if failed.status != Status.TRUNCATED:
            raise


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a content encoding (RFC 9110, 8.4), one that was not asked for.

    Args:
        body: as sent.
        encoding: the value of Content-Encoding.
        max_bytes: more than these never come to be.

    Raises:
        Failed: too_large, truncated, or not_an_image where the encoding is none that we know, or not what it says.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflate(body, _GZIP_OR_ZLIB, max_bytes)
        case "deflate":  # two kinds are in the wild, with zlib's two bytes before it and without
            is_zlib = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
            return _inflate(body, _GZIP_OR_ZLIB if is_zlib else _BARE_DEFLATE, max_bytes)
        case _:  # br, zstd, or several on top of one another, which nobody does to a picture
            raise Failed(Status.NOT_AN_IMAGE)


def judge(content: bytes, max_pixels: int) -> Picture:
    """Look at a whole picture.

    Raises:
        Failed: not_an_image, unsupported_format, too_many_pixels or truncated.
    """
    header = _read_header(content, max_pixels)
    # Nearly all JPEGs end so, and to look for the beginning of the last scan takes longer than to hash them.
    if not content.endswith(_END_OF_JPEG) and is_cut_short(content, header.format):
        raise Failed(Status.TRUNCATED)
    return Picture(content, hashlib.sha256(content).hexdigest(), header.format, header.width, header.height)


def _read_header(content: bytes, max_pixels: int) -> Header:
    try:
        header = read_header(content)
    except ImageRejected as rejected:
        raise Failed(Status.UNSUPPORTED_FORMAT if _is_svg(content) else _STATUS_OF[rejected.reason]) from rejected
    if header.width * header.height > max_pixels:
        raise Failed(Status.TOO_MANY_PIXELS)
    return header


def _inflate(body: bytes, kind: int, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(kind)
    try:
        content = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Failed(Status.NOT_AN_IMAGE) from error
    if len(content) > max_bytes:
        raise Failed(Status.TOO_LARGE)
    if not inflater.eof:
        raise Failed(Status.TRUNCATED)
    return content


def _is_svg(first: bytes) -> bool:
    """Whether this is XML, by its declaration, comment or document type, whose first element is of SVG."""
    return first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg", b"<svg")) and (
        b"<svg" in first[:4096]
    )
