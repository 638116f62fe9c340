import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from dedup.codes import hamming_distance
from dedup.match import MAX_NEIGHBOURS, Pairs, choose_radius, equal_code_pairs, find_pairs

Codes = NDArray[np.uint8]


def draw_codes(count: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def flip_bits(codes: Codes, distance: NDArray[np.int64], seed: int = 0) -> Codes:
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(codes, axis=1)
    for row, count in zip(bits, distance, strict=True):
        row[rng.choice(128, count, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def plain(pairs: Pairs) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b, mirrored in zip(pairs.a, pairs.b, pairs.mirrored, strict=True) if not mirrored}


def mirrored(pairs: Pairs) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b, flag in zip(pairs.a, pairs.b, pairs.mirrored, strict=True) if flag}


def search_exhaustively(codes: Codes, radius: int) -> set[tuple[int, int]]:
    index = faiss.IndexBinaryFlat(128)
    index.add(codes)
    limits, _, found = index.range_search(codes, radius + 1)  # faiss takes what is strictly nearer
    left = np.repeat(np.arange(len(codes)), np.diff(limits.astype(np.int64)))
    return {(int(i), int(j)) for i, j in zip(left, found, strict=True) if i < j}


@given(arrays.arrays(np.uint8, st.tuples(st.integers(0, 40), st.just(16)), elements=st.integers(0, 1)))
def test_equal_codes_link_to_the_first_of_their_class(codes: Codes) -> None:
    rows = [row.tobytes() for row in codes]
    expected = {(rows.index(row), i) for i, row in enumerate(rows) if rows.index(row) != i}
    pairs = equal_code_pairs(codes)
    assert plain(pairs) == expected
    assert not pairs.distance.any()


def test_a_million_equal_codes_stay_linear() -> None:
    codes = np.zeros((1_000_000, 16), np.uint8)
    assert len(equal_code_pairs(codes)) == 999_999
    pairs = find_pairs(codes, 16)
    assert len(pairs) == 999_999
    assert not pairs.a.any()


def test_search_finds_what_exhaustive_search_finds() -> None:
    codes = draw_codes(50_000)
    distance = np.random.default_rng(1).integers(1, 17, 5_000)
    codes[-5_000:] = flip_bits(codes[:5_000], distance)
    found = plain(find_pairs(codes, 16))
    expected = search_exhaustively(codes, 16)
    assert found <= expected
    assert len(found) >= 0.99 * len(expected)


def test_search_copes_with_skewed_codes() -> None:
    """Four in five bits are the same in all codes, as in a set of much alike pictures."""
    codes = draw_codes(20_000)
    codes[:, 3:] = 255
    codes[-1_000:] = flip_bits(codes[:1_000], np.full(1_000, 3))
    codes = np.unique(codes, axis=0)
    codes = codes[np.random.default_rng(2).permutation(len(codes))]
    expected = search_exhaustively(codes, 1)
    assert len(plain(find_pairs(codes, 1)) & expected) >= 0.95 * len(expected)


def test_a_cloud_of_near_equal_codes_yields_boundedly_many_pairs() -> None:
    base = np.repeat(draw_codes(1), 3_000, axis=0)
    cloud = flip_bits(base, np.full(3_000, 3))
    pairs = find_pairs(cloud, 16)
    assert len(pairs) <= 3_000 * MAX_NEIGHBOURS
    assert len(np.union1d(pairs.a, pairs.b)) == 3_000


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(16)), elements=st.integers(0, 3)),
    st.integers(0, 128),
)
def test_pairs_are_unique_sorted_and_at_their_distance(codes: Codes, radius: int) -> None:
    pairs = find_pairs(codes, radius)
    assert (pairs.a < pairs.b).all()
    assert (pairs.distance <= radius).all()
    assert hamming_distance(codes[pairs.a], codes[pairs.b]).tolist() == pairs.distance.tolist()
    keys = list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert keys == sorted(set(keys))
    # Every two items within the radius are linked, if not directly then through the first of an equal code.
    first = [codes.tobytes().index(row.tobytes(), 0) for row in codes]
    assert len(first) == len(codes)
    unique = np.unique(codes, axis=0, return_index=True)[1]
    near = {
        (min(i, j), max(i, j))
        for i in unique.tolist()
        for j in unique.tolist()
        if i != j and (np.unpackbits(codes[i]) != np.unpackbits(codes[j])).sum() <= radius
    }
    assert near <= set(keys)


def test_mirror_images_are_found_and_flagged() -> None:
    codes, images = draw_codes(2_000), draw_codes(2_000, seed=1)
    codes[100] = images[5]  # 100 shows the mirror image of 5, exactly
    images[100] = codes[5]
    codes[7:8] = flip_bits(images[200:201], np.array([6]))
    codes[9:10] = flip_bits(codes[300:301], np.array([4]))
    codes[11] = images[11]  # a symmetrical picture is no duplicate of itself
    pairs = find_pairs(codes, 16, mirrored=images)
    assert mirrored(pairs) == {(5, 100), (7, 200)}
    assert plain(pairs) == {(9, 300)}
    assert dict(zip(pairs.a.tolist(), pairs.distance.tolist(), strict=True)) == {5: 0, 7: 6, 9: 4}


def test_the_seed_decides_and_repeats() -> None:
    codes = draw_codes(5_000)
    codes[:500] = flip_bits(codes[500:1_000], np.full(500, 40))
    once, again, other = (find_pairs(codes, 40, seed=seed, tables=8) for seed in (3, 3, 4))
    assert plain(once) == plain(again)
    assert plain(once) != plain(other)


def test_few_codes_need_no_search() -> None:
    assert len(find_pairs(draw_codes(0), 16)) == 0
    assert len(find_pairs(draw_codes(1), 16)) == 0
    assert plain(find_pairs(np.zeros((2, 16), np.uint8), 0)) == {(0, 1)}


def test_wrong_arguments_are_refused() -> None:
    codes = draw_codes(4)
    with pytest.raises(ValueError, match="radius"):
        find_pairs(codes, 129)
    with pytest.raises(ValueError, match="tables"):
        find_pairs(codes, 16, tables=0)
    with pytest.raises(ValueError, match="mirrored"):
        find_pairs(codes, 16, mirrored=codes[:2])


def test_the_radius_shrinks_as_the_set_grows() -> None:
    codes = draw_codes(200_000)
    assert choose_radius(codes[:1], 4, most=24) == 24
    assert choose_radius(codes[:1_000], 4, most=24) == 24
    small, large = (choose_radius(codes[:count], 0.02, most=64, samples=1 << 20) for count in (1_000, 200_000))
    assert 24 < large < small


def test_no_radius_is_small_enough_for_equal_codes() -> None:
    assert choose_radius(np.zeros((1_000, 16), np.uint8), 4, most=24, samples=1 << 12) == 0
