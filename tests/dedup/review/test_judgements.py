"""The journal of judgements: nothing that was said is lost, and what reviewers agree on follows from it."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.decisions import Decisions, Pair, pair_of
from dedup.review.judging.judgements import Journal, agree, decide, merge, read_judgements
from pipelines.errors import ConfigError, SourceError
from pipelines.store import LocalFolder


def pair(number: int) -> Pair:
    return pair_of(*(hashlib.sha256(f"{number}{end}".encode()).hexdigest() for end in "ab"))


def test_what_was_said_is_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "ann")
    journal.say(pair(1), "same")
    journal.say(pair(2)[::-1], "different")
    journal.say(pair(1), None)
    again = Journal(tmp_path, "ann")
    assert again.judgements == journal.judgements
    assert again.own() == {pair(2): "different"}
    assert all(said.at.endswith("+00:00") for said in again.judgements)


def test_times_need_not_be_kept(tmp_path: Path) -> None:
    Journal(tmp_path, "ann", timed=False).say(pair(1), "same")
    assert b'"at"' not in (tmp_path / "judgements" / "ann.jsonl").read_bytes()


@pytest.mark.parametrize("cut", [1, 5, 60, 150])
def test_a_line_cut_short_by_a_crash_costs_no_other(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, "ann")
    for number in range(3):
        journal.say(pair(number), "same")
    path = tmp_path / "judgements" / "ann.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    Journal(tmp_path, "ann").say(pair(9), "unsure")
    kept = 3 if cut == 1 else 2  # without its newline alone, a line is whole
    assert [said.pair for said in read_judgements(tmp_path)] == [*map(pair, range(kept)), pair(9)]


@pytest.mark.parametrize(
    "line", ["", "null", "[]", '{"first": 1}', '{"first": "../x", "second": "y", "verdict": "same"}']
)
def test_lines_that_say_nothing_are_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "judgements").mkdir()
    (tmp_path / "judgements" / "x.jsonl").write_text(line + "\n")
    assert list(read_judgements(tmp_path)) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65])
def test_a_reviewer_is_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--reviewer is"):
        Journal(tmp_path, name)


def test_two_reviewers_merge(tmp_path: Path) -> None:
    ours, theirs = Journal(tmp_path / "here", "ann"), Journal(tmp_path / "there", "bob")
    for number, (mine, yours) in enumerate([("same", "same"), ("same", "different"), ("unsure", "same")]):
        ours.say(pair(number), mine)  # type: ignore[arg-type]
        theirs.say(pair(number), yours)  # type: ignore[arg-type]
    theirs.say(pair(3), "different")
    file = tmp_path / "there" / "judgements" / "bob.jsonl"
    assert merge(tmp_path / "here", file) == 4
    assert merge(tmp_path / "here", file) == 0, "twice is once"
    theirs.say(pair(4), "same")
    assert merge(tmp_path / "here", file) == 1
    assert agree(read_judgements(tmp_path / "here")) == {
        pair(0): "same",
        pair(1): "disagree",
        pair(2): "disagree",
        pair(3): "different",
        pair(4): "same",
    }


def test_two_people_of_one_name_are_told_apart(tmp_path: Path) -> None:
    Journal(tmp_path / "here", "reviewer").say(pair(1), "same")
    Journal(tmp_path / "there", "reviewer").say(pair(1), "different")
    file = tmp_path / "there" / "judgements" / "reviewer.jsonl"
    with pytest.raises(ConfigError, match="says of itself that it is reviewer's") as error:
        merge(tmp_path / "here", file)
    assert "--merge NAME=" in error.value.hint
    assert merge(tmp_path / "here", file, "bob") == 1
    assert agree(read_judgements(tmp_path / "here")) == {pair(1): "disagree"}


def test_what_cannot_be_merged_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no judgements at"):
        merge(tmp_path, tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("hello\n")
    with pytest.raises(SourceError, match="holds no judgement"):
        merge(tmp_path, tmp_path / "empty.jsonl")


def test_decisions_follow_what_is_said_and_last_where_nothing_is(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    Decisions({pair(0): "same", pair(1): "same", pair(2): "different"}).write(folder)
    journal = Journal(tmp_path, "ann")
    journal.say(pair(1), "different")
    journal.say(pair(2), "same")
    journal.say(pair(2), None)
    journal.say(pair(3), "unsure")
    assert decide(folder) == Decisions({pair(0): "same", pair(1): "different"})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["same", "different", None]))))
def test_the_order_of_files_changes_nothing(said: list[tuple[str, int, str | None]]) -> None:
    from dedup.review.judging.judgements import Judgement

    judgements = [Judgement(pair(number), verdict, who) for who, number, verdict in said]  # type: ignore[arg-type]
    by_file = sorted(judgements, key=lambda judgement: judgement.reviewer)
    backwards = sorted(judgements, key=lambda judgement: judgement.reviewer, reverse=True)
    assert agree(by_file) == agree(backwards) == agree(judgements)
