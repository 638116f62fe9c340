"""Sample: pairs of a finished data set in; those that people are to judge, in a random order, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A sample is drawn once for what one run found, and kept: judgements then
count as far as the order has been judged without a gap, so that what somebody looked up beside it never counts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from dedup.decisions import Pair
from dedup.review.judging.estimate import Counts, Share, stratum_share, weighted_share
from pipelines.store import Folder

Kind = Literal["dropped", "near_misses"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Numbers = npt.NDArray[np.int64]

MOST = 2_000  # drawn at once: more than anybody judges
DISTANCES = ((0, 4), (5, 12), (13, 24), (25, 64))  # bits of 128, both ends included
SCORES = (-10.0, -8.0, -4.0, 0.0)  # a near miss is in the band that begins with the last of these below it


@dataclass(frozen=True, slots=True)
class Stratum:
    """Pairs that were found alike.

    Attributes:
        name: in words.
        size: how many there are.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """One pair of a sample.

    Attributes:
        pair: by the SHA-256 of the images' bytes.
        numbers: of the two images: of the dropped and the kept one; or of two that were kept apart.
        stratum: its place among the sample's strata.
        score: of its verification; None: it has none.
        distance: bits in which the two codes differ.
        swapped: whether the second image is shown first, so that nothing tells which one is kept.
    """

    pair: Pair
    numbers: tuple[int, int]
    stratum: int
    score: float | None
    distance: int
    swapped: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """Pairs in the order in which they are to be judged.

    Attributes:
        kind: "dropped": dropped images and those kept for them; "near_misses": what just failed to be one picture.
        population: what the run found, as `dedup.stages.grouping` names it.
        seed: of the order.
        strata: what the pairs were drawn from.
        certain: pairs that need no judging, for their bytes are equal.
        drawn: the pairs.
    """

    kind: Kind
    population: str
    seed: int
    strata: tuple[Stratum, ...]
    certain: int
    drawn: tuple[Drawn, ...]

    def write(self, folder: Folder) -> None:
        """Keep it below ``DATASET/review``."""
        folder.write(f"{self.kind}.json", json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, folder: Folder, kind: Kind) -> Self | None:
        """The one that is kept below ``DATASET/review``; None where there is none, or it cannot be read."""
        try:
            content = json.loads(folder.read(f"{kind}.json"))
            drawn = [
                Drawn(**{**row, "pair": tuple(row["pair"]), "numbers": tuple(row["numbers"])})
                for row in content.pop("drawn")
            ]
            strata = tuple(Stratum(**row) for row in content.pop("strata"))
            return cls(**content, strata=strata, drawn=tuple(drawn))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def judged(self, verdicts: Mapping[Pair, str]) -> Iterator[tuple[Drawn, str]]:
        """The pairs that count, with what was said: up to the first of which nothing was."""
        for drawn in self.drawn:
            verdict = verdicts.get(drawn.pair)
            if verdict is None:
                return
            yield drawn, verdict

    def estimate(self, verdicts: Mapping[Pair, str]) -> "Estimate":
        """What the judgements say of all pairs that the sample stands for.

        Args:
            verdicts: "same", "different", or whatever else says neither.
        """
        counted = "different" if self.kind == "dropped" else "same"
        decided, hits = np.zeros(len(self.strata), np.int64), np.zeros(len(self.strata), np.int64)
        said = {"same": 0, "different": 0, "unsure": 0}
        for drawn, verdict in self.judged(verdicts):
            said[verdict if verdict in said else "unsure"] += 1
            decided[drawn.stratum] += verdict in {"same", "different"}
            hits[drawn.stratum] += verdict == counted
        counts = [
            Counts(stratum.size, judged, found)
            for stratum, judged, found in zip(self.strata, decided.tolist(), hits.tolist(), strict=True)
        ]
        pairs = sum(stratum.size for stratum in self.strata) + self.certain
        uncertain = (pairs - self.certain) / pairs if pairs else 0.0
        share = weighted_share(counts) if pairs > self.certain else Share(0.0, 0.0, 0.0)
        whole = Share(share.value * uncertain, share.low * uncertain, share.high * uncertain)
        return Estimate(pairs, said, tuple(counts), whole)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What judgements of a sample say.

    Attributes:
        pairs: that the sample stands for, those of equal bytes among them.
        said: judgements by verdict; where reviewers disagree they count as unsure.
        strata: counts by stratum, in the sample's order.
        share: of all pairs: those that are false of dropped ones, or that were missed of near misses.
    """

    pairs: int
    said: Mapping[str, int]
    strata: tuple[Counts, ...]
    share: Share

    @property
    def judged(self) -> int:
        """How many judgements there are."""
        return sum(self.said.values())

    def by_stratum(self) -> list[Share]:
        """Each stratum's own share, with its interval."""
        return [stratum_share(stratum) for stratum in self.strata]


def band_distances(distances: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Each distance's place in `DISTANCES`, int64 (P,)."""
    return np.asarray(np.searchsorted([last for _, last in DISTANCES], distances))


def band_scores(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Each score's place in `SCORES`, int64 (P,)."""
    return np.asarray(np.clip(np.searchsorted(SCORES, scores, side="right") - 1, 0, len(SCORES) - 1))


def draw(strata: npt.NDArray[np.int64], sizes: Sequence[int], seed: int, most: int = MOST) -> Numbers:
    """Draw pairs at random within strata, such that each beginning of the order is a good sample.

    A stratum gets judgements by the square root of its size: between as many for each, which would say little of the
    whole, and by size, which would say little of the small.

    Args:
        strata: int64 (P,), each pair's stratum.
        sizes: pairs in each stratum.
        seed: of the order.
        most: the order is cut after so many.

    Returns:
        int64: places of pairs, at most ``most``, each once.
    """
    generator = np.random.default_rng([seed, len(strata)])
    shuffled = generator.permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    starts = np.cumsum([0, *sizes])[:-1]
    turn = np.arange(len(strata)) - starts[strata[by_stratum]]
    # The n-th of a stratum is due when so many in all have been drawn by each stratum's pace.
    due = (turn + generator.random(len(sizes))[strata[by_stratum]]) / np.sqrt(np.maximum(sizes, 1))[strata[by_stratum]]
    return np.asarray(by_stratum[np.argsort(due, kind="stable")][:most])
