"""Index: a finished data set's folder in; for any picture, its near-duplicates in the data set out, in milliseconds.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Nothing is built or loaded: codes and thumbnails are mapped from where they
lie, and what keys belong to them is read from the tables of the few shards that hold a match.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from dedup.codes import flat_mask
from dedup.comparison.match import Match
from dedup.comparison.neighbours import NEAREST, Thumbnails, find_neighbours
from dedup.encoder import Encoder, load_encoder
from dedup.finished import load_encoded
from dedup.images import Images, find_bytes
from dedup.verification.verify import THRESHOLD
from pipelines.images import make_thumbnail
from pipelines.store import Folder

# A picture whose nearest are all its near-duplicates has more of them; so many are looked at in the end.
MOST = 4_096


class Index:
    """A finished data set, opened once to be asked many times. ``len()`` is the number of its usable images."""

    def __init__(self, images: Images, encoder: Encoder) -> None:
        self._images, self._encoder = images, encoder

    def __len__(self) -> int:
        return len(self._images)

    @classmethod
    def open(cls, root: Folder | Path) -> Self:
        """Open the data set in a folder below the data root.

        Raises:
            SourceError: it is not finished; the hint says what makes it.
            IntegrityError: it is damaged.
        """
        encoded = load_encoded(root)
        return cls(encoded.images(), load_encoder(encoded.encoder.path("encoder.safetensors")))

    def query(self, image: bytes, *, at_least: int = 0) -> list[Match]:
        """The near-duplicates of a picture, from the surest on.

        They come by score, then distance, then key. A flat picture's code says nothing: it is compared by its bytes.

        Args:
            image: the encoded picture.
            at_least: show so many of the nearest images, near-duplicates or not.

        Raises:
            pipelines.images.ImageRejected: it cannot be decoded; with the reason.
        """
        _, thumbnail = make_thumbnail(image)
        equal = find_bytes(self._images, [hashlib.sha256(image).hexdigest()]).tolist()
        found = {number: Match(number, "", 0, False, None, True, True) for number in equal}
        if not flat_mask(thumbnail[None])[0]:
            found = self._near(thumbnail[None], at_least) | found
        keys = self._images.keys(np.array(list(found), np.int64))
        matches = [replace(match, key=key) for match, key in zip(found.values(), keys, strict=True)]
        return sorted(matches, key=lambda match: (not match.same_bytes, -(match.score or 0), match.distance, match.key))

    def _near(self, picture: Thumbnails, at_least: int) -> dict[int, Match]:
        """By number, the images that verification takes for the picture, or just the nearest where they are too few."""
        mirrored, codes = self._encoder.config.mirrored, self._encoder.codes(picture)
        k = max(NEAREST, at_least)
        while True:
            found = find_neighbours(picture, codes, self._images, k, mirrored=mirrored)
            verified = found.score[0] >= THRESHOLD
            if not verified.all() or k >= MOST:
                break
            k = min(4 * k, MOST)
        shown = found.numbers[0] >= 0
        shown[shown] &= self._images.flat.take(found.numbers[0, shown]) == 0
        shown &= verified | (np.cumsum(shown) <= at_least)
        columns = (column[0, shown].tolist() for column in (found.numbers, found.distance, found.mirrored, found.score))
        return {
            number: Match(number, "", distance, flipped, score, False, score >= THRESHOLD)
            for number, distance, flipped, score in zip(*columns, strict=True)
        }
