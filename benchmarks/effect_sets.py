"""The sets that the effect of de-duplication is measured on: real pictures in; planted sets and what dedup keeps out.

A planted set is what a crawl brings home: pictures, and altered copies of some of them. Which picture a copy shows is
drawn by Zipf's law (the chance of the r-th picture is proportional to 1 / r), so a few have most of the copies. Copies
come of each kind of `pipelines.planting` in turn, one that de-duplication does not look for (turned by 90°) among them.
A set of fewer copies is the beginning of one of more: the same pictures, the same first copies.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.corpus import read_images
from pipelines.errors import ConfigError
from pipelines.images import ImageRejected, decode
from pipelines.manifest import Manifest
from pipelines.planting import HARD_KINDS, KINDS, encode_image, plant
from pipelines.record import Record
from pipelines.rooms import render_room
from pipelines.shards import read_records
from train.data import PackedImages, Pixels, shrink

PLANTED_KINDS = (*KINDS, *(kind for kind in HARD_KINDS if kind != "collage"))  # a collage is a copy of two pictures
SMALLEST_SIDE = 16  # pixels, of a picture that copies are made of


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a planted set.

    Attributes:
        encoded: its bytes.
        picture: which picture it shows, from 0: its place in Zipf's law.
        kind: how it was altered; empty: it is the picture itself.
    """

    encoded: bytes
    picture: int
    kind: str


Images = Mapping[str, Image]  # file name → image


@dataclass(frozen=True, slots=True)
class Pool:
    """Real pictures, encoded, parted so that none is in two parts.

    Attributes:
        fitted: what the extractor is fitted to.
        held_out: the reference of all metrics.
        others: as many that stand in for a perfect G.
        trained: what is trained on, for each seed.
    """

    fitted: Sequence[bytes]
    held_out: Sequence[bytes]
    others: Sequence[bytes]
    trained: Sequence[Sequence[bytes]]


def open_pool(uri: str | None, held_out: int, pictures: int, seeds: int) -> Pool:
    """Deal the pictures of a source, or rendered rooms (None), by chance.

    Args:
        uri: of `pipelines.sources`.
        held_out: pictures in each of the first three parts.
        pictures: to train on, for each seed.
        seeds: how many parts of these.

    Raises:
        ConfigError: the source has too few pictures.
    """
    wanted = 3 * held_out + seeds * pictures
    dealt = iter(_shuffle(uri, wanted) if uri else _render(wanted))
    fitted, reference, others = (list(islice(dealt, held_out)) for _ in range(3))
    return Pool(fitted, reference, others, [list(islice(dealt, pictures)) for _ in range(seeds)])


def plant_copies(pictures: Sequence[bytes], count: int, kinds: Sequence[str], seed: int) -> dict[str, Image]:
    """Pictures and then ``count`` copies of these kinds in turn: file name → image."""
    chances = 1 / np.arange(1, len(pictures) + 1)
    shown = np.random.default_rng(seed).choice(len(pictures), count, p=chances / chances.sum()).tolist()
    images = {f"{number:06d}.jpg": Image(encoded, number, "") for number, encoded in enumerate(pictures)}
    for turn, number in enumerate(shown):
        kind, encoded = kinds[turn % len(kinds)], pictures[number]
        copy = plant(decode(encoded), kind, np.random.default_rng([seed, turn]), encoded=encoded)
        images[f"{number:06d}_{turn:06d}.jpg"] = Image(copy, number, kind)
    return images


def count_copies(pictures: int, share: float) -> int:
    """How many copies make up that share of a set of so many pictures and them."""
    return round(pictures * share / (1 - share))


def deduplicate(images: Images, folder: Path) -> dict[str, Image]:
    """Run ``python -m dedup.run`` on a set, below ``folder``, unless that is done already; the images that it keeps."""
    raw, truth = folder / "raw", folder / "truth.csv"
    if not (folder / "data" / "set" / "report.json").exists():
        raw.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            (raw / name).write_bytes(image.encoded)
        with truth.open("w", newline="", encoding="utf-8") as file:
            rows = [(name, f"{image.picture:06d}.jpg", image.kind) for name, image in images.items() if image.kind]
            originals = [(name, "", "original") for name, image in images.items() if not image.kind]
            csv.writer(file).writerows([("key", "duplicate_of", "what"), *originals, *rows])
        command = [sys.executable, "-m", "dedup.run", "set", "--source", f"folder:{raw}", "--truth", str(truth)]
        options = ["--data-root", str(folder / "data"), "--workers", "1", "--device", "cpu", "--quiet"]
        subprocess.run([*command, *options], check=True, env=os.environ)
    kept = {record.key for record in read_records(Manifest.load(folder / "data" / "set" / "clean"))}
    return {name: image for name, image in images.items() if name in kept}


def describe_cleaning(images: Images, kept: Images, folder: Path) -> dict[str, int]:
    """What de-duplication did to a set, by the truth.

    Returns:
        images, pictures and copies of the set; most_copies of one picture; found: copies that stand in one group with
        their picture; kept: images; copies_left: images kept beyond one for each picture; pictures_lost: pictures of
        which nothing is kept; shown_by_copy: pictures of which a copy is kept and not the picture.
    """
    report = json.loads((folder / "data" / "set" / "report.json").read_bytes())
    copies = np.bincount([image.picture for image in images.values() if image.kind])
    pictures = {image.picture for image in images.values()}
    left = {image.picture for image in kept.values()}
    themselves = {image.picture for image in kept.values() if not image.kind}
    return {
        "images": len(images),
        "pictures": len(pictures),
        "copies": len(images) - len(pictures),
        "most_copies": int(copies.max()),
        "found": report["truth"]["found"],
        "kept": len(kept),
        "copies_left": len(kept) - len(left),
        "pictures_lost": len(pictures - left),
        "shown_by_copy": len(left - themselves),
    }


def pack(images: Sequence[bytes], resolution: int) -> PackedImages:
    """Encoded images as training takes them, in memory."""
    pixels = stack(images, resolution)
    return PackedImages([pixels], resolution, hashlib.sha256(pixels.tobytes()).hexdigest())


def pack_set(images: Images, resolution: int) -> PackedImages:
    """A set as training takes it, in its order."""
    return pack([image.encoded for image in images.values()], resolution)


def stack(images: Sequence[bytes], resolution: int) -> Pixels:
    """Decoded centre squares: uint8 RGB (N, resolution, resolution, 3)."""
    return np.stack([shrink(Record("", image), resolution) for image in images])


def _shuffle(uri: str, wanted: int) -> list[bytes]:
    found = [image for _, image in read_images(uri) if _is_picture(image)]
    if len(found) < wanted:
        raise ConfigError(
            f"{uri} has {len(found):,} pictures, and {wanted:,} are wanted",
            hint="give a smaller --pictures or --held-out",
        )
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))[:wanted]]


def _render(count: int) -> list[bytes]:
    return [encode_image(render_room(seed=0, index=index).image, ".jpg") for index in range(count)]


def _is_picture(image: bytes) -> bool:
    try:
        height, width, _ = decode(image).shape
        return bool(min(height, width) >= SMALLEST_SIDE)
    except ImageRejected:
        return False
