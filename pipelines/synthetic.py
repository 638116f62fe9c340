"""The embedded data set: rendered bedrooms in, a folder laid out like LSUN's LMDB out, with its truth beside it.

It is the source of the demo, and known to the last value: which images are near-duplicates of which, and how they were
made; which values are broken or odd; where the windows are. The same options give the same bytes on the same machine,
whatever the number of workers.
"""

import csv
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np

from pipelines.errors import ConfigError, disk_full
from pipelines.executors import LocalExecutor
from pipelines.planting import KINDS, encode_image, plant
from pipelines.rooms import render_room
from pipelines.rooms.materials import Pixels, Rng
from pipelines.store import published

TRUTH_NAME, WINDOWS_NAME = "truth.csv", "windows.csv"
TRUTH_COLUMNS = ("key", "duplicate_of", "what", "room")
WINDOWS_COLUMNS = ("key", "left", "top", "width", "height")

BROKEN = ("empty", "html", "noise", "truncated-jpeg", "truncated-webp", "900-megapixel-png")
ODD = (
    *("grey-jpeg", "rgba-png", "palette-png", "16bit-png", "exif-rotated", "8px"),  # each shows an original
    *("very-wide", "blank-white", "blank-black"),
)

_ONE_IN = 5  # originals have a near-duplicate
_ROOMS_PER_TASK = 16
_PAGE_BYTES = 4096  # of an LMDB
_EXIF_ROTATED = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
_BROKEN_PNG_SIDE = 30_000


@dataclass(frozen=True, slots=True)
class _Value:
    """One value of the LMDB, and its row in the truth table."""

    key: str
    image: bytes
    what: str
    duplicate_of: str = ""
    room: str = ""
    windows: tuple[tuple[int, int, int, int], ...] = ()


