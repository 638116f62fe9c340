import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dedup.codes import hamming_distance, mirror_codes
from dedup.matching.match import (
    Pairs,
    SearchPlan,
    choose_radius,
    cross_pairs,
    equal_code_pairs,
    find_pairs,
    merge_pairs,
    plan_search,
    search_part,
)

Codes = NDArray[np.uint8]
Keys = NDArray[np.int64]


def draw_codes(count: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def draw_crowded_codes(count: int, seed: int = 0, directions: int = 12) -> Codes:
    """Signs of random projections of a few numbers: their distances spread as those of real pictures do."""
    rng = np.random.default_rng(seed)
    projection = rng.standard_normal((directions, 128))
    return np.packbits(rng.standard_normal((count, directions)) @ projection > 0, axis=1)


def flip_bits(codes: Codes, distance: NDArray[np.int64], seed: int = 0) -> Codes:
    order = np.random.default_rng(seed).random((len(codes), 128)).argsort(axis=1)
    return codes ^ np.packbits(order < distance[:, None], axis=1)


def nearer_distance(left: Codes, right: Codes) -> NDArray[np.int64]:
    return np.minimum(hamming_distance(left, right), hamming_distance(left, mirror_codes(right)))


def keys(pairs: Pairs) -> Keys:
    return pairs.a << 32 | pairs.b


def search_exhaustively(codes: Codes, radius: int, *, mirrored: bool) -> Keys:
    """All pairs within the radius, as `keys` gives them."""
    index = faiss.IndexBinaryFlat(128)
    index.add(codes)
    found = [np.zeros(0, np.int64)]
    for queries in [codes, mirror_codes(codes)] if mirrored else [codes]:
        limits, _, neighbours = index.range_search(queries, radius + 1)  # faiss takes what is strictly nearer
        left = np.repeat(np.arange(len(codes)), limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
        found.append(left[left < neighbours] << 32 | neighbours[left < neighbours])
    return np.unique(np.concatenate(found))


def components(pairs: Keys, count: int) -> NDArray[np.int32]:
    links = coo_array((np.ones(len(pairs), np.int8), (pairs >> 32, pairs & 0xFFFFFFFF)), (count, count))
    return np.asarray(connected_components(links, directed=False)[1])


@given(arrays.arrays(np.uint8, st.tuples(st.integers(0, 40), st.just(16)), elements=st.integers(0, 1)))
def test_equal_codes_link_to_the_first_of_their_class(codes: Codes) -> None:
    rows = [row.tobytes() for row in codes]
    expected = {(rows.index(row), i) for i, row in enumerate(rows) if rows.index(row) != i}
    pairs = equal_code_pairs(codes)
    assert set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == expected
    assert not pairs.distance.any()
    assert not pairs.mirrored.any()


def test_a_million_equal_codes_stay_linear() -> None:
    codes = np.zeros((1_000_000, 16), np.uint8)
    for pairs in (equal_code_pairs(codes), find_pairs(codes, 8, mirrored=True)):
        assert len(pairs) == 999_999
        assert not pairs.a.any()


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(16)), elements=st.integers(0, 3)),
    st.integers(0, 128),
    st.booleans(),
)
def test_pairs_are_unique_sorted_and_at_their_distance(codes: Codes, radius: int, mirrored: bool) -> None:
    pairs = find_pairs(codes, radius, mirrored=mirrored)
    assert (pairs.a < pairs.b).all()
    assert (pairs.distance <= radius).all()
    assert (np.diff(keys(pairs)) > 0).all()
    right = np.where(pairs.mirrored[:, None], mirror_codes(codes[pairs.b]), codes[pairs.b])
    assert hamming_distance(codes[pairs.a], right).tolist() == pairs.distance.tolist()
    if mirrored:
        assert nearer_distance(codes[pairs.a], codes[pairs.b]).tolist() == pairs.distance.tolist()
        assert not (pairs.mirrored & (hamming_distance(codes[pairs.a], codes[pairs.b]) == pairs.distance)).any()
    # Every two items within the radius are in one component, be it through the first of an equal code.
    found = components(keys(pairs), len(codes))
    expected = components(search_exhaustively(codes, radius, mirrored=mirrored), len(codes))
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("mirrored", [False, True])
def test_search_finds_what_exhaustive_search_finds(mirrored: bool) -> None:
    codes = draw_crowded_codes(40_000)
    distance = np.random.default_rng(1).integers(1, 13, 5_000)
    codes[-5_000:] = flip_bits(codes[:5_000], distance)
    codes[-2_000:] = mirror_codes(codes[-2_000:])
    codes = np.unique(codes, axis=0)
    found = find_pairs(codes, 12, mirrored=mirrored)
    expected = search_exhaustively(codes, 12, mirrored=mirrored)
    assert not len(np.setdiff1d(keys(found), expected))
    assert len(found) >= 0.99 * len(expected)
    at_radius = expected[nearer_distance(codes[expected >> 32], codes[expected & 0xFFFFFFFF]) == 12]
    assert np.isin(at_radius, keys(found)).mean() >= 0.98


