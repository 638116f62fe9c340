"""Calibration: near-duplicates planted into a sample of the user's own pictures, and the sample beside unrelated ones.

Stands beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": the source once more, thumbnails, encoder and codes in; tables out, from which
`dedup.calibration.figures` reckons what is found at which radius, and how much of it is false.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.autoencoder import load_encoder
from dedup.calibration.chance import LARGEST_RADIUS, draw_pairs
from dedup.codes import CODE_BITS, compare_codes
from dedup.images import Images, read_usable, read_usable_records
from dedup.verification.verify import flip, score_pairs
from pipelines.errors import ConfigError
from pipelines.images import decode, make_thumbnail, shrink
from pipelines.manifest import Manifest, digest_of
from pipelines.planting import KINDS, plant
from pipelines.sources import Source, Split, digest_split
from pipelines.stage import READ_IN_PARTS, Task

# Larger pictures are shrunk before near-duplicates are made of them: what is looked at afterwards has 32 pixels.
_PLANTED_SIDE, _PLANTED_LONGEST = 256, 4096
# Pairs of codes compared at most: a sample of a thousand beside four million others shows what one beside all would.
_COMPARED_PAIRS = 1 << 32
_SCORED_PAIRS = 1 << 14  # within each radius: if none of them passes, fewer than 1 in 5,000 does
_BLOCK_ROWS = 4096  # of codes compared at a time

SAMPLE = pa.schema(
    [("key", pa.string()), ("id", pa.uint64()), ("code", pa.binary(16)), ("thumbnail", pa.binary(32 * 32 * 3))]
)
PLANTED = pa.schema(
    [
        ("key", pa.string()),
        ("kind", pa.string()),
        ("distance", pa.int16()),
        ("mirrored", pa.bool_()),
        ("score", pa.float32()),
    ]
)
SCORED = pa.schema(
    [
        ("image", pa.int32()),
        ("distance", pa.int16()),
        ("mirrored", pa.bool_()),
        ("draw", pa.float32()),
        ("score", pa.float32()),
    ]
)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is wanted of a calibration.

    Attributes:
        sample: about how many images near-duplicates are planted into.
        false_rate: the share of false ones among dropped images that the radius may be expected to bring.
    """

    sample: int = 1000
    false_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ConfigError(f"a sample of {self.sample} images is too small", hint="give 1 or more, such as 1000")
        if not 0 < self.false_rate < 1:
            raise ConfigError(f"the false rate is {self.false_rate}", hint="give a share above 0 and below 1: 0.01")


@dataclass(frozen=True, slots=True)
class CalibrationStage:
    """Plants near-duplicates and looks for them: ``NNNNN.planted.parquet``, columns `PLANTED`, a row for each.

    ``distance`` is between the codes of the near-duplicate and its original, mirrored where that is nearer, and
    ``score`` as `dedup.verification.verify.score_pairs` has it. ``NNNNN.sample.parquet``, columns `SAMPLE`, holds the
    originals. A split of which no image is in the sample has no files, and is not read.
    """

    name: ClassVar[str] = "calibration"
    version: ClassVar[int] = 1

    source: Source = field(metadata=READ_IN_PARTS)
    shard_size: int | None = None
    sample: int = 1000
    seed: int = 0
    mirrored: bool = True

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source; ``upstream`` is the thumbnails', the encoder's and the codes' manifest."""
        thumbnails, encoder, codes = upstream
        share = min(1.0, self.sample / max(1, codes.records))
        tasks = []
        splits = self.source.splits(self.shard_size)
        for split, rows, coded in zip(splits, thumbnails.parts(), codes.parts(), strict=True):
            read = [digest_split(self.source, split), rows.digest, encoder.digest, coded.digest, share]
            tasks.append(Task(rows.shards[0].name, (split, rows, encoder, coded, share), digest_of(read)))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Plant into one split's share of the sample."""
        cv2.setNumThreads(1)  # the parallelism is in the tasks
        split, rows, encoder, coded, share = task.payload
        images = Images(rows, coded)
        keys = read_usable(rows.paths(".parquet")[0], ["key", "reason"])["key"].to_pylist()
        flat = images.flat.take(np.arange(len(images)))
        drawn = {place for place, key in enumerate(keys) if not flat[place] and _number(self.seed, key) < share * 2**64}
        if not drawn:
            return 0
        places = np.array(sorted(drawn))
        made = np.concatenate(list(self._plant(split, rows, drawn)))
        codes, thumbnails = images.codes.take(places), images.thumbnails.take(places)
        planted = load_encoder(encoder.path("encoder.safetensors")).codes(made)
        originals = np.repeat(np.arange(len(places)), len(KINDS))
        distance, mirrored = compare_codes(codes[originals], planted, mirrored=self.mirrored)
        table = pa.table(
            [
                [keys[places[original]] for original in originals],
                list(KINDS) * len(places),
                distance.astype(np.int16),
                mirrored,
                score_pairs(thumbnails[originals], flip(made, mirrored)),
            ],
            schema=PLANTED,
        )
        pq.write_table(table, out / f"{task.name}.planted.parquet")
        sample = [[keys[place] for place in places], images.ids.take(places), *map(_as_bytes, (codes, thumbnails))]
        pq.write_table(pa.table(sample, schema=SAMPLE), out / f"{task.name}.sample.parquet")
        return len(places)

    def _plant(self, split: Split, rows: Manifest, drawn: set[int]) -> Iterator[Pixels]:
        """The thumbnails of each drawn image's near-duplicates, uint8 (kinds, 32, 32, 3), in the images' order."""
        for place, record in read_usable_records(self.source, split, rows):
            if place in drawn:
                image = decode(record.image, at_least=_PLANTED_SIDE)
                scale = min(1.0, _PLANTED_SIDE / min(image.shape[:2]))
                image = shrink(image, min(_PLANTED_LONGEST, math.ceil(scale * max(image.shape[:2]))))
                number = _number(self.seed, record.key)
                made = (
                    plant(image, kind, np.random.default_rng([number, index]), encoded=record.image)
                    for index, kind in enumerate(KINDS)
                )
                yield np.stack([make_thumbnail(duplicate)[1] for duplicate in made])


