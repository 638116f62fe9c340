"""Drawing: what a run found in; the pairs that people are to judge out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Dropped images are drawn by rule and distance; near misses by score, and just
those between images that no other pair brought together.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.decisions import pair_of
from dedup.edges import find_surest
from dedup.grouped import RULES, find_kept
from dedup.images import Numbers
from dedup.review.judging.sample import (
    DISTANCES,
    SCORES,
    Drawn,
    Kind,
    Sample,
    Stratum,
    band_distances,
    band_scores,
    draw,
)
from dedup.review.reviewed import Reviewed
from pipelines.store import Folder

CERTAIN = ("same_bytes", "reviewed")  # rules of pairs that nobody needs to judge


def open_sample(reviewed: Reviewed, kind: Kind, folder: Folder, seed: int | None) -> Sample:
    """The sample that is kept below ``DATASET/review`` if it is of this run, else one that is drawn now, and kept.

    Args:
        reviewed: the data set.
        kind: of what.
        folder: ``DATASET/review``.
        seed: of the order; None: that of the sample before, or else 0.
    """
    kept = Sample.read(folder, kind)
    if kept and kept.population == reviewed.population and seed in {None, kept.seed}:
        return kept
    seed = seed if seed is not None else kept.seed if kept else 0
    sample = _draw_dropped(reviewed, seed) if kind == "dropped" else _draw_near_misses(reviewed, seed)
    sample.write(folder)
    return sample


def _draw_dropped(reviewed: Reviewed, seed: int) -> Sample:
    dropped = reviewed.dropped
    certain = np.isin(dropped["rule"], [RULES.index(rule) for rule in CERTAIN])
    asked = np.flatnonzero(~certain)
    rules, bands = dropped["rule"][asked].astype(np.int64), band_distances(dropped["distance"][asked])
    cells, strata, sizes = np.unique(rules * len(DISTANCES) + bands, return_inverse=True, return_counts=True)
    names = []
    for cell in cells.tolist():
        rule, (first, last) = RULES[cell // len(DISTANCES)], DISTANCES[cell % len(DISTANCES)]
        names.append(f"{rule.replace('_', ' ')}, {first} to {last} bits")
    chosen = dropped[asked]
    places = draw(strata, sizes.tolist(), seed)
    pairs = np.stack([chosen["number"][places], chosen["kept"][places]], axis=1)
    columns = strata[places], chosen["score"][places], chosen["distance"][places]
    return _sample(reviewed, "dropped", seed, names, sizes.tolist(), pairs, *columns, certain=int(certain.sum()))


def _draw_near_misses(reviewed: Reviewed, seed: int) -> Sample:
    near = _between_groups(reviewed.near_misses(), reviewed.dropped)
    bands = band_scores(near["score"])
    cells, strata, sizes = np.unique(bands, return_inverse=True, return_counts=True)
    ends = [*SCORES[1:], None]
    names = [
        f"score {SCORES[cell]:g} to {ends[cell]:g}" if ends[cell] is not None else f"score {SCORES[cell]:g} and more"
        for cell in cells.tolist()
    ]
    places = draw(strata, sizes.tolist(), seed)
    pairs = np.stack([near["a"][places], near["b"][places]], axis=1)
    columns = strata[places], near["score"][places], near["distance"][places]
    return _sample(reviewed, "near_misses", seed, names, sizes.tolist(), pairs, *columns, certain=0)


def _between_groups(near: npt.NDArray[Any], dropped: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Near misses between images of different groups, for each two groups the one of the highest score."""
    ends = np.stack([near["a"], near["b"]])
    a, b = find_kept(ends, dropped[np.argsort(dropped["number"])])
    apart = np.flatnonzero(a != b)
    return np.asarray(near[apart[find_surest(a[apart], b[apart], near["score"][apart])]])


def _sample(
    reviewed: Reviewed,
    kind: Kind,
    seed: int,
    names: list[str],
    sizes: list[int],
    pairs: Numbers,
    strata: Numbers,
    scores: npt.NDArray[np.float32],
    distances: npt.NDArray[np.integer[Any]],
    *,
    certain: int,
) -> Sample:
    sha256 = reviewed.images.rows(pairs.reshape(-1), ["sha256"])["sha256"].to_pylist()
    swaps = np.random.default_rng([seed, 1]).random(len(pairs)) < 0.5
    drawn = tuple(
        Drawn(
            pair=pair_of(sha256[2 * place], sha256[2 * place + 1]),
            numbers=(int(pairs[place, 0]), int(pairs[place, 1])),
            stratum=int(strata[place]),
            score=None if np.isnan(scores[place]) else round(float(scores[place]), 4),
            distance=int(distances[place]),
            swapped=bool(swaps[place]),
        )
        for place in range(len(pairs))
    )
    named = tuple(Stratum(name, size) for name, size in zip(names, sizes, strict=True))
    return Sample(kind, reviewed.population, seed, named, certain, drawn)
