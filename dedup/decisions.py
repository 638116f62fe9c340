"""Decisions: what people said of pairs of images in; links that grouping must take, and those it must not, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A pair is known by the SHA-256 of its two images' bytes: a decision holds for
every copy of them, wherever they stand, in this run and in all that follow. Pure, but for reading and writing the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.edges import find_surest, number_edges
from pipelines.errors import IntegrityError
from pipelines.manifest import digest_of
from pipelines.store import Folder

FILE = "decisions.json"

Pair = tuple[str, str]  # SHA-256 (hex) of two images' bytes, the smaller first
Decision = Literal["same", "different"]
Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def pair_of(first: str, second: str) -> Pair:
    """The pair of two images, by the SHA-256 (hex) of their bytes."""
    return (first, second) if first <= second else (second, first)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided of pairs, for good."""

    by_pair: Mapping[Pair, Decision] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 (hex) of all decisions, whatever their order."""
        return digest_of(sorted([*pair, decision] for pair, decision in self.by_pair.items()))

    @classmethod
    def read(cls, folder: Folder) -> Self:
        """Those that `write` left in a folder; none where there is no file.

        Raises:
            IntegrityError: the file is damaged.
        """
        try:
            rows = json.loads(folder.read(FILE))
            return cls({pair_of(row["first"], row["second"]): row["decision"] for row in rows})
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{folder / FILE} is damaged ({error})", hint="remove it, and run again with --apply-review"
            ) from error

    def write(self, folder: Folder) -> None:
        """Keep them in a folder, a line each."""
        rows = [
            {"first": first, "second": second, "decision": decision}
            for (first, second), decision in sorted(self.by_pair.items())
        ]
        folder.write(FILE, ("[" + ",\n".join(map(json.dumps, rows)) + "]\n").encode())

    def sha256(self) -> pa.Array:
        """Of all images that a decision is about, each once."""
        return pa.array(sorted({sha256 for pair in self.by_pair for sha256 in pair}), pa.string())

    def among(self, sha256: pa.ChunkedArray) -> "Links":
        """The decisions of which both images are among some, by these images' places.

        Args:
            sha256: (N,) of the images' bytes, hex.
        """
        decided = self.sha256()
        found = pc.index_in(sha256, value_set=decided).combine_chunks()
        places: dict[str, list[int]] = {}
        for place in pc.indices_nonzero(pc.is_valid(found)).to_pylist():
            places.setdefault(decided[found[place].as_py()].as_py(), []).append(place)
        links: dict[Decision, list[tuple[int, int]]] = {"same": [], "different": []}
        for (first, second), decision in self.by_pair.items():
            links[decision] += ((a, b) for a in places.get(first, ()) for b in places.get(second, ()))
        return Links(len(sha256), _columns(links["same"]), _columns(links["different"]))


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Decisions on ``count`` images, by place: pairs (2, P) that are the same, and pairs that are not."""

    count: int
    same: Indices
    different: Indices

    def __len__(self) -> int:
        return len(self.same[0]) + len(self.different[0])

    def apply(self, a: Indices, b: Indices, score: Scores) -> tuple[Indices, Indices, Scores]:
        """Pairs as they are after the decisions.

        Images that were said to be the same share their pairs: what is a duplicate of one is a duplicate of all, as no
        score says otherwise. What was said to differ has no pair, whatever follows from other decisions.

        Args:
            a, b: int64 (P,): the pairs' images.
            score: float32 (P,): how sure each pair is.

        Returns:
            The pairs and their scores; the surest where one came up more than once.
        """
        if not len(self):
            return a, b, score
        # Here, for the pages of a review read decisions too, and open sooner without graphs.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        _, label = connected_components(coo_array((np.ones(len(self.same[0])), self.same), (self.count,) * 2), False)
        decided = np.unique(self.same)
        mates: dict[int, list[int]] = {}
        for image in decided.tolist():
            mates.setdefault(int(label[image]), []).append(image)
        found = [(a, b, score)]
        for members in mates.values():
            left, right = np.triu_indices(len(members), 1)
            of_class = np.array(members)
            found.append((of_class[left], of_class[right], np.full(len(left), np.inf, np.float32)))
        # Twice, for a pair's other end may be one of a class too.
        for _ in range(2 if mates else 0):
            a, b, score = (np.concatenate(column) for column in zip(*found, strict=True))
            for near, far in ((a, b), (b, a)):
                for at in np.flatnonzero(np.isin(near, decided)).tolist():
                    others = np.array([mate for mate in mates[int(label[near[at]])] if mate != far[at]], np.int64)
                    found.append((others, np.full(len(others), far[at]), np.full(len(others), score[at])))
        a, b, score = (np.concatenate(column) for column in zip(*found, strict=True))
        allowed = ~self.are_different(a, b)
        a, b, score = a[allowed], b[allowed], score[allowed]
        surest = find_surest(a, b, score)
        return a[surest], b[surest], score[surest]

    def are_different(self, a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
        """Whether each pair was said to differ, bool (P,)."""
        return self._hold(self.different, a, b)

    def are_same(self, a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
        """Whether each pair was said to be the same, bool (P,)."""
        return self._hold(self.same, a, b)

    def _hold(self, pairs: Indices, a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
        return np.isin(number_edges(a, b, self.count), number_edges(pairs[0], pairs[1], self.count))


def _columns(pairs: list[tuple[int, int]]) -> Indices:
    return np.array(pairs, np.int64).reshape(-1, 2).T
