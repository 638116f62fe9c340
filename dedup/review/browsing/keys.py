"""Keys: a part of a key in; the images whose keys have it out.

Beside the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN". There is
no index of keys: shard by shard they are read and compared, until a page is full.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.images import Numbers
from pipelines.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Hit:
    """An image that was found.

    Attributes:
        key: its key.
        number: its place among all usable images; None: it was rejected.
        reason: why it was.
    """

    key: str
    number: int | None
    reason: str | None


def find_keys(
    thumbnails: Manifest, starts: Numbers, part_of_key: str, count: int, after: tuple[int, int] | None = None
) -> tuple[Sequence[Hit], tuple[int, int] | None]:
    """Images whose keys hold a text, in upper or lower case alike, in the source's order.

    Args:
        thumbnails: the stage's manifest.
        starts: int64 (shards + 1,): see `dedup.images.ArrayShards.starts`.
        part_of_key: the text.
        count: how many at most.
        after: what the page before gave; None: the first page.

    Returns:
        The images, and what to ask for the next ones with; None: there are no more.
    """
    hits: list[Hit] = []
    begin, row_after = after or (0, -1)
    for part, path in list(enumerate(thumbnails.paths(".parquet")))[begin:]:
        rows = pq.read_table(path, columns=["key", "reason"])
        found = np.flatnonzero(pc.match_substring(rows["key"], part_of_key, ignore_case=True).to_numpy())
        found = found[found > (row_after if part == begin else -1)]
        if not len(found):
            continue
        room = count - len(hits)
        usable = rows["reason"].is_null().to_numpy()
        number = starts[part] + np.cumsum(usable) - 1
        for row in found[:room].tolist():
            key, reason = rows["key"][row].as_py(), rows["reason"][row].as_py()
            hits.append(Hit(key, int(number[row]) if usable[row] else None, reason))
        if len(found) > room:
            return hits, (part, int(found[room - 1]) if room else -1)
    return hits, None
