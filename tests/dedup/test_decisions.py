"""What people decided of pairs: how grouping takes it."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.cluster import group_pairs
from dedup.decisions import Decisions, Links, pair_of
from pipelines.errors import IntegrityError
from pipelines.store import LocalFolder

COUNT = 7
NOTHING = np.zeros((2, 0), np.int64)
PAIRS = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)).filter(lambda ab: ab[0] < ab[1]))


def sha(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def columns(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2).T


def grouped(pairs: list[tuple[int, int]], links: Links) -> list[int]:
    """The keeper of each image where pairs are all that verifies, and the first is the best."""
    a, b = columns(pairs)
    known = {*zip(a.tolist(), b.tolist(), strict=True)}

    def verify(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        asked = zip(first.tolist(), second.tolist(), strict=True)
        return np.array([tuple(sorted(pair)) in known for pair in asked], bool) & ~links.are_different(first, second)

    taken = links.apply(a, b, np.ones(len(a), np.float32))
    return group_pairs(*taken, np.arange(COUNT), verify).keeper.tolist()


def test_what_differs_is_kept_apart_and_takes_nobody_along() -> None:
    assert grouped([(0, 1), (0, 2)], Links(COUNT, NOTHING, columns([(0, 1)])))[:3] == [0, 1, 0]
    # 2 is like both; 1 differs from 0, so 2 stays with the better one.
    assert grouped([(0, 1), (0, 2), (1, 2)], Links(COUNT, NOTHING, columns([(0, 1)])))[:3] == [0, 1, 0]


def test_what_is_the_same_is_joined_though_no_pair_says_so() -> None:
    assert grouped([], Links(COUNT, columns([(3, 5)]), NOTHING)) == [0, 1, 2, 3, 4, 3, 6]


def test_what_is_the_same_shares_its_pairs() -> None:
    # 4 is like 0; 5 is the same as 4, and so goes where 4 goes, though it does not verify against 0 itself.
    assert grouped([(0, 4)], Links(COUNT, columns([(4, 5)]), NOTHING))[4:6] == [0, 0]


def test_a_pair_that_differs_wins_over_what_follows_from_others() -> None:
    links = Links(COUNT, columns([(0, 1), (1, 2)]), columns([(0, 2)]))
    assert grouped([], links)[2] == 2


@given(pairs=PAIRS, same=PAIRS, different=PAIRS)
def test_decisions_hold_whatever_the_pairs(
    pairs: list[tuple[int, int]], same: list[tuple[int, int]], different: list[tuple[int, int]]
) -> None:
    links = Links(COUNT, columns([pair for pair in same if pair not in different]), columns(different))
    keeper = grouped(pairs, links)
    assert [keeper[place] for place in keeper] == keeper
    for a, b in different:
        assert keeper[a] != b and keeper[b] != a
    if not different:
        for a, b in same:
            assert keeper[a] == keeper[b]


@given(pairs=PAIRS)
def test_no_decision_changes_nothing(pairs: list[tuple[int, int]]) -> None:
    a, b = columns(pairs)
    score = np.arange(len(a), dtype=np.float32)
    for given_, taken in zip((a, b, score), Links(COUNT, NOTHING, NOTHING).apply(a, b, score), strict=True):
        assert (given_ == taken).all()


def test_decisions_are_found_by_bytes_with_every_copy() -> None:
    decisions = Decisions({pair_of(sha(1), sha(2)): "same", pair_of(sha(3), sha(9)): "different"})
    links = decisions.among(pa.chunked_array([[sha(1), sha(0)], [sha(2), sha(2), sha(3)]]))
    assert sorted(map(sorted, links.same.T.tolist())) == [[0, 2], [0, 3]]
    assert links.different.shape == (2, 0), "of that pair one image is not there"


def test_decisions_survive_their_file(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert Decisions.read(folder) == Decisions()
    decisions = Decisions({pair_of(sha(2), sha(1)): "same", pair_of(sha(3), sha(1)): "different"})
    decisions.write(folder)
    assert Decisions.read(folder) == decisions
    assert Decisions.read(folder).digest() == decisions.digest() != Decisions().digest()
    (tmp_path / "decisions.json").write_text("[{]")
    with pytest.raises(IntegrityError, match="is damaged"):
        Decisions.read(folder)
