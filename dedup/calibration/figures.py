"""Calibration's figures: the stages' tables in; recall and false pairs at every radius, and a choice, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". What was planted says what is found. What lies near the sample by itself says
what is false, in two ways: every pair that verification lets pass, natural near-duplicates among them, is an upper
bound; and how the scores of the other pairs thin out towards the threshold says how many of them go beyond it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.calibration.chance import LARGEST_RADIUS
from dedup.calibration.false_pairs import at_least, at_most, estimate_by_radius
from dedup.verification.verify import THRESHOLD
from pipelines.manifest import Manifest
from pipelines.planting import KINDS

RADII = range(LARGEST_RADIUS + 1)

# Where fewer images than this share are duplicates, a share of them is too few to be told from none.
_FEWEST_DROPPED = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """What a calibration measured, by kind and by radius; arrays by radius have a row for each of 0 to 64.

    Attributes:
        images: of the whole set that have a code.
        sample: of them, that near-duplicates were planted into.
        compared: pairs of the sample and others whose codes were compared.
        planted: near-duplicates by kind.
        within: int64 (65, 13), of them with a code within the radius, by kind.
        found: int64 (65, 13), of these verified.
        near: int64 (65,), of the pairs compared those within the radius.
        scored: int64 (65,), of the near ones those looked at by verification, drawn alike.
        passed: int64 (65,), of these verified.
        false: float64 (65,), of the near ones those expected to pass though they show different pictures.
        false_at_most: float64 (65,), bound of ``false`` with a confidence of 95%.
        dropped: float64 (65,), images of the whole set expected to be dropped.
    """

    images: int
    sample: int
    compared: int
    planted: Mapping[str, int]
    within: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]
    scored: npt.NDArray[np.int64]
    passed: npt.NDArray[np.int64]
    false: npt.NDArray[np.float64]
    false_at_most: npt.NDArray[np.float64]
    dropped: npt.NDArray[np.float64]

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of all planted near-duplicates that is found at each radius, float64 (65,)."""
        return np.asarray(self.found.sum(axis=1) / max(1, sum(self.planted.values())))

    def in_all(self, pairs: npt.NDArray[np.number[Any]]) -> npt.NDArray[np.float64]:
        """Pairs expected in the whole set for some of those compared, by radius."""
        return np.asarray(pairs / max(1, self.compared) * (self.images * (self.images - 1) / 2))

    def per_million(self, pairs: npt.NDArray[np.number[Any]]) -> npt.NDArray[np.float64]:
        """Pairs among a million of any two images for some of those compared, by radius."""
        return np.asarray(pairs / max(1, self.compared) * 1e6)


def measure(codes: Manifest, calibration: Manifest, chance: Manifest, threshold: float | None = THRESHOLD) -> Measured:
    """Reckon from the finished stages.

    Args:
        codes: of the whole set.
        calibration: of `dedup.calibration.stages.CalibrationStage`.
        chance: of `dedup.calibration.stages.ChanceStage`.
        threshold: score that a pair must have; None: it is enough to be within the radius.
    """
    threshold = -np.inf if threshold is None else threshold
    tables = [pq.read_table(path) for path in calibration.paths(".planted.parquet")]
    planted, within, found = _count_planted(tables, threshold)
    counts = [json.loads(path.read_bytes()) for path in chance.paths(".counts.json")]
    near = np.sum([count["histogram"] for count in counts], axis=0, dtype=np.int64).cumsum()[: len(RADII)]
    # A draw counts at a radius where each shard kept all draws as low; so every pair within it has the same chance.
    rates = np.min([count["rates"] for count in counts], axis=0)
    pairs = pa.concat_tables([pq.read_table(path) for path in chance.paths(".scored.parquet")])
    distance, draw, score, image = (pairs[name].to_numpy() for name in ("distance", "draw", "score", "image"))
    others = codes.records / max(1, codes.part(*(shard.name for shard in chance.shards)).records)
    drawn = [(distance <= radius) & (draw < rates[radius]) for radius in RADII]
    scored = np.array([np.count_nonzero(here) for here in drawn])
    passes = score >= threshold
    false, false_at_most = estimate_by_radius([score[here] for here in drawn], threshold, near)
    return Measured(
        images=codes.records,
        sample=calibration.records,
        compared=sum(count["pairs"] for count in counts),
        planted=planted,
        within=within,
        found=found,
        near=near,
        scored=scored,
        passed=np.array([np.count_nonzero(here & passes) for here in drawn]),
        false=false,
        false_at_most=false_at_most,
        dropped=_expect_dropped(image[passes], distance[passes], draw[passes], rates, calibration.records, others)
        * codes.records,
    )