@dataclass(frozen=True, slots=True)
class ChanceStage:
    """Compares the sample with the others, and scores some of the nearest pairs.

    ``NNNNN.scored.parquet``, columns `SCORED`: the pairs that were scored, ``image`` counting through the sample.
    ``NNNNN.counts.json``: how many ``pairs`` were compared, their ``histogram`` by distance (129 counts) and, for each
    radius from 0, the ``rates`` below which every pair's draw led to its scoring. An image and what has equal bytes
    are no pair; nor is a flat picture one of any.
    """

    name: ClassVar[str] = "chance"
    version: ClassVar[int] = 1

    seed: int = 0
    mirrored: bool = True

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard, of a large set every so manyth; ``upstream``: the thumbnails, the codes, the calibration."""
        thumbnails, codes, calibration = upstream
        step = max(1, -(-calibration.records * codes.records // _COMPARED_PAIRS))
        parts = list(zip(thumbnails.parts(), codes.parts(), strict=True))[::step]
        others = sum(part.records for _, part in parts)
        tasks = []
        for rows, coded in parts:
            # Twice its share, for pairs are not spread evenly, and the shard with the lowest rate counts.
            budget = 2 * _SCORED_PAIRS * coded.records / max(1, others)
            read = [rows.digest, coded.digest, calibration.digest, budget]
            tasks.append(Task(coded.shards[0].name, (rows, coded, calibration, budget), digest_of(read)))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Compare the sample with one shard."""
        rows, coded, calibration, budget = task.payload
        images, sample = Images(rows, coded), read_sample(calibration)
        codes, thumbnails = _as_array(sample["code"], 16), _as_array(sample["thumbnail"], 32, 32, 3)
        ids = sample["id"].to_numpy()
        histogram, rates = np.zeros(CODE_BITS + 1, np.int64), np.ones(LARGEST_RADIUS + 1)
        tables = [SCORED.empty_table()]
        for start in range(0, len(images), _BLOCK_ROWS):
            block = np.arange(start, min(start + _BLOCK_ROWS, len(images)))
            other_codes, textured = images.codes.take(block), images.flat.take(block) == 0
            pairs = draw_pairs(
                codes,
                other_codes,
                (ids[:, None] != images.ids.take(block)) & textured,
                budget * len(block) / len(images),
                np.random.default_rng([self.seed, int(task.name), start]),
                mirrored=self.mirrored,
            )
            histogram += pairs.histogram
            rates = np.minimum(rates, pairs.rates)
            distance, mirrored = compare_codes(codes[pairs.first], other_codes[pairs.second], mirrored=self.mirrored)
            second = flip(images.thumbnails.take(block[pairs.second]), mirrored)
            scores = score_pairs(thumbnails[pairs.first], second)
            columns = [pairs.first.astype(np.int32), distance.astype(np.int16), mirrored, pairs.draw, scores]
            tables.append(pa.table(columns, schema=SCORED))
        table = pa.concat_tables(tables)
        pq.write_table(table, out / f"{task.name}.scored.parquet")
        counts = {"pairs": int(histogram.sum()), "histogram": histogram.tolist(), "rates": rates.tolist()}
        (out / f"{task.name}.counts.json").write_text(json.dumps(counts))
        return int(table.num_rows)


def read_sample(calibration: Manifest) -> pa.Table:
    """The sampled images of a finished `CalibrationStage`, in the source's order, columns `SAMPLE`."""
    tables = [pq.read_table(path) for path in calibration.paths(".sample.parquet")]
    return pa.concat_tables([SAMPLE.empty_table(), *tables]).combine_chunks()


def _number(seed: int, key: str) -> int:
    """A number below 2**64 that only the seed and the key decide."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest(), "big")


def _as_bytes(array: Pixels) -> list[bytes]:
    return [row.tobytes() for row in array]


def _as_array(column: pa.ChunkedArray, *shape: int) -> Pixels:
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, *shape)
