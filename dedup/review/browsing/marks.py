"""Marks: pairs of images by number, and what people say of them, in; what that would change in the next run out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A mark is a judgement like any other: it goes to the reviewer's journal, and
``python -m dedup.run --apply-review`` honours it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dedup.decisions import Decision, Decisions, Pair, pair_of
from dedup.images import Images, Numbers, find_bytes
from dedup.review.browsing.groups import Groups
from dedup.review.judging.judgements import DECISIVE, Verdict, agree
from dedup.review.judging.session import Session
from dedup.review.judging.summary import FOLDER
from pipelines.errors import ConfigError

Ids = tuple[int, int]  # the first eight bytes of two images' SHA-256, the smaller first


@dataclass(frozen=True, slots=True)
class Mark:
    """What all who said anything of a pair decided.

    Attributes:
        pair: by the SHA-256 of the images' bytes.
        decision: what they said.
        numbers: of an image with these bytes each; None: the run knows none.
        agrees: whether the run has it so already.
        honoured: whether the run was told.
        own: whether this reviewer said it, who can take it back.
    """

    pair: Pair
    decision: Decision
    numbers: tuple[int | None, int | None]
    agrees: bool
    honoured: bool
    own: bool

    @property
    def place(self) -> str:
        """By which marks are in order: those that change something first."""
        return f"{int(self.agrees)}:{self.pair[0]}:{self.pair[1]}"


class Marks:
    """The marks of a session's data set."""

    def __init__(self, session: Session, groups: Groups) -> None:
        self._session, self._groups = session, groups
        self._images: Images = session.reviewed.images

    def said(self, pairs: Sequence[tuple[int, int]]) -> list[Verdict | None]:
        """What this reviewer says of pairs of images, by number."""
        own = {_ids_of(pair): verdict for pair, verdict in self._session.journal.own().items()}
        if not own:
            return [None] * len(pairs)
        ids = self._images.ids.take(np.array(pairs, np.int64).reshape(-1)).reshape(-1, 2).tolist()
        return [own.get((min(first, second), max(first, second))) for first, second in ids]

    def mark(self, first: int, second: int, verdict: Verdict | None) -> None:
        """Keep what is said of two images, or take it back.

        Raises:
            IndexError: there is no such image.
            ConfigError: both have equal bytes, of which there is nothing to say.
        """
        if not all(0 <= number < len(self._images) for number in (first, second)):
            raise IndexError(first, second)
        rows = self._images.rows(np.array([first, second], np.int64), ["sha256"])
        pair = pair_of(*rows["sha256"].to_pylist())
        if pair[0] == pair[1]:
            raise ConfigError("both have the same bytes", hint="pick two images whose files differ")
        self._session.judge(pair, verdict)

    def take_back(self, pair: Pair) -> None:
        """Take back what this reviewer said of a pair; KeyError where that is nothing."""
        if pair not in self._session.journal.own():
            raise KeyError(pair)
        self._session.judge(pair, None)

    def decided(self) -> list[Mark]:
        """All pairs that were decided, in the order of `Mark.place`."""
        own = self._session.journal.own()
        agreed = agree(self._session.journal.judgements).items()
        decided = {pair: DECISIVE[said] for pair, said in agreed if said in DECISIVE and pair[0] != pair[1]}
        honoured = Decisions.read(self._session.reviewed.root / FOLDER).by_pair
        numbers = self._numbers(sha256 for pair in decided for sha256 in pair)
        marks = []
        for pair, decision in decided.items():
            first, second = (numbers.get(sha256) for sha256 in pair)
            agrees = first is None or second is None or self._are_grouped(first, second) == (decision == "same")
            marks.append(Mark(pair, decision, (first, second), agrees, honoured.get(pair) == decision, pair in own))
        return sorted(marks, key=lambda mark: mark.place)

    def _are_grouped(self, first: int, second: int) -> bool:
        kept = self._groups.kept_for(np.array([first, second], np.int64))
        return bool(kept[0] == kept[1])

    def _numbers(self, sha256: Iterable[str]) -> dict[str, int]:
        """The first image with each of these bytes."""
        wanted = {_id_of(digest): digest for digest in sha256}
        numbers: Numbers = find_bytes(self._images, wanted.values())
        ids = self._images.ids.take(numbers).tolist() if len(numbers) else []
        return {wanted[found]: number for found, number in reversed(list(zip(ids, numbers.tolist(), strict=True)))}


def _id_of(sha256: str) -> int:
    return int(sha256[:16], 16)


def _ids_of(pair: Pair) -> Ids:
    first, second = sorted(map(_id_of, pair))
    return first, second
