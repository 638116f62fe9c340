"""Session: one reviewer's sitting with a finished data set: what is asked next, what is said, and what it says in all.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Knows nothing of HTTP; `dedup.review.server` shows it.
"""

import threading
from typing import Any

from dedup.decisions import Pair
from dedup.review.judging.drawing import open_sample
from dedup.review.judging.judgements import Journal, Verdict, agree
from dedup.review.judging.sample import KINDS, Drawn, Kind, Sample
from dedup.review.judging.summary import FOLDER, describe
from dedup.review.reviewed import Reviewed
from pipelines.errors import ConfigError
from pipelines.store import local_path


class Session:
    """A reviewer, a data set, and the samples that they judge.

    Attributes:
        reviewed: the data set.
        journal: what reviewers said.
    """

    def __init__(self, reviewed: Reviewed, reviewer: str, *, seed: int | None = None, timed: bool = True) -> None:
        """Open the review of a data set.

        Args:
            reviewed: the data set.
            reviewer: who judges.
            seed: of the samples; None: that of the samples before.
            timed: whether the time of each judgement is kept.

        Raises:
            ConfigError: the data set is not on a disk of this machine, or the reviewer's name is none for a file.
        """
        self.reviewed = reviewed
        self._folder, self._seed = reviewed.root / FOLDER, seed
        self.journal = Journal(local_path(self._folder), reviewer, timed=timed)
        self._samples: dict[Kind, Sample] = {}
        self._lock = threading.Lock()

    def sample(self, kind: Kind) -> Sample:
        """The pairs to be judged; drawn when they are first asked for."""
        with self._lock:
            if kind not in self._samples:
                self._samples[kind] = open_sample(self.reviewed, kind, self._folder, self._seed)
            return self._samples[kind]

    def next_place(self, kind: Kind) -> int:
        """The first place of a sample of which this reviewer has said nothing; its length where there is none."""
        own = self.journal.own()
        drawn = self.sample(kind).drawn
        return next((place for place, asked in enumerate(drawn) if asked.pair not in own), len(drawn))

    def drawn(self, kind: Kind, place: int) -> Drawn:
        """The pair at a place of a sample; IndexError where there is none."""
        drawn = self.sample(kind).drawn
        if not 0 <= place < len(drawn):
            raise IndexError(place)
        return drawn[place]

    def judge(self, pair: Pair, verdict: Verdict | None) -> None:
        """Keep what is said of a pair; it is on disk when this returns."""
        with self._lock:
            self.journal.say(pair, verdict)

    def undo(self, kind: Kind) -> int | None:
        """Take back what this reviewer said last of a sample's pairs; its place, None where nothing was said."""
        places = {drawn.pair: place for place, drawn in reversed(list(enumerate(self.sample(kind).drawn)))}
        said = [pair for pair in self.journal.own() if pair in places]
        if not said:
            return None
        self.judge(said[-1], None)
        return places[said[-1]]

    def progress(self, kind: Kind) -> dict[str, Any]:
        """How far a sample is judged, by this reviewer and in all, and what that says.

        Returns:
            reviewer, place (the next one), total, disputed (places on which reviewers disagree), and what
            `dedup.review.judging.summary.describe` gives.
        """
        sample = self.sample(kind)
        verdicts = agree(self.journal.judgements)
        return {
            "reviewer": self.journal.reviewer,
            "place": self.next_place(kind),
            "total": len(sample.drawn),
            "disputed": [place for place, drawn in enumerate(sample.drawn) if verdicts.get(drawn.pair) == "disagree"],
            **describe(sample, verdicts),
        }


def parse_kind(text: str) -> Kind:
    """A sample's kind as an address names it.

    Raises:
        ConfigError: there is no such kind.
    """
    for kind in KINDS:
        if text == kind:
            return kind
    raise ConfigError(f"there is no sample of {text!r}", hint=f"there are {', '.join(KINDS)}")
