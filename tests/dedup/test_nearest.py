import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from dedup.codes import hamming_distance, mirror_codes
from dedup.matching.nearest import nearest

Codes = NDArray[np.uint8]
few_codes = arrays.arrays(np.uint8, st.tuples(st.integers(0, 20), st.just(16)), elements=st.integers(0, 3))


def by_hand(query: Codes, codes: Codes, k: int, *, mirrored: bool) -> list[tuple[int, int, bool]]:
    """(number, distance, mirrored) of the k nearest codes of one query."""
    plain = hamming_distance(np.broadcast_to(query, codes.shape), codes)
    flipped = hamming_distance(np.broadcast_to(query, codes.shape), mirror_codes(codes))
    distance = np.minimum(plain, flipped) if mirrored else plain
    order = np.lexsort((np.arange(len(codes)), distance))[:k]
    return [(int(i), int(distance[i]), bool(distance[i] < plain[i])) for i in order]


@settings(deadline=None)
@given(few_codes, st.lists(few_codes, max_size=3), st.integers(1, 5), st.booleans())
def test_nearest_are_those_of_all_by_distance_then_number(
    queries: Codes, parts: list[Codes], k: int, mirrored: bool
) -> None:
    codes = np.concatenate([np.zeros((0, 16), np.uint8), *parts])
    numbers, distances, flags = nearest(queries, parts, k, mirrored=mirrored)
    assert numbers.shape == distances.shape == flags.shape == (len(queries), k)
    for row, query in enumerate(queries):
        found = list(zip(numbers[row].tolist(), distances[row].tolist(), flags[row].tolist(), strict=True))
        expected = by_hand(query, codes, k, mirrored=mirrored)
        assert found == expected + [(-1, 255, False)] * (k - len(expected))


def test_many_queries_of_many_codes() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (30_000, 16), dtype=np.uint8)
    queries = rng.integers(0, 256, (100, 16), dtype=np.uint8)
    queries[:50] = mirror_codes(codes[100:150])
    numbers, distances, flags = nearest(queries, [codes[:7], codes[7:7], codes[7:]], 3, mirrored=True)
    assert numbers[:50, 0].tolist() == list(range(100, 150))
    assert not distances[:50, 0].any()
    assert flags[:50, 0].all()
    for row in range(0, 100, 9):
        found = list(zip(numbers[row].tolist(), distances[row].tolist(), flags[row].tolist(), strict=True))
        assert found == by_hand(queries[row], codes, 3, mirrored=True)


def test_wrong_arguments_are_refused() -> None:
    codes = np.zeros((3, 16), np.uint8)
    with pytest.raises(ValueError, match="k must"):
        nearest(codes, [codes], 0, mirrored=True)
    with pytest.raises(ValueError, match="codes must"):
        nearest(codes, [codes[:, :8]], 1, mirrored=True)
