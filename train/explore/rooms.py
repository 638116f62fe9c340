"""Rooms: a rendered data set in; its pictures as training sees them, and where their windows are, out.

Stands beside the last word of "clean shards → DCGAN": what G draws has no truth, but the rooms that it learned from
have, in the ``windows.csv`` that `pipelines.synthetic` writes beside them.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.errors import SourceError
from pipelines.headers import read_header
from pipelines.sources import Source, open_source
from pipelines.synthetic import TRUTH_NAME, WINDOWS_COLUMNS, WINDOWS_NAME
from train.data import Pixels, shrink

Shares = npt.NDArray[np.float32]
Place = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass(frozen=True, slots=True, eq=False)
class Rooms:
    """Pictures of rooms, and where their windows are.

    Attributes:
        name: of the source.
        digest: of the source's content.
        pixels: uint8 RGB (N, R, R, 3).
        windows: the share of each pixel that a window's box covers, float32 (N, R, R) in [0, 1].
    """

    name: str
    digest: str
    pixels: Pixels
    windows: Shares

    def __len__(self) -> int:
        return len(self.pixels)


def read_rooms(folder: Path, resolution: int) -> Rooms:
    """Read the originals of a rendered data set as training sees them, and the windows that they show.

    Args:
        folder: what `pipelines.synthetic.write_rooms` made.
        resolution: side of the pictures, in pixels.

    Raises:
        SourceError: there is no such data set in ``folder``.
    """
    truth, listed = (_read_table(folder / name) for name in (TRUTH_NAME, WINDOWS_NAME))
    originals = {row["key"] for row in truth if row["what"] == "original"}
    places: dict[str, list[Place]] = defaultdict(list)
    for row in listed:
        left, top, width, height = (int(row[column]) for column in WINDOWS_COLUMNS[1:])
        places[row["key"]].append((left, top, width, height))
    source = open_source(f"lmdb:{folder}")
    read = list(_read_pictures(source, originals, places, resolution))
    pixels = np.array([pixels for pixels, _ in read], np.uint8).reshape(-1, resolution, resolution, 3)
    windows = np.array([windows for _, windows in read], np.float32).reshape(-1, resolution, resolution)
    return Rooms(source.name, source.digest(), pixels, windows)


def cover(places: Sequence[Place], width: int, height: int, resolution: int) -> Shares:
    """The share of each pixel that boxes cover, after `pipelines.images.centre_square`: float32 (R, R) in [0, 1].

    Args:
        places: (left, top, width, height) in pixels of the picture as it was, disjoint.
        width: of that picture, in pixels.
        height: of it.
        resolution: R, the side of the square that it becomes.
    """
    side = min(width, height)
    x0, y0 = (width - side) // 2, (height - side) // 2
    edges = np.arange(resolution + 1) * (side / resolution)

    def overlap(start: int, length: int) -> npt.NDArray[np.float64]:
        within: npt.NDArray[np.float64] = np.diff(np.clip(edges, start, start + length))
        return within * (resolution / side)

    covered = np.zeros((resolution, resolution))
    for left, top, wide, high in places:
        covered += np.outer(overlap(top - y0, high), overlap(left - x0, wide))
    return covered.clip(0, 1).astype(np.float32)


def _read_pictures(
    source: Source, keys: set[str], places: Mapping[str, Sequence[Place]], resolution: int
) -> Iterator[tuple[Pixels, Shares]]:
    for split in source.splits():
        for record in source.read(split):
            if record.key in keys:
                header = read_header(record.image)
                covered = cover(places.get(record.key, ()), header.width, header.height, resolution)
                yield shrink(record, resolution), covered


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise SourceError(
            f"{path.parent} has no {path.name}",
            hint="give the folder of rendered rooms, as DATA_ROOT/demo/raw/bedroom_train_lmdb",
        ) from None
