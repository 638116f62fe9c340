"""Rejections: the table of rejected images in; pages of it by reason, and each reason in a sentence, out.

Beside the arrow "source → thumbnails" of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean
shards → DCGAN". Reasons alone are held in memory, a byte each; a page reads the few row groups that its rows lie in.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.images import MAX_PIXELS, RejectReason

WHY = {
    RejectReason.EMPTY: "The file has no bytes.",
    RejectReason.NOT_AN_IMAGE: "The bytes begin like no picture: a web page or a text, often, that was stored as one.",
    RejectReason.UNSUPPORTED_FORMAT: "It is a picture of a format that is not read: JPEG, PNG, WebP, GIF and BMP are.",
    RejectReason.TOO_MANY_PIXELS: f"It says of itself that it has more than {MAX_PIXELS // 10**6} million pixels.",
    RejectReason.TRUNCATED: "The end of the file is missing, so that a part of the picture would be.",
    RejectReason.CORRUPT: "The file is whole, and what is inside it is damaged: it does not decode.",
}
REASONS = tuple(RejectReason)


class Rejections:
    """The rejected images of a run, in the source's order. ``len()`` says how many there are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        reasons = pq.read_table(path, columns=["reason"])["reason"]
        known = pc.index_in(reasons, value_set=pa.array([reason.value for reason in REASONS]))
        self._reason = known.to_numpy().astype(np.uint8)
        metadata = pq.read_metadata(path)
        sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        return len(self._reason)

    def counts(self) -> dict[RejectReason, int]:
        """Images by reason, the most frequent first; reasons of which there is none are left out."""
        counts = np.bincount(self._reason, minlength=len(REASONS))
        return {REASONS[place]: int(counts[place]) for place in np.argsort(-counts, kind="stable") if counts[place]}

    def page(self, reason: RejectReason | None, after: int, count: int) -> tuple[list[dict[str, Any]], int | None]:
        """Some of them.

        Args:
            reason: just those of one; None: of all.
            after: what the page before gave; -1: the first page.
            count: rows in the page.

        Returns:
            Rows (key, source, reason, size_bytes), and what to ask for the next page with; None: this one is the last.
        """
        places = np.arange(len(self)) if reason is None else np.flatnonzero(self._reason == REASONS.index(reason))
        begin = int(np.searchsorted(places, after, side="right"))
        shown = places[begin : begin + count]
        rows = self._read(shown)
        return rows, int(shown[-1]) if begin + count < len(places) else None

    def _read(self, places: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
        file, rows = pq.ParquetFile(self._path), []
        parts = np.searchsorted(self._starts, places, side="right") - 1
        for part in np.unique(parts).tolist():
            table = file.read_row_group(part, columns=["key", "source", "reason", "size_bytes"])
            rows += table.take(pa.array(places[parts == part] - self._starts[part])).to_pylist()
        return rows
