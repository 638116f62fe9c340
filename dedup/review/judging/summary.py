"""Summary: samples and judgements as they lie in; what ``report.json`` says of them out.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": the precision that people measured, bound to the run that they measured.
"""

from collections.abc import Mapping
from typing import Any

from dedup.review.judging.estimate import CONFIDENCE, Share
from dedup.review.judging.judgements import agree, read_judgements
from dedup.review.judging.sample import Kind, Sample
from pipelines.store import Folder, LocalFolder

FOLDER = "review"


def summarise(root: Folder, population: str) -> dict[str, Any] | None:
    """What was judged of a run, below its data set's folder; None where nothing was.

    Args:
        root: the data set's folder.
        population: what the run found (``summary.json`` of the groups names it).

    Returns:
        The content of ``report.json`` under ``review``: judged, same, different, unsure, disagreements, reviewers,
        seed, confidence, strata; false_rate, low and high: the share of the dropped images that are none's duplicate;
        and near_misses, where some were judged.
    """
    if not isinstance(root, LocalFolder):
        return None
    folder = root / FOLDER
    judgements = list(read_judgements(folder.path))
    verdicts = agree(judgements)
    dropped = _describe(folder, "dropped", population, verdicts)
    if dropped is None:
        return None
    share: Share = dropped.pop("share")
    near = _describe(folder, "near_misses", population, verdicts)
    if near is not None:
        missed: Share = near.pop("share")
        expected = {"missed": missed.value, "low": missed.low, "high": missed.high}
        near |= {name: round(value * near["pairs"], 1) for name, value in expected.items()}
    return {
        **dropped,
        "reviewers": len({said.reviewer for said in judgements}),
        "confidence": CONFIDENCE,
        "false_rate": round(share.value, 6),
        "low": round(share.low, 6),
        "high": round(share.high, 6),
        "near_misses": near,
    }


def _describe(folder: Folder, kind: Kind, population: str, verdicts: Mapping[Any, str]) -> dict[str, Any] | None:
    sample = Sample.read(folder, kind)
    if sample is None or sample.population != population:
        return None
    estimate = sample.estimate(verdicts)
    if not estimate.judged:
        return None
    shares = zip(sample.strata, estimate.strata, estimate.by_stratum(), strict=True)
    return {
        "judged": estimate.judged,
        **estimate.said,
        "disagreements": sum(verdict == "disagree" for _, verdict in sample.judged(verdicts)),
        "pairs": estimate.pairs,
        "seed": sample.seed,
        "strata": [
            {
                "name": stratum.name,
                "pairs": stratum.size,
                "judged": counts.judged,
                "hits": counts.hits,
                "low": round(share.low, 6),
                "high": round(share.high, 6),
            }
            for stratum, counts, share in shares
        ],
        "share": estimate.share,
    }