def test_a_skewed_cloud_stays_whole_at_bounded_cost() -> None:
    """Of pictures of four kinds, thousands of each and a few bits apart, pairs grow as the pictures do."""
    rng = np.random.default_rng(3)
    count = 60_000
    kinds = draw_codes(4)
    kind = rng.integers(0, 4, count)
    codes = flip_bits(kinds[kind], rng.integers(0, 5, count))
    codes[::2] = mirror_codes(codes[::2])
    pairs = find_pairs(codes, 8, mirrored=True)
    assert len(pairs) <= 300 * count
    found = components(keys(pairs), count)
    largest = [np.bincount(found[kind == one]).max() for one in range(4)]
    assert sum(largest) >= 0.98 * count
    assert len(np.unique(found[kind == 0])) == 1
    assert np.intersect1d(found[kind == 0], found[kind != 0]).size == 0


def test_mirror_images_are_found_and_flagged() -> None:
    codes = draw_codes(2_000)
    codes[100] = mirror_codes(codes[5:6])[0]
    codes[7:8] = flip_bits(mirror_codes(codes[200:201]), np.array([6]))
    codes[9:10] = flip_bits(codes[300:301], np.array([4]))
    codes[11, 8:] = codes[11, :8]  # a symmetrical picture: plain where both orientations are as near
    codes[12] = codes[11]
    pairs = find_pairs(codes, 16, mirrored=True)
    assert list(
        zip(pairs.a.tolist(), pairs.b.tolist(), pairs.distance.tolist(), pairs.mirrored.tolist(), strict=True)
    ) == [
        (5, 100, 0, True),
        (7, 200, 6, True),
        (9, 300, 4, False),
        (11, 12, 0, False),
    ]
    assert find_pairs(codes, 16, mirrored=False).a.tolist() == [9, 11]


def cut_plan(count: int, radius: int, ranges: int) -> SearchPlan:
    """A plan such as a hundred million codes get, for a few."""
    return SearchPlan(count, radius, mirrored=True, border=None, exhaustive=False, groups=4, tables=3, ranges=ranges)


def run_plan(codes: list[Codes], usable: list[NDArray[np.bool_]], plan: SearchPlan) -> Pairs:
    parts = [search_part(codes, usable, plan, part) for part in plan.parts]
    return merge_pairs(parts, 0, plan.count)


