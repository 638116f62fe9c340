"""Photographs: search results in; for each distinct URL, what became of it, out.

Third arrow of "names → URLs → photographs → boxes → crops". The archive knows every URL that was ever fetched
(`facescrape.fetch.fetcher` brings it up to date); here its knowledge of this collection's URLs becomes a table.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from facescrape.archive import Archive
from facescrape.tables import PHOTOS
from pipelines.errors import IntegrityError
from pipelines.manifest import Manifest, digest_of
from pipelines.stage import Task
from pipelines.store import local_path

ARCHIVE = "archive"


def archive_of(manifest: Manifest) -> Path:
    """The folder of the archive of the collection that a finished stage belongs to: always on this machine's disk."""
    return local_path(manifest.folder).parent / ARCHIVE


def distinct_urls(urls: Manifest) -> Iterator[tuple[str, list[str]]]:
    """Shard by shard, its name and its URLs without those that came before; memory grows by 0.1 kB a URL."""
    seen: set[bytes] = set()
    for shard, path in zip(urls.shards, urls.paths(".urls.parquet"), strict=True):
        fresh = []
        for url in pq.read_table(path, columns=["url"])["url"].to_pylist():
            mark = hashlib.blake2b(url.encode(), digest_size=16).digest()
            if mark not in seen:
                seen.add(mark)
                fresh.append(url)
        yield shard.name, fresh


@dataclass(frozen=True, slots=True)
class PhotoStage:
    """Writes down the outcome of every distinct URL: ``NNNNN.photos.parquet``, columns `facescrape.tables.PHOTOS`."""

    name: ClassVar[str] = "photos"
    version: ClassVar[int] = 1

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard of search results, known by its outcomes; ``upstream`` is their manifest.

        Raises:
            IntegrityError: a URL has no outcome yet.
        """
        (urls,) = upstream
        folder = archive_of(urls)
        tasks = []
        with Archive(folder) as archive:
            for name, distinct in distinct_urls(urls):
                rows = _outcomes(archive, distinct)
                ends = [[row["url"], row["status"], row["sha256"], str(row["fetched_at"])] for row in rows]
                tasks.append(Task(name, (folder, distinct), digest_of(ends)))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Write one shard's table."""
        folder, distinct = task.payload
        with Archive(folder) as archive:
            rows = _outcomes(archive, distinct)
        pq.write_table(pa.Table.from_pylist(rows, PHOTOS), out / f"{task.name}.photos.parquet")
        return len(rows)


def _outcomes(archive: Archive, urls: Sequence[str]) -> list[dict[str, object]]:
    known = archive.known(urls)
    if missing := [url for url in urls if url not in known]:
        raise IntegrityError(
            f"{len(missing):,} URLs have not been fetched, {missing[0]} among them",
            hint="run the same command again: it fetches what is missing",
        )
    return [asdict(known[url]) for url in urls]
