"""Summary: samples and judgements as they lie in; what ``report.json`` says of them out.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": the precision that people measured, bound to the run that they measured.
"""

from collections.abc import Mapping
from typing import Any

from dedup.decisions import Pair
from dedup.review.judging.estimate import CONFIDENCE, Share
from dedup.review.judging.judgements import agree, read_judgements
from dedup.review.judging.sample import KINDS, Kind, Sample
from pipelines.store import Folder, LocalFolder

FOLDER = "review"


def summarise(root: Folder, population: str) -> dict[str, Any] | None:
    """What was judged of a run, below its data set's folder; None where nothing was.

    Args:
        root: the data set's folder.
        population: what the run found (``summary.json`` of the groups names it).

    Returns:
        The content of ``report.json`` under ``review``: what `describe` gives of the dropped pairs, whose share is
        named false_rate, the share of the dropped images that are none's duplicate; and reviewers, confidence and
        near_misses: the same of these, where some were judged, with missed, low and high in pairs.
    """
    if not isinstance(root, LocalFolder):
        return None
    folder = root / FOLDER
    judgements = list(read_judgements(folder.path))
    verdicts = agree(judgements)
    judged = [sample for kind in KINDS if (sample := _read_judged(folder, kind, population, verdicts))]
    found = {sample.kind: describe(sample, verdicts) for sample in judged}
    if "dropped" not in found:
        return None
    counted = {drawn.pair for sample in judged for drawn, _ in sample.judged(verdicts)}
    dropped, near = found["dropped"], found.get("near_misses")
    dropped["false_rate"] = dropped.pop("share")
    if near is not None:
        near["missed"] = near.pop("share")
        near |= {name: round(near[name] * near["pairs"], 1) for name in ("missed", "low", "high")}
    return {
        **dropped,
        "reviewers": len({said.reviewer for said in judgements if said.pair in counted}),
        "confidence": CONFIDENCE,
        "near_misses": near,
    }


def describe(sample: Sample, verdicts: Mapping[Pair, str]) -> dict[str, Any]:
    """What the judgements of a sample say, as pages and reports show it.

    Returns:
        seed, pairs, certain, judged, same, different, unsure, disagreements, share, low, high; and strata: name,
        pairs, judged, hits, share, low and high of each.
    """
    estimate = sample.estimate(verdicts)
    shares = zip(sample.strata, estimate.strata, estimate.by_stratum(), strict=True)
    return {
        "seed": sample.seed,
        "pairs": estimate.pairs,
        "certain": sample.certain,
        "judged": estimate.judged,
        **estimate.said,
        "disagreements": sum(verdict == "disagree" for _, verdict in sample.judged(verdicts)),
        **_show(estimate.share),
        "strata": [
            {"name": of.name, "pairs": of.size, "judged": counts.judged, "hits": counts.hits, **_show(share)}
            for of, counts, share in shares
        ],
    }


def _show(share: Share) -> dict[str, float]:
    return {"share": share.value, "low": share.low, "high": share.high}


def _read_judged(folder: Folder, kind: Kind, population: str, verdicts: Mapping[Pair, str]) -> Sample | None:
    """The sample of a run, if some of it was judged."""
    sample = Sample.read(folder, kind)
    if sample is None or sample.population != population or next(sample.judged(verdicts), None) is None:
        return None
    return sample