def choose_radius(measured: Measured, false_rate: float, *, candidates_per_image: float, most: int) -> int:
    """Choose the largest radius at which few enough of the dropped images are false.

    Args:
        measured: the figures.
        false_rate: the wanted share, 0 to 1. A set with fewer duplicates than one image in a hundred is taken as one
            of so many.
        candidates_per_image: pairs for each image that are worth verifying.
        most: the radius never exceeds this.

    Returns:
        A radius, 0 to ``most``; 0 where none will do.
    """
    false = measured.in_all(measured.false)
    wanted = false_rate * np.maximum(measured.dropped, _FEWEST_DROPPED * measured.images)
    affordable = measured.in_all(measured.near) <= candidates_per_image * measured.images
    return max(
        (radius for radius in RADII[: most + 1] if false[radius] <= wanted[radius] and affordable[radius]), default=0
    )


def calibration_summary(measured: Measured, radius: int) -> dict[str, Any]:
    """The content of ``report.json`` and of the page: by kind and by chance at a radius, and the curve over all."""
    planted, found = sum(measured.planted.values()), int(measured.found[radius].sum())
    scored, passed = int(measured.scored[radius]), int(measured.passed[radius])
    near, false, bound = (
        measured.per_million(pairs) for pairs in (measured.near, measured.false, measured.false_at_most)
    )
    in_all = (measured.in_all(pairs)[radius] for pairs in (measured.near, measured.false, measured.false_at_most))
    candidates, expected_false, false_at_most = map(_rounded, in_all)
    return {
        "radius": radius,
        "images": measured.images,
        "sample": measured.sample,
        "planted": planted,
        "found": found,
        "recall": _rounded(found / max(1, planted)),
        "by_kind": {
            kind: {
                "planted": count,
                "within_radius": int(measured.within[radius, index]),
                "found": int(measured.found[radius, index]),
                "recall_at_least": _rounded(at_least(int(measured.found[radius, index]), count)),
            }
            for index, (kind, count) in enumerate(measured.planted.items())
        },
        "compared_pairs": measured.compared,
        "expected_candidates": candidates,
        "scored_pairs": scored,
        "passed_pairs": passed,
        "passed_share_at_most": _rounded(at_most(passed, scored)),
        "expected_dropped": _rounded(measured.dropped[radius]),
        "expected_false": expected_false,
        "false_at_most": false_at_most,
        "false_per_million": _rounded(false[radius]),
        "false_per_million_at_most": _rounded(bound[radius]),
        "curve": [
            {
                "radius": at,
                "within_radius": _rounded(measured.within[at].sum() / max(1, planted)),
                "recall": _rounded(measured.recall[at]),
                "near_per_million": _rounded(near[at]),
                "false_per_million": _rounded(false[at]),
                "false_per_million_at_most": _rounded(bound[at]),
            }
            for at in RADII
        ],
    }


def _count_planted(
    tables: Sequence[pa.Table], threshold: float
) -> tuple[dict[str, int], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Near-duplicates by kind, and by radius and kind those within it and those found."""
    within, found = (np.zeros((LARGEST_RADIUS + 2, len(KINDS)), np.int64) for _ in range(2))
    planted = dict.fromkeys(KINDS, 0)
    for table in tables:
        kind = np.array([KINDS.index(kind) for kind in table["kind"].to_pylist()])
        distance = np.minimum(table["distance"].to_numpy(), LARGEST_RADIUS + 1)
        np.add.at(within, (distance, kind), 1)
        np.add.at(found, (distance, kind), table["score"].to_numpy() >= threshold)
        for index, name in enumerate(KINDS):
            planted[name] += int(np.count_nonzero(kind == index))
    return planted, within.cumsum(axis=0)[:-1], found.cumsum(axis=0)[:-1]


def _expect_dropped(
    image: npt.NDArray[np.int32],
    distance: npt.NDArray[np.int16],
    draw: npt.NDArray[np.float32],
    rates: npt.NDArray[np.float64],
    sample: int,
    others: float,
) -> npt.NDArray[np.float64]:
    """Share of images dropped at each radius: one with m partners is one of m + 1, all of which but one are dropped.

    A pair drawn at the rate of its distance stands for as many as were not.
    """
    drawn = draw < rates[distance]
    shares = []
    for radius in RADII:
        here = drawn & (distance <= radius)
        partners = np.bincount(image[here], others / rates[distance[here]], minlength=sample)
        shares.append((partners / (partners + 1)).sum() / max(1, sample))
    return np.array(shares)


def _rounded(value: float) -> float:
    """Four digits are more than a sample of a thousand gives."""
    return float(f"{value:.4g}")