def planted_codes(count: int) -> Codes:
    codes = draw_crowded_codes(count)
    codes[-count // 5 :] = flip_bits(codes[: count // 5], np.random.default_rng(5).integers(0, 7, count // 5))
    codes[-count // 10 :] = mirror_codes(codes[-count // 10 :])
    return codes


def test_parts_are_of_a_size_and_together_find_the_pairs() -> None:
    codes = planted_codes(20_000)
    usable = np.ones(len(codes), np.bool_)
    plan = cut_plan(len(codes), 6, ranges=5)
    first_group = [search_part([codes], [usable], plan, part) for part in plan.parts[:5]]
    assert min(map(len, first_group)) >= 0.5 * max(map(len, first_group))
    found = run_plan([codes], [usable], plan)
    expected = run_plan([codes], [usable], plan_search(len(codes), 6, mirrored=True))
    assert np.isin(keys(found), keys(expected)).all()
    assert len(found) >= 0.95 * len(expected)


def test_only_the_codes_decide_which_pairs_are_found() -> None:
    """Not their order, nor how they lie in files."""
    codes = np.unique(planted_codes(12_000), axis=0)
    plan = cut_plan(len(codes), 9, ranges=3)
    whole = run_plan([codes], [np.ones(len(codes), np.bool_)], plan)
    order = np.random.default_rng(6).permutation(len(codes))
    shuffled = [codes[order][:5_000], codes[order][5_000:]]
    pairs = run_plan(shuffled, [np.ones(len(part), np.bool_) for part in shuffled], plan)
    a, b = order[pairs.a], order[pairs.b]
    assert np.sort(np.minimum(a, b) << 32 | np.maximum(a, b)).tolist() == keys(whole).tolist()


def test_unusable_items_are_in_no_pair() -> None:
    codes = np.repeat(draw_codes(100), 3, axis=0)
    usable = np.ones(300, np.bool_)
    usable[::3] = False
    pairs = run_plan([codes[:150], codes[150:]], [usable[:150], usable[150:]], plan_search(300, 16, mirrored=True))
    assert pairs.a.tolist() == list(range(1, 300, 3))
    assert pairs.b.tolist() == list(range(2, 300, 3))


def test_merging_by_ranges_is_merging_at_once() -> None:
    codes = planted_codes(5_000)
    usable = [np.ones(len(codes), np.bool_)]
    plan = cut_plan(len(codes), 9, ranges=2)
    parts = [search_part([codes], usable, plan, part) for part in plan.parts]
    whole = merge_pairs(parts, 0, len(codes))
    pieces = [merge_pairs(parts, start, start + 1_000) for start in range(0, len(codes), 1_000)]
    assert np.concatenate([keys(piece) for piece in pieces]).tolist() == keys(whole).tolist()
    assert np.concatenate([piece.distance for piece in pieces]).tolist() == whole.distance.tolist()


@pytest.mark.parametrize("count", [1_000, 40_000])
def test_pairs_across_two_sets(count: int) -> None:
    codes, references = draw_codes(count), draw_codes(count, seed=1)
    codes[:50] = flip_bits(references[100:150], np.arange(50) % 9)
    codes[50:60] = mirror_codes(codes[40:50])  # near the same references, the other way round
    codes[60:70] = codes[40:50]
    references[200:300] = references[100:200]  # the first stands for both
    codes[500:600] = codes[600:700]  # pairs within a set are not asked for
    pairs = cross_pairs(codes, references, 8, mirrored=True)
    expected = [*range(100, 150), *range(140, 150), *range(140, 150)]
    assert pairs.a.tolist() == list(range(70))
    assert pairs.b.tolist() == expected
    assert pairs.distance.tolist() == nearer_distance(codes[:70], references[expected]).tolist()
    assert np.flatnonzero(pairs.mirrored).tolist() == list(range(50, 60))
    equal = cross_pairs(codes, references, 0, mirrored=False)
    assert equal.a.tolist() == [0, 9, 18, 27, 36, 45, 65]


def test_few_codes_need_no_search() -> None:
    assert len(find_pairs(draw_codes(0), 16, mirrored=True)) == 0
    assert len(find_pairs(draw_codes(1), 16, mirrored=True)) == 0
    assert len(cross_pairs(draw_codes(0), draw_codes(3), 16, mirrored=True)) == 0
    assert find_pairs(np.zeros((2, 16), np.uint8), 0, mirrored=True).b.tolist() == [1]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="radius"):
        plan_search(10, 129, mirrored=True)
    with pytest.raises(ValueError, match="count"):
        plan_search(1 << 33, 3, mirrored=True)
    with pytest.raises(ValueError, match="codes"):
        find_pairs(np.zeros((4, 15), np.uint8), 3, mirrored=True)


def test_work_grows_with_the_radius_and_little_with_the_set() -> None:
    def tables(count: int, radius: int) -> int:
        plan = plan_search(count, radius, mirrored=True)
        return plan.groups * plan.tables

    assert tables(10**6, 4) < tables(10**6, 12) < tables(10**6, 20)
    assert tables(10**6, 8) <= tables(10**7, 8) <= tables(10**8, 8) <= 3 * tables(10**6, 8)
    plan = plan_search(10**8, 8, mirrored=True)
    assert len(plan.parts) == len(set(plan.parts)) == plan.groups * plan.ranges


def test_the_radius_shrinks_as_the_set_grows() -> None:
    codes = draw_codes(50_000)

    def radius(count: int, candidates: float) -> int:
        usable = np.ones(count, np.bool_)
        return choose_radius([codes[:count]], [usable], candidates, most=44, mirrored=True)

    assert radius(1, 4) == 44
    assert 24 < radius(50_000, 0.02) < radius(1_000, 0.02)
    few = choose_radius([codes], [np.arange(len(codes)) < 1_000], 0.02, most=44, mirrored=True)
    assert few == radius(1_000, 0.02)
    assert choose_radius([codes], [np.ones(len(codes), np.bool_)], 4, most=24, mirrored=True) == 24


def test_equal_codes_are_one_when_the_radius_is_chosen() -> None:
    codes = np.repeat(draw_codes(2), 500, axis=0)
    assert choose_radius([codes], [np.ones(1_000, np.bool_)], 4, most=24, mirrored=True) == 24
