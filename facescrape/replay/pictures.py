"""Pictures of the replay world: recipes in, encoded photographs and the truth about their faces out.

The same recipe always makes the same bytes.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pipelines.headers import read_header
from pipelines.images import ImageRejected, Pixels, decode
from pipelines.planting import alter_image, encode_image
from pipelines.portraits import Face, Photograph, render_photograph

ALTERATIONS = ("resize", "recompress", "crop", "text", "brighten", "border", "grey")

_CACHED_PICTURES = 256  # about 100 kB each
_MOST_CROPPED = 0.08  # of either side
_UNKNOWN_SIZE = (1024, 768)


@dataclass(frozen=True, slots=True)
class Picture:
    """Encoded bytes, and the faces in them; None where that is not known."""

    content: bytes
    faces: tuple[Face, ...] | None


class Recipe(Hashable, Protocol):
    """How a picture is made. It can be sent to other processes."""

    @property
    def key(self) -> str:
        """A file name of its own."""
        ...

    def make(self) -> Picture:
        """Make it."""
        ...


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered photograph; two shots stand side by side.

    Attributes:
        seed: of all people.
        shots: one or two of (person, shot).
        suffix: .jpg, .webp or .png.
        alteration: one of `ALTERATIONS`, which makes a near-duplicate; "" for none.
    """

    seed: int
    shots: tuple[tuple[int, int], ...]
    suffix: str = ".jpg"
    alteration: str = ""

    @property
    def key(self) -> str:
        """A file name that says all of it."""
        shots = "+".join(f"{person:05d}-{shot:03d}" for person, shot in self.shots)
        return f"{self.seed}-{shots}{self.alteration and f'-{self.alteration}'}{self.suffix}"

    def make(self) -> Picture:
        """Render, put side by side, alter and encode it."""
        rng = np.random.default_rng([self.seed, *(number for shot in self.shots for number in shot), 2])
        photograph = _side_by_side([_render(self.seed, *shot) for shot in self.shots])
        quality = int(rng.integers(82, 94))
        if self.alteration:
            photograph = _alter(photograph, self.alteration, rng)
            quality = int(rng.integers(30, 60) if self.alteration == "recompress" else rng.integers(65, 90))
        return Picture(encode_image(photograph.image, self.suffix, quality), photograph.faces)


@dataclass(frozen=True, slots=True)
class File:
    """A photograph that is there already, of which nothing is known but its bytes."""

    path: Path

    @property
    def key(self) -> str:
        """Folder and name."""
        return f"{self.path.parent.name}/{self.path.name}"

    def make(self) -> Picture:
        """Read it."""
        return Picture(self.path.read_bytes(), None)


class Darkroom:
    """Makes pictures when they are asked for; keeps the last of them. To be used by one thread."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # of pictures that are made already, by their keys
        self.content = lru_cache(_CACHED_PICTURES)(self._find)

    def size(self, recipe: Recipe | None) -> tuple[int, int]:
        """Width and height as a viewer shows it; a usual size where it is no picture."""
        try:
            header = read_header(self.content(recipe)) if recipe is not None else None
        except ImageRejected:
            header = None
        return (header.width, header.height) if header else _UNKNOWN_SIZE

    def thumbnail(self, recipe: Recipe, width: int) -> bytes:
        """A JPEG of it, ``width`` pixels wide."""
        image = decode(self.content(recipe))
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return encode_image(np.asarray(small, np.uint8), ".jpg")

    def _find(self, recipe: Recipe) -> bytes:
        if self.folder is not None and (path := self.folder / recipe.key).is_file():
            return path.read_bytes()
        return recipe.make().content


@lru_cache(maxsize=16)  # a near-duplicate is made soon after its original
def _render(seed: int, person: int, shot: int) -> Photograph:
    return render_photograph(seed, person, shot)


def _side_by_side(photographs: Sequence[Photograph]) -> Photograph:
    """Photographs in a row, shrunk to the height of the lowest."""
    if len(photographs) == 1:
        return photographs[0]
    height = min(photograph.image.shape[0] for photograph in photographs)
    images: list[Pixels] = []
    faces: list[Face] = []
    left = 0
    for photograph in photographs:
        scale = height / photograph.image.shape[0]
        width = round(photograph.image.shape[1] * scale)
        small = cv2.resize(photograph.image, (width, height), interpolation=cv2.INTER_AREA)
        images.append(np.asarray(small, np.uint8))
        faces += (_move(face, scale, left, 0) for face in photograph.faces)
        left += width
    return Photograph(np.hstack(images), tuple(faces))


def _alter(photograph: Photograph, kind: str, rng: np.random.Generator) -> Photograph:
    height, width = photograph.image.shape[:2]
    if kind == "crop":  # by ourselves, to know where the faces went
        left, top, right, bottom = (
            round(side * rng.uniform(0.01, _MOST_CROPPED)) for side in (width, height, width, height)
        )
        image = np.ascontiguousarray(photograph.image[top : height - bottom, left : width - right])
        return Photograph(image, tuple(_move(face, 1.0, -left, -top) for face in photograph.faces))
    image = alter_image(photograph.image, kind, rng)
    scale = image.shape[1] / width if kind == "resize" else 1.0
    x, y = (image.shape[1] - width * scale) / 2, (image.shape[0] - height * scale) / 2
    return Photograph(image, tuple(_move(face, scale, x, y if kind == "border" else 0) for face in photograph.faces))


def _move(face: Face, scale: float, x: float, y: float) -> Face:
    left, top, width, height = face.box
    return replace(face, box=(left * scale + x, top * scale + y, width * scale, height * scale))
