"""Samples and what they say: intervals against scipy's own, and whether they hold what they promise."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from dedup.review.judging.estimate import Counts, exact_share, stratum_share, weighted_share
from dedup.review.judging.sample import Drawn, Sample, Stratum, band_distances, band_scores, draw


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_clopper_and_pearson(counted: tuple[int, int]) -> None:
    hits, judged = counted
    share = exact_share(hits, judged)
    exact = binomtest(hits, judged).proportion_ci(0.95, "exact")
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert share.low <= share.value <= share.high


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_one_stratum_is_no_stratum(counted: tuple[int, int]) -> None:
    hits, judged = counted
    whole, alone = weighted_share([Counts(5_000, judged, hits)]), exact_share(hits, judged)
    assert (whole.value, whole.low, whole.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-9)


def test_without_a_judgement_all_is_possible() -> None:
    for share in (exact_share(0, 0), weighted_share([]), weighted_share([Counts(10, 0, 0)])):
        assert (share.low, share.high) == (0.0, 1.0)


def test_what_was_judged_whole_leaves_no_doubt() -> None:
    for stratum in (Counts(3, 3, 0), Counts(8, 8, 2)):
        for share in (stratum_share(stratum), weighted_share([stratum])):
            assert share.value == share.low == share.high == stratum.hits / stratum.size
    both = weighted_share([Counts(20, 20, 5), Counts(80, 10, 0)])
    exact = binomtest(0, 10).proportion_ci(0.95, "exact")
    assert (both.value, both.low) == (0.05, 0.05)
    assert both.high == pytest.approx(0.05 + 0.8 * exact.high)


@pytest.mark.parametrize("rates", [(0.001, 0.02, 0.2), (0.0, 0.0, 0.05), (0.01, 0.01, 0.01)])
def test_intervals_hold_the_truth_as_often_as_they_say(rates: tuple[float, ...]) -> None:
    sizes, rng = (8_000, 1_500, 500), np.random.default_rng(0)
    false = [rng.random(size) < rate for size, rate in zip(sizes, rates, strict=True)]
    truth = sum(stratum.sum() for stratum in false) / sum(sizes)
    strata = np.repeat(np.arange(3), sizes)
    held, trials = 0, 300
    for seed in range(trials):
        places = draw(strata, sizes, seed, 100)
        starts = np.cumsum([0, *sizes])
        counts = []
        for stratum, (size, hits) in enumerate(zip(sizes, false, strict=True)):
            chosen = places[strata[places] == stratum] - starts[stratum]
            counts.append(Counts(size, len(chosen), int(hits[chosen].sum())))
        share = weighted_share(counts)
        held += share.low <= truth <= share.high
    assert held / trials >= 0.93


def test_a_draw_holds_each_pair_once_and_every_beginning_is_balanced() -> None:
    sizes = [900, 100, 9]
    strata = np.random.default_rng(1).permutation(np.repeat(np.arange(3), sizes))
    places = draw(strata, sizes, 0)
    assert sorted(places.tolist()) == list(range(sum(sizes)))
    first = Counter(strata[places[:86]].tolist())
    assert [first[stratum] for stratum in range(3)] == pytest.approx([60, 20, 6], abs=2)
    assert (draw(strata, sizes, 0) == places).all()
    assert (draw(strata, sizes, 1)[:20] != places[:20]).any()


def test_bands() -> None:
    assert band_distances(np.array([0, 4, 5, 12, 13, 24, 25, 64])).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert band_scores(np.array([-9.9, -8, -3.9, 0, 0.9], np.float32)).tolist() == [0, 1, 2, 3, 3]


def sample_of(strata: list[int], certain: int = 0) -> Sample:
    shas = [hashlib.sha256(bytes([place])).hexdigest() for place in range(len(strata) + 1)]
    drawn = tuple(
        Drawn((sha, shas[-1]), (0, 1), stratum, 5.0, 3, False) for sha, stratum in zip(shas, strata, strict=False)
    )
    return Sample("dropped", "p", 0, tuple(Stratum(str(s), 100) for s in sorted(set(strata))), certain, drawn)


def test_judgements_count_up_to_the_first_gap() -> None:
    sample = sample_of([0, 0, 0, 0, 0])
    verdicts = {drawn.pair: "different" for drawn in sample.drawn}
    del verdicts[sample.drawn[2].pair]  # whatever was looked up beyond it was not drawn
    assert sample.estimate(verdicts).said == {"same": 0, "different": 2, "unsure": 0}


def test_unsure_and_disagreement_say_nothing_of_the_share() -> None:
    sample = sample_of([0, 0, 0, 0])
    said = ["same", "unsure", "disagree", "different"]
    estimate = sample.estimate({drawn.pair: verdict for drawn, verdict in zip(sample.drawn, said, strict=True)})
    assert estimate.said == {"same": 1, "different": 1, "unsure": 2}
    assert estimate.strata == (Counts(100, 2, 1),)
    assert estimate.judged == 4


def test_pairs_of_equal_bytes_are_counted_as_true() -> None:
    sample = sample_of([0, 0], certain=300)
    estimate = sample.estimate({drawn.pair: "different" for drawn in sample.drawn})
    exact = binomtest(2, 2).proportion_ci(0.95, "exact")
    interval = (estimate.share.low, estimate.share.high)
    assert estimate.share.value == 0.25
    assert interval == pytest.approx((exact.low / 4, exact.high / 4))
