"""Estimate: judged pairs by stratum in, the share that is false with an exact interval out. Pure.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": how far its groups can be trusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import betaincinv

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Counts:
    """What was judged of one stratum.

    Attributes:
        size: pairs that it holds; a fraction where that is itself an estimate.
        judged: of these drawn at random and decided; pairs of which people were unsure are left out.
        hits: of these judged to be what is counted.
    """

    size: float
    judged: int
    hits: int


@dataclass(frozen=True, slots=True)
class Share:
    """A share, 0 to 1, and the interval that holds it with a confidence of `CONFIDENCE`."""

    value: float
    low: float
    high: float


def exact_share(hits: float, judged: float) -> Share:
    """The share of hits, with the interval of Clopper and Pearson (1934); without a judgement, 0 to 1.

    Either may be a fraction: then the interval is that of the beta distributions between.
    """
    if not judged:
        return Share(0.0, 0.0, 1.0)
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(hits, judged - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, judged - hits, 1 - tail)) if hits < judged else 1.0
    return Share(hits / judged, low, high)


def stratum_share(stratum: Counts) -> Share:
    """The share of hits in one stratum; exactly known where every pair of it was judged."""
    if stratum.judged >= stratum.size:
        share = stratum.hits / stratum.judged if stratum.judged else 0.0
        return Share(share, share, share)
    return exact_share(stratum.hits, stratum.judged)


def weighted_share(strata: Sequence[Counts]) -> Share:
    """The share of hits among the pairs of all strata together, each counted by its size.

    The interval is Clopper and Pearson's of an effective number of judgements (Korn and Graubard, 1998, "Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data"): as many as
    a sample without strata would need to be as sure, and never more than were made. Where no stratum tells its own
    variance, for every judgement in it was the same, what is lost by unequal weights stands for it (Kish, 1965).
    Strata of which every pair was judged leave no doubt, and add none. A stratum without a judgement is left out of the
    share; with none at all the interval is 0 to 1.
    """
    known = [stratum for stratum in strata if stratum.judged]
    if not known:
        return exact_share(0, 0)
    drawn = [stratum for stratum in known if stratum.judged < stratum.size]
    total = sum(stratum.size for stratum in known)
    settled = sum(stratum.hits for stratum in known if stratum.judged >= stratum.size) / total
    estimated = sum(stratum.size for stratum in drawn) / total
    share = _estimate(drawn) if drawn else Share(0.0, 0.0, 0.0)
    value, low, high = (settled + estimated * end for end in (share.value, share.low, share.high))
    return Share(value, low, high)


def _estimate(strata: Sequence[Counts]) -> Share:
    """See `weighted_share`; of strata with some judgements."""
    total = sum(stratum.size for stratum in strata)
    judged = sum(stratum.judged for stratum in strata)
    weights = [stratum.size / total for stratum in strata]
    rates = [stratum.hits / stratum.judged for stratum in strata]
    share = sum(weight * rate for weight, rate in zip(weights, rates, strict=True))
    by_weights = 1 / sum(weight**2 / stratum.judged for weight, stratum in zip(weights, strata, strict=True))
    variance = sum(
        weight**2 * rate * (1 - rate) / stratum.judged
        for weight, rate, stratum in zip(weights, rates, strata, strict=True)
    )
    effective = min(judged, by_weights, share * (1 - share) / variance if variance else by_weights)
    interval = exact_share(share * effective, effective)
    return Share(share, interval.low, interval.high)
