import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from dedup.cluster import Groups, group_pairs

Indices = npt.NDArray[np.int64]
Pair = tuple[int, int]


def group(
    count: int,
    pairs: list[Pair],
    rank: list[int],
    alike: set[Pair] | None = None,
    score: list[float] | None = None,
) -> Groups:
    """Group with a verifier that knows the pairs of ``alike`` (None: everything passes)."""

    def verify(a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
        ordered = [(min(p), max(p)) for p in zip(a.tolist(), b.tolist(), strict=True)]
        return np.array([alike is None or pair in alike for pair in ordered], np.bool_)

    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    scores = np.zeros(len(pairs)) if score is None else np.array(score)
    return group_pairs(a, b, scores.astype(np.float32), np.array(rank), verify)


def test_lowest_rank_is_kept_and_sizes_count_the_group() -> None:
    groups = group(5, [(0, 1), (1, 2)], rank=[2, 0, 1, 3, 4])
    assert groups.keeper.tolist() == [1, 1, 1, 3, 4]
    assert groups.dropped.tolist() == [0, 2]
    assert groups.sizes.tolist() == [0, 3, 0, 1, 1]


def test_far_end_of_a_chain_is_no_duplicate_of_the_keeper() -> None:
    groups = group(3, [(0, 1), (1, 2)], rank=[0, 1, 2], alike={(0, 1), (1, 2)})
    assert groups.keeper.tolist() == [0, 0, 2]
    assert groups.split_off == ((2, 0),)


def test_what_is_split_off_forms_a_group_of_its_own() -> None:
    chain = [(0, 1), (1, 2), (2, 3)]
    groups = group(4, chain, rank=[0, 1, 2, 3], alike=set(chain))
    assert groups.keeper.tolist() == [0, 0, 2, 2]


def test_what_is_split_off_takes_along_what_is_more_surely_like_it() -> None:
    pairs = [(0, 2), (1, 2)]
    assert group(3, pairs, rank=[0, 1, 2], alike=set(pairs), score=[3, 8]).keeper.tolist() == [0, 1, 1]
    assert group(3, pairs, rank=[0, 1, 2], alike=set(pairs), score=[8, 3]).keeper.tolist() == [0, 1, 0]
    assert group(3, pairs, rank=[0, 2, 1], alike=set(pairs), score=[3, 8]).keeper.tolist() == [0, 1, 0]  # never a worse


def test_no_pairs_keeps_everything() -> None:
    assert len(group(3, [], rank=[0, 1, 2]).dropped) == 0


@st.composite
def linked_images(draw: st.DrawFn) -> tuple[int, list[Pair], list[int], set[Pair]]:
    count = draw(st.integers(2, 12))
    image = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(image, image).filter(lambda p: p[0] < p[1]), max_size=20))
    more = draw(st.sets(st.tuples(image, image).filter(lambda p: p[0] < p[1]), max_size=20))
    return count, pairs, draw(st.permutations(range(count))), set(pairs) | more


@given(linked_images())
def test_every_dropped_image_verifies_against_a_kept_one_of_lower_rank(
    case: tuple[int, list[Pair], list[int], set[Pair]],
) -> None:
    count, pairs, rank, alike = case
    groups = group(count, pairs, rank, alike)
    for image in groups.dropped.tolist():
        keeper = int(groups.keeper[image])
        assert groups.keeper[keeper] == keeper
        assert rank[keeper] < rank[image]
        assert (min(image, keeper), max(image, keeper)) in alike
    assert groups.sizes.sum() == count
    reordered = group(count, [(b, a) for a, b in reversed(pairs)], rank, alike)
    assert reordered.keeper.tolist() == groups.keeper.tolist()
