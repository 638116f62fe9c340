"""Browsing: a session in; what the pages that act and browse share out, each made when it is first asked for.

Beside the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN". Knows
nothing of HTTP.
"""

from collections.abc import Sequence
from functools import cached_property
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.grouped import RULES
from dedup.images import Numbers, equal_bytes
from dedup.review.browsing.curve import span_forest
from dedup.review.browsing.groups import Group, Groups
from dedup.review.browsing.lookup import Lookup
from dedup.review.browsing.marks import Marks
from dedup.review.browsing.origins import Origins
from dedup.review.browsing.previews import Previews
from dedup.review.browsing.rejections import Rejections
from dedup.review.judging.session import Session


class Browsing:
    """What can be seen of a finished data set.

    Attributes:
        session: whose it is, and who looks.
        previews: small pictures.
        lookup: finds a picture in it.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.reviewed = session, session.reviewed
        self.previews, self.lookup = Previews(self.reviewed), Lookup(self.reviewed.root)

    @cached_property
    def groups(self) -> Groups:
        """All groups of duplicates."""
        return Groups(self.reviewed.dropped)

    @cached_property
    def origins(self) -> Origins:
        """Which source each image is of."""
        return Origins(self.reviewed.found.thumbnails, self.reviewed.images.ids.starts)

    @cached_property
    def marks(self) -> Marks:
        """What people said of pairs."""
        return Marks(self.session, self.groups)

    @cached_property
    def rejections(self) -> Rejections:
        """The rejected images."""
        return Rejections(self.reviewed.found.groups.path("rejected.parquet"))

    @cached_property
    def forest(self) -> npt.NDArray[np.float32]:
        """Scores at which images come to be dropped: see `dedup.review.browsing.curve.span_forest`."""
        paths = self.reviewed.found.pairs.paths(".pairs.npy")
        near = [*(np.load(path, mmap_mode="r") for path in paths), self.reviewed.near_misses()]
        a, b = equal_bytes(self.reviewed.images)
        columns = [
            (a, b, np.full(len(a), np.inf, np.float32)),
            *((rows["a"], rows["b"], rows["score"]) for rows in near),
        ]
        return span_forest(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def describe(self, numbers: Numbers) -> dict[int, dict[str, Any]]:
        """By number, what a page says of each image: number, key, source, width, height and size_bytes."""
        return {row["number"]: row for row in self.reviewed.rows(numbers)}

    def show(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        """What a page shows of groups: the kept image, size, dropped images with rule, distance, score, said; more."""
        pairs = [(int(row["number"]), group.kept) for group in groups for row in group.dropped]
        images = self.describe(np.unique(np.array([*pairs, *((group.kept,) * 2 for group in groups)], np.int64)))
        said = dict(zip(pairs, self.marks.said(pairs), strict=True))
        return [
            {
                "kept": images[group.kept],
                "size": group.size,
                "dropped": [
                    {
                        **images[number],
                        "rule": RULES[rule],
                        "distance": distance,
                        "score": None if isnan(score) else round(score, 2),
                        "said": said[number, group.kept],
                    }
                    for number, _, distance, score, rule in group.dropped.tolist()
                ],
                "more": group.more,
            }
            for group in groups
        ]
