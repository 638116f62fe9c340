"""Judgements: what people say of pairs, kept line by line as they say it; what they agree on out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". One file per reviewer below ``DATASET/review/judgements/``, a JSON object per
line, only ever added to: a line is on disk before the page hears of it, and a line that a crash cut short is none.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from dedup.decisions import Decision, Decisions, Pair, pair_of
from pipelines.errors import ConfigError, SourceError
from pipelines.store import Folder, local_path

FOLDER, SUFFIX = "judgements", ".jsonl"
REVIEWER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")

Verdict = Literal["same", "different", "unsure"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
DECISIVE: Mapping[str, Decision] = {decision: decision for decision in get_args(Decision)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one reviewer said of one pair.

    Attributes:
        pair: its images, by the SHA-256 of their bytes.
        verdict: what was said; None: what was said before is taken back.
        reviewer: who said it.
        at: when, ISO 8601 in UTC; "" where that was not to be kept.
    """

    pair: Pair
    verdict: Verdict | None
    reviewer: str
    at: str = ""

    def line(self) -> str:
        """As it stands in a file."""
        first, second = self.pair
        said = {"first": first, "second": second, "verdict": self.verdict, "reviewer": self.reviewer}
        return json.dumps(said | ({"at": self.at} if self.at else {}))


class Journal:
    """The judgements of one data set, of all its reviewers; one of them adds to it."""

    def __init__(self, folder: Path, reviewer: str, *, timed: bool = True) -> None:
        """Open the journal that lies in a folder, for a reviewer.

        Args:
            folder: ``DATASET/review``.
            reviewer: whose judgements are added.
            timed: whether the time of each is kept.

        Raises:
            ConfigError: the name is none for a file.
        """
        if not REVIEWER.fullmatch(reviewer):
            raise ConfigError(f"--reviewer is {reviewer!r}", hint="letters, digits, '_', '-' and '.' only")
        self._folder, self._reviewer, self._timed = folder / FOLDER, reviewer, timed
        self._said = list(read_judgements(folder))

    @property
    def reviewer(self) -> str:
        """Whose judgements are added."""
        return self._reviewer

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """All that was said: file by file, each in its order."""
        return tuple(self._said)

    def say(self, pair: Pair, verdict: Verdict | None) -> None:
        """Keep what the reviewer says; it is on disk when this returns."""
        at = datetime.now(UTC).isoformat(timespec="seconds") if self._timed else ""
        judgement = Judgement(pair_of(*pair), verdict, self._reviewer, at)
        _append(self._folder / f"{self._reviewer}{SUFFIX}", [judgement])
        self._said.append(judgement)

    def own(self) -> dict[Pair, Verdict]:
        """What the reviewer says now, pair by pair, the latest last."""
        return _latest(said for said in self._said if said.reviewer == self._reviewer)


def read_judgements(folder: Path) -> Iterator[Judgement]:
    """All judgements below ``DATASET/review``: file by file, each in its order."""
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        yield from _read_file(path)


def merge(folder: Path, path: Path, reviewer: str | None = None) -> int:
    """Take another person's file of judgements into ``DATASET/review``; returns how many were new.

    Args:
        folder: ``DATASET/review``.
        path: the file.
        reviewer: who they are said to be of; None: who the file says.

    Raises:
        SourceError: there is no such file, or no judgement in it.
        ConfigError: two people have one name.
    """
    if not path.is_file():
        raise SourceError(f"no judgements at {path}", hint=f"give a file DATASET/review/{FOLDER}/NAME{SUFFIX}")
    found = [Judgement(said.pair, said.verdict, reviewer or said.reviewer, said.at) for said in _read_file(path)]
    if not found:
        raise SourceError(f"{path} holds no judgement", hint=f"give a file DATASET/review/{FOLDER}/NAME{SUFFIX}")
    if path.resolve().parent == (folder / FOLDER).resolve():
        return 0
    added = 0
    for name in sorted({said.reviewer for said in found}):
        known, new = [said for said in read_judgements(folder) if said.reviewer == name], _of(found, name)
        if known[: len(new)] != new[: len(known)]:
            raise ConfigError(
                f"{path} says of itself that it is {name}'s, who said something else here",
                hint=f"give it another name: --merge NAME={path}",
            )
        _append(folder / FOLDER / f"{name}{SUFFIX}", new[len(known) :])
        added += max(0, len(new) - len(known))
    return added


def agree(judgements: Iterable[Judgement]) -> dict[Pair, Verdict | Literal["disagree"]]:
    """Pair by pair what its reviewers say now: their verdict where all say one thing, or else "disagree"."""
    by_reviewer: dict[str, list[Judgement]] = {}
    for said in judgements:
        by_reviewer.setdefault(said.reviewer, []).append(said)
    agreed: dict[Pair, Verdict | Literal["disagree"]] = {}
    for own in by_reviewer.values():
        for pair, verdict in _latest(own).items():
            agreed[pair] = verdict if agreed.get(pair, verdict) == verdict else "disagree"
    return agreed


def decide(folder: Folder) -> Decisions:
    """The decisions that hold below ``DATASET/review``, brought to what its judgements say now.

    A pair that was taken back, or of which reviewers are unsure or disagree, has none; one that no judgement ever
    named keeps the one it has.
    """
    judgements = list(read_judgements(local_path(folder)))
    named = {said.pair for said in judgements}
    decided = {pair: decision for pair, decision in Decisions.read(folder).by_pair.items() if pair not in named}
    agreed = agree(judgements).items()
    decided |= {pair: DECISIVE[verdict] for pair, verdict in agreed if verdict in DECISIVE and pair[0] != pair[1]}
    return Decisions(decided)


def _latest(own: Iterable[Judgement]) -> dict[Pair, Verdict]:
    latest: dict[Pair, Verdict] = {}
    for said in own:
        latest.pop(said.pair, None)  # so that what was said last stands last
        if said.verdict is not None:
            latest[said.pair] = said.verdict
    return latest


def _of(judgements: Iterable[Judgement], reviewer: str) -> list[Judgement]:
    return [said for said in judgements if said.reviewer == reviewer]


def _read_file(path: Path) -> Iterator[Judgement]:
    for line in path.read_bytes().splitlines():
        try:
            yield _parse(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue  # a line that a crash cut short: nobody was told that it was kept


def _parse(said: Mapping[str, Any]) -> Judgement:
    pair, verdict, reviewer = pair_of(said["first"], said["second"]), said["verdict"], said["reviewer"]
    if not all(SHA256.fullmatch(sha256) for sha256 in pair) or not REVIEWER.fullmatch(reviewer):
        raise ValueError(said)
    if verdict is not None and verdict not in VERDICTS:
        raise ValueError(verdict)
    return Judgement(pair, verdict, reviewer, str(said.get("at", "")))


def _append(path: Path, judgements: Iterable[Judgement]) -> None:
    """Add lines to a file, in one write, and wait until the disk has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        begun = file.tell()
        if begun:
            file.seek(-1, os.SEEK_END)
        torn = begun and file.read(1) != b"\n"
        content = ("\n" if torn else "") + "".join(f"{judgement.line()}\n" for judgement in judgements)
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())
