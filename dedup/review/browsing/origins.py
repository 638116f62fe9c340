"""Origins: the rows of a finished data set in; which source each image is of, and which source duplicates which, out.

Serves the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN". A shard is a split of one source, so that one row of each says it all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from dedup.images import Numbers
from pipelines.manifest import Manifest


class Origins:
    """The sources of a data set.

    Attributes:
        names: of the sources, in the order in which they were read.
    """

    def __init__(self, thumbnails: Manifest, starts: Numbers) -> None:
        """Read a row of each shard.

        Args:
            thumbnails: the stage's manifest.
            starts: int64 (shards + 1,): see `dedup.images.ArrayShards.starts`.
        """
        by_part = [_read_source(pq.ParquetFile(path)) for path in thumbnails.paths(".parquet")]
        self.names: Sequence[str] = list(dict.fromkeys(name for name in by_part if name is not None))
        self._part = np.array([0 if name is None else self.names.index(name) for name in by_part], np.int64)
        self._starts = starts

    def of(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """The place in `names` of each image's source, by the image's number."""
        return np.asarray(self._part[np.searchsorted(self._starts, numbers, side="right") - 1])

    def count(self, dropped: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Dropped images by the source that they are of and the source of the one that was kept, int64 (S, S)."""
        counts = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(counts, (self.of(dropped["number"]), self.of(dropped["kept"])), 1)
        return counts

    def within(self, dropped: npt.NDArray[Any], source: str, kept_source: str) -> npt.NDArray[np.bool_]:
        """Which dropped images are of one source and were dropped for one of another, bool (D,).

        Raises:
            KeyError: there is no such source.
        """
        for name in (source, kept_source):
            if name not in self.names:
                raise KeyError(name)
        first, second = self.names.index(source), self.names.index(kept_source)
        return np.asarray((self.of(dropped["number"]) == first) & (self.of(dropped["kept"]) == second))


def _read_source(table: pq.ParquetFile) -> str | None:
    for batch in table.iter_batches(1, columns=["source"]):
        return str(batch["source"][0].as_py())
    return None
