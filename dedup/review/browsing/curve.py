"""Curve: scored pairs and what people said of some in; how many images each threshold drops, and how well, out. Pure.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". At a threshold the pairs that reach it link images to components, and all but
one of each component are dropped: as many as a spanning forest has edges. The maximum spanning forest of all pairs
holds one for every threshold, so that one sort answers for all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dedup.decisions import Pair
from dedup.edges import find_surest
from dedup.images import Numbers
from dedup.review.judging.estimate import Counts, Share, weighted_share
from dedup.review.judging.sample import Sample

Scores = npt.NDArray[np.float32]


def span_forest(a: Numbers, b: Numbers, score: Scores) -> Scores:
    """Scores of the edges of a maximum spanning forest, ascending.

    Args:
        a, b: int64 (P,): the pairs' images; a pair may come more than once.
        score: float32 (P,); infinite where a pair holds at every threshold.
    """
    # Here, for no page but one needs graphs, and all open sooner without.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    surest = find_surest(a, b, score)
    images, ends = np.unique(np.stack([a[surest], b[surest]]), return_inverse=True)
    # The surest is the lightest; ranks are exact where differences of scores are not, and never 0.
    levels, rank = np.unique(-score[surest], return_inverse=True)
    graph = coo_array((rank + 1.0, tuple(np.sort(ends.reshape(2, -1), axis=0))), (len(images), len(images))).tocsr()
    edges = minimum_spanning_tree(graph).data.astype(np.int64) - 1
    return np.asarray(np.sort(-levels[edges]), np.float32)


def count_dropped(forest: Scores, thresholds: npt.NDArray[np.float32]) -> Numbers:
    """About how many images each threshold drops, int64 (T,), by what `span_forest` gives.

    A run drops somewhat fewer: what does not verify against its group's kept image is split off, and may be kept.
    """
    return np.asarray(len(forest) - np.searchsorted(forest, thresholds))


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided of a sample's pairs, one entry a pair.

    Attributes:
        sizes: pairs in each stratum of the sample.
        stratum: int64 (J,).
        score: float32 (J,); infinite where a pair has none.
        same: bool (J,): whether it was said to be the same, or else to be different.
        certain: pairs beside the strata that need no judging.
    """

    sizes: npt.NDArray[np.int64]
    stratum: npt.NDArray[np.int64]
    score: Scores
    same: npt.NDArray[np.bool_]
    certain: int

    @classmethod
    def of(cls, sample: Sample, verdicts: Mapping[Pair, str]) -> "Judged":
        """What counts of the judgements of a sample."""
        decided = [(drawn, said) for drawn, said in sample.judged(verdicts) if said in {"same", "different"}]
        scores = [np.inf if drawn.score is None else drawn.score for drawn, _ in decided]
        return cls(
            np.array([stratum.size for stratum in sample.strata], np.int64),
            np.array([drawn.stratum for drawn, _ in decided], np.int64),
            np.array(scores, np.float32),
            np.array([said == "same" for _, said in decided], np.bool_),
            sample.certain,
        )

    def __len__(self) -> int:
        return len(self.stratum)

    def counts(self, chosen: npt.NDArray[np.bool_], hits: npt.NDArray[np.bool_]) -> list[Counts]:
        """Counts of the chosen pairs, each stratum as large as its share of judged pairs that are chosen says."""
        per_stratum = [
            np.bincount(self.stratum[of], minlength=len(self.sizes)) for of in (chosen | True, chosen, chosen & hits)
        ]
        return [
            Counts(size * some / every, some, found)
            for size, every, some, found in zip(
                self.sizes.tolist(), *(row.tolist() for row in per_stratum), strict=True
            )
            if some
        ]


def expect_false(dropped: Judged, near_misses: Judged, own: float, threshold: float) -> Share | None:
    """The share of what a threshold drops that is none's duplicate; None where too little was judged to say.

    Args:
        dropped: of what the run dropped.
        near_misses: of what fell short of its threshold, which a lower one would drop too.
        own: the run's threshold.
        threshold: another one.
    """
    asked = [dropped] if threshold >= own else [dropped, near_misses]
    counts = _gather((judged, judged.score >= np.float32(threshold), ~judged.same) for judged in asked)
    if not all(map(len, asked)) or not counts:
        return None
    share, uncertain = weighted_share(counts), sum(stratum.size for stratum in counts)
    part = uncertain / (uncertain + dropped.certain)
    return Share(share.value * part, share.low * part, share.high * part)


def expect_missed(dropped: Judged, near_misses: Judged, own: float, threshold: float) -> Share | None:
    """How many pairs that show one picture score below a threshold, with the interval's ends; None: see above."""
    asked = [near_misses] if threshold <= own else [dropped, near_misses]
    counts = _gather((judged, judged.score < np.float32(threshold), judged.same) for judged in asked)
    if not all(map(len, asked)) or not counts:
        return None
    share, pairs = weighted_share(counts), sum(stratum.size for stratum in counts)
    return Share(share.value * pairs, share.low * pairs, share.high * pairs)


def _gather(
    judged: Iterable[tuple[Judged, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]],
) -> Sequence[Counts]:
    return [counts for pairs, chosen, hits in judged for counts in pairs.counts(chosen, hits)]
