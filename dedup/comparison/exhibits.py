"""Exhibits: numbers of images in; pictures that a page can show out, from the source's own bytes where it is there.

Serves the pages of `dedup.against` and `dedup.audit`, beside the sentence "source → thumbnails → 128-bit semantic codes
→ duplicate groups → clean shards → DCGAN".
"""

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.images import ArrayShards, read_usable_records
from pipelines import page
from pipelines.errors import IntegrityError, SourceError
from pipelines.executors import Executor
from pipelines.images import THUMBNAIL_SIZE, decode, encode_preview
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.sources import Source, Split
from pipelines.stage import Task, run_stage
from pipelines.store import Folder

PREVIEW_SIDE = 256
PREVIEWS = pa.schema([("number", pa.int64()), ("jpeg", pa.binary())])


def align_splits(source: Source, thumbnails: Manifest) -> Sequence[Split]:
    """The splits of a source that the shards of its thumbnails were made of, whatever their size was.

    Raises:
        IntegrityError: no splits of the source are those.
    """
    records = [shard.records for shard in thumbnails.shards]
    for size in (None, max(records, default=None)):
        splits = source.splits(size)
        if len(splits) == len(records) and all(s.records in (None, n) for s, n in zip(splits, records, strict=True)):
            return splits
    raise IntegrityError(
        f"the source {source.name} is not as it was when {thumbnails.folder} was made of it",
        hint="run python -m dedup.run on it again, or give the --source that it was made of",
    )


@dataclass(frozen=True, slots=True)
class PreviewStage:
    """Reads the splits that hold some of the images ``numbers`` once more: ``NNNNN.parquet``, columns `PREVIEWS`."""

    name: ClassVar[str] = "previews"
    version: ClassVar[int] = 1

    source: Source
    numbers: tuple[int, ...]

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split that holds some; ``upstream`` is the thumbnails' manifest."""
        (thumbnails,) = upstream
        splits, parts = align_splits(self.source, thumbnails), thumbnails.parts()
        shards = ArrayShards(thumbnails, ".thumbnails.npy")
        return [
            Task(
                parts[index].shards[0].name,
                (splits[index], parts[index], int(shards.starts[index]), frozenset(local.tolist())),
            )
            for index, _, local in shards.locate(np.array(self.numbers, np.int64))
        ]

    def run(self, task: Task, out: Path) -> int:
        """Read one split."""
        split, thumbnails, first, places = task.payload
        previews = []
        for place, record in read_usable_records(self.source, split, thumbnails):
            if place in places:
                jpeg = encode_preview(decode(record.image), PREVIEW_SIDE)
                previews.append({"number": first + place, "jpeg": jpeg})
        pq.write_table(pa.Table.from_pylist(previews, PREVIEWS), out / f"{task.name}.parquet")
        return len(previews)


class Gallery:
    """Pictures of one data set by number: previews where there are some, else thumbnails."""

    def __init__(self, thumbnails: Manifest, previews: Manifest | None) -> None:
        self._thumbnails = ArrayShards(thumbnails, ".thumbnails.npy")
        tables = [pq.read_table(path) for path in previews.paths(".parquet")] if previews else []
        self._previews = {row["number"]: row["jpeg"] for table in tables for row in table.to_pylist()}

    def show(self, number: int, key: str, note: str, role: str) -> dict[str, Any]:
        """What the macro ``picture`` of the pages draws."""
        jpeg = self._previews.get(number)
        if jpeg is None:
            (thumbnail,) = self._thumbnails.take(np.array([number], np.int64))
            uri = page.data_uri(encode_preview(thumbnail, THUMBNAIL_SIZE))
        else:
            uri = page.data_uri(jpeg)
        return {"key": key, "note": note, "role": role, "uri": uri, "is_thumbnail": jpeg is None}


Galleries = tuple[Gallery, Gallery]  # of the two sides of the pairs that a page shows


def make_gallery(
    source: Source | None,
    thumbnails: Manifest,
    numbers: Iterable[int],
    root: Folder,
    executor: Executor,
    progress: Progress,
) -> Gallery:
    """Run `PreviewStage` below ``root``; where the source is gone or has changed, thumbnails must do."""
    previews = None
    if source is not None:
        stage = PreviewStage(source, tuple(sorted(set(numbers))))
        with suppress(IntegrityError, SourceError):
            previews = run_stage(stage, [thumbnails], root, executor, progress)
    return Gallery(thumbnails, previews)


def count_values(column: pa.ChunkedArray) -> dict[str, int]:
    """Value → count, the most frequent first."""
    counts = {str(row["values"]): int(row["counts"]) for row in pc.value_counts(column).to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the content of a parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
