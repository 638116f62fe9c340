"""The sets that the quality benchmark runs on: real pictures in, an LMDB with planted near-duplicates and truth out.

A picture is held out when the hash of its key says so (one in five): nothing is tuned on it, and the tables that are
published are of these pictures alone. A planted near-duplicate goes with its original.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from dedup.truth import NOT_PLANTED
from pipelines.images import ImageRejected, decode
from pipelines.planting import plant
from pipelines.sources import open_source

TRUTH_COLUMNS = ("key", "duplicate_of", "what", "room", "beside")
ONE_IN = 5  # pictures have a planted near-duplicate
_SUFFIXES = ((b"RIFF", ".webp"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


@dataclass(frozen=True, slots=True)
class Row:
    """What the truth table says of an image.

    Attributes:
        picture: key of the picture that it shows, its own if it is no copy.
        what: ``original``, a kind of near-duplicate, ``odd:…`` or ``broken:…``.
        beside: key of the second picture that a collage shows, or empty.
    """

    picture: str
    what: str
    beside: str

    @property
    def is_planted(self) -> bool:
        """Whether it is a near-duplicate that is to be found."""
        return not self.what.startswith(NOT_PLANTED)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A set with its truth.

    Attributes:
        name: what tables call it.
        lmdb: folder of the LMDB.
        truth: its CSV: key, duplicate_of, what, room and, where there are collages, beside.
    """

    name: str
    lmdb: Path
    truth: Path

    @property
    def uri(self) -> str:
        """For `pipelines.sources.open_source`."""
        return f"lmdb:{self.lmdb}"

    def rows(self) -> dict[str, Row]:
        """Key → what the truth table says of it."""
        with self.truth.open(newline="", encoding="utf-8") as file:
            return {
                row["key"]: Row(row["duplicate_of"] or row["key"], row["what"], row.get("beside", ""))
                for row in csv.DictReader(file)
            }


def is_held_out(key: str) -> bool:
    """Whether nothing may be tuned on the picture of that key."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 5 == 0


def read_images(uri: str) -> Iterator[tuple[str, bytes]]:
    """Key and encoded image of each record of a source, in its order."""
    source = open_source(uri)
    for split in source.splits():
        for record in source.read(split):
            yield record.key, record.image


def write_files(uri: str, folder: Path) -> dict[str, str]:
    """Write the images of a source that decode as files, named as tools that go by suffixes want; name → key."""
    folder.mkdir(parents=True)
    names = {}
    for number, (key, image) in enumerate(read_images(uri)):
        if _decodes(image):
            suffix = next((suffix for begin, suffix in _SUFFIXES if image.startswith(begin)), ".jpg")
            names[name := f"{number:06d}{suffix}"] = key
            (folder / name).write_bytes(image)
    return names


def draw_pictures(uri: str, count: int | None, *, held_out: bool, seed: int) -> dict[str, bytes]:
    """Draw pictures of a source, all held out or all not: key → encoded image, in the source's order."""
    images = {key: image for key, image in read_images(uri) if is_held_out(key) == held_out}
    keys = sorted(images)
    if count is None or count >= len(keys):
        return images
    drawn = {keys[index] for index in np.random.default_rng(seed).choice(len(keys), count, replace=False)}
    return {key: image for key, image in images.items() if key in drawn}


def make_corpus(name: str, pictures: Mapping[str, bytes], kinds: Sequence[str], folder: Path, *, seed: int) -> Corpus:
    """Write a set in which every fifth picture has one planted near-duplicate, of each kind in turn.

    Args:
        name: what tables call it.
        pictures: key → encoded image.
        kinds: of `pipelines.planting`; a collage shows the picture half the set further on as well.
        folder: for ``data.mdb`` and ``truth.csv``.
        seed: draws how strong each near-duplicate is.
    """
    keys = sorted(pictures)
    images, truth = dict(pictures), [(key, "", "original", "", "") for key in keys]
    for turn, number in enumerate(range(0, len(keys), ONE_IN)):
        key, kind = keys[number], kinds[turn % len(kinds)]
        beside = keys[(number + len(keys) // 2) % len(keys)] if kind == "collage" else ""
        copy = f"{key}/{kind}"
        images[copy] = plant(
            decode(pictures[key]),
            kind,
            np.random.default_rng([seed, number]),
            encoded=pictures[key],
            other=decode(pictures[beside]) if beside else None,
        )
        truth.append((copy, key, kind, "", beside))
    folder.mkdir(parents=True)
    map_bytes = 2 * sum(map(len, images.values())) + len(images) * 8192 + (1 << 20)
    with (
        lmdb.open(str(folder), map_size=map_bytes) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key in sorted(images):
            transaction.put(key.encode(), images[key], append=True)
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([TRUTH_COLUMNS, *sorted(truth)])
    return Corpus(name, folder, folder / "truth.csv")


def _decodes(image: bytes) -> bool:
    try:
        decode(image)
    except ImageRejected:
        return False
    return True