def write_rooms(
    folder: Path,
    *,
    originals: int = 3000,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render a data set into a new folder.

    The folder holds the LMDB (``data.mdb``, ``lock.mdb``; keys of 40 hex digits, in their order, values are encoded
    images), ``truth.csv`` (key, duplicate_of, what, room: a row for each key) and ``windows.csv`` (key, left, top,
    width, height in pixels: a row for each window that an original shows). It appears when all of it is written.
    All values are held in memory until then, about 10 kB each.

    Args:
        folder: to be made; may be there and empty.
        originals: different rooms. A fifth of them get near-duplicates, a few of these two or three; 15 broken and odd
            values are added.
        seed: another seed gives other rooms.
        workers: processes; None: one per core. The bytes do not depend on it.
        progress: called with the rooms done and all rooms.

    Raises:
        ConfigError: ``originals`` is below 1, or the folder is not empty.
        DiskFull: no space left.
    """
    if originals < 1:
        raise ConfigError(f"{originals} originals are too few", hint="give 1 or more")
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise ConfigError(f"{folder} is there already", hint="remove it, or choose another folder")
        folder.rmdir()
    numbers = range(originals + len(BROKEN) + len(ODD))
    tasks = [numbers[start : start + _ROOMS_PER_TASK] for start in range(0, len(numbers), _ROOMS_PER_TASK)]
    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    values: list[_Value] = []
    for done, made in enumerate(executor.map(partial(_make_values, seed, originals), tasks), 1):
        values += made
        if progress is not None:
            progress(min(done * _ROOMS_PER_TASK, len(numbers)), len(numbers))
    values.sort(key=lambda value: value.key)
    with published(folder) as filling:
        try:
            _write_lmdb(filling, values)
        except lmdb.DiskError as error:
            raise disk_full(folder) from error
        _write_csv(filling / TRUTH_NAME, TRUTH_COLUMNS, ((v.key, v.duplicate_of, v.what, v.room) for v in values))
        boxes = ((value.key, *window) for value in values for window in value.windows)
        _write_csv(filling / WINDOWS_NAME, WINDOWS_COLUMNS, boxes)


def _make_values(seed: int, originals: int, numbers: range) -> list[_Value]:
    with one_thread():
        return [value for number in numbers for value in _make_value(seed, originals, number)]


def _make_value(seed: int, originals: int, number: int) -> Iterator[_Value]:
    """An original with its near-duplicates; or, numbered after the originals, something broken or odd."""
    if number >= originals:
        yield _make_unusual(seed, originals, number - originals)
        return
    room = render_room(seed, number)
    key, rng = _key(seed, f"original {number}"), _rng(seed, number)
    quality = int(rng.integers(76, 90))
    encoded = encode_image(room.image, ".webp" if rng.random() < 0.65 else ".jpg", quality)
    yield _Value(key, encoded, "original", room="bedroom", windows=room.windows)
    for kind in planned_duplicates(number):
        image = plant(room.image, kind, rng, encoded=encoded)
        yield _Value(_key(seed, f"{kind} of {number}"), image, kind, duplicate_of=key)


def planned_duplicates(number: int) -> Sequence[str]:
    """The kinds of near-duplicates that original ``number`` has: every fifth has some, of these every fifth 2 or 3."""
    turn, rest = divmod(number, _ONE_IN)
    if rest:
        return ()
    count = {0: 3, 5: 2}.get(turn % 10, 1)
    return [KINDS[(turn + 6 * i) % len(KINDS)] for i in range(count)]


def _make_unusual(seed: int, originals: int, number: int) -> _Value:
    rng = _rng(seed, originals + number)
    if number < len(BROKEN):
        kind = BROKEN[number]
        return _Value(_key(seed, f"broken {kind}"), _break(seed, originals, kind, rng), f"broken:{kind}")
    kind = ODD[number - len(BROKEN)]
    if kind == "very-wide":
        strips = [render_room(seed, originals + i).image[96:160, :256] for i in range(12)]
        return _Value(_key(seed, kind), encode_image(np.hstack(strips), ".jpg"), f"odd:{kind}")
    if kind.startswith("blank"):
        blank = np.full((256, 256, 3), 255 if kind.endswith("white") else 0, np.uint8)
        return _Value(_key(seed, kind), encode_image(blank, ".jpg"), f"odd:{kind}")
    shown = (_ONE_IN * number + 1) % originals
    image = _encode_odd(render_room(seed, shown).image, kind)
    return _Value(_key(seed, kind), image, f"odd:{kind}", duplicate_of=_key(seed, f"original {shown}"))


def _break(seed: int, originals: int, kind: str, rng: Rng) -> bytes:
    match kind:
        case "empty":
            return b""
        case "html":
            return b"<html><body>404 Not Found</body></html>"
        case "noise":
            return rng.bytes(2000)
        case "900-megapixel-png":
            row = bytes(1 + _BROKEN_PNG_SIDE // 8)
            return _encode_png(_BROKEN_PNG_SIDE, _BROKEN_PNG_SIDE, 1, 0, (row for _ in range(_BROKEN_PNG_SIDE)))
        case _:
            suffix = ".jpg" if kind.endswith("jpeg") else ".webp"
            whole = encode_image(render_room(seed, originals).image, suffix)
            return whole[: len(whole) // 2]


def _encode_odd(image: Pixels, kind: str) -> bytes:
    height, width = image.shape[:2]
    match kind:
        case "grey-jpeg":
            return encode_image(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), ".jpg")
        case "rgba-png":
            alpha = np.full((height, width, 1), 255, np.uint8)
            alpha[:8], alpha[-8:], alpha[:, :8], alpha[:, -8:] = 128, 128, 128, 128
            return encode_image(np.concatenate([image, alpha], axis=2), ".png")
        case "palette-png":  # 6 levels of each colour
            index = (image.astype(int) + 25) // 51 @ (36, 6, 1)
            palette = np.stack(np.meshgrid(*[range(0, 256, 51)] * 3, indexing="ij"), axis=-1).astype(np.uint8).tobytes()
            return _encode_png(width, height, 8, 3, (b"\0" + row.astype(np.uint8).tobytes() for row in index), palette)
        case "16bit-png":
            return cv2.imencode(".png", image[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
        case "exif-rotated":  # stored turned to the left; the tag says to turn it to the right
            stored = encode_image(np.ascontiguousarray(np.rot90(image)), ".jpg")
            return stored[:2] + _EXIF_ROTATED + stored[2:]
        case _:
            return encode_image(np.asarray(cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA), np.uint8), ".jpg")


def _encode_png(width: int, height: int, depth: int, colour: int, rows: Iterable[bytes], palette: bytes = b"") -> bytes:
    """PNG (W3C, 3rd edition) of rows with their filter bytes, for what OpenCV does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for row in rows) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *([(b"PLTE", palette)] if palette else []), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in chunks)


def _key(seed: int, name: str) -> str:
    return hashlib.sha1(f"{seed}/{name}".encode(), usedforsecurity=False).hexdigest()


def _rng(seed: int, number: int) -> Rng:
    return np.random.default_rng([seed, number, 1])  # apart from the generator that draws the room


def _write_lmdb(folder: Path, values: Sequence[_Value]) -> None:
    """Write values, sorted by key, in one transaction: the same values give the same ``data.mdb``."""
    pages = sum(len(value.image) // _PAGE_BYTES + 2 for value in values) + 256
    with (
        lmdb.open(str(folder), map_size=pages * _PAGE_BYTES) as environment,
        environment.begin(write=True) as transaction,
    ):
        for value in values:
            transaction.put(value.key.encode(), value.image, append=True)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: the processes share the cores already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
