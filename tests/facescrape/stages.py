"""A collection as it stands before its faces are looked for: search results, outcomes, pictures in the archive."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from facescrape.archive import picture_path
from facescrape.status import Status
from facescrape.tables import PHOTOS, URLS
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.stage import Task, run_stage


@dataclass(frozen=True)
class Found:
    """One search result, and the picture that its URL gave, if any."""

    path: str
    picture: bytes | None
    name: str = "Ada"
    person: str = "name:Ada"
    licence: str | None = "CC BY 4.0"

    @property
    def sha256(self) -> str:
        assert self.picture is not None
        return hashlib.sha256(self.picture).hexdigest()

    @property
    def url(self) -> str:
        return f"https://photos.test/{self.path}"

    def as_result(self, rank: int) -> dict[str, Any]:
        return {
            "url": self.url,
            "person": self.person,
            "name": self.name,
            "provider": "test",
            "rank": rank,
            "page": f"https://photos.test/page/{self.path}",
            "title": f"title of {self.path}",
            "licence": self.licence,
            "licence_url": "https://creativecommons.org/licenses/by/4.0/",
            "author": f"photographer of {self.path}",
        }

    def as_photo(self) -> dict[str, Any]:
        if self.picture is None:
            return {"url": self.url, "status": Status.NOT_FOUND.value, "http_status": 404}
        return {"url": self.url, "status": Status.OK.value, "http_status": 200, "sha256": self.sha256}


@dataclass(frozen=True)
class WriteTable:
    """Writes a table of given rows for each shard."""

    version: ClassVar[int] = 1

    name: str
    rows: tuple[tuple[dict[str, Any], ...], ...]

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task(f"{number:05d}", rows) for number, rows in enumerate(self.rows)]

    def run(self, task: Task, out: Path) -> int:
        schema = {"urls": URLS, "photos": PHOTOS}[self.name]
        pq.write_table(pa.Table.from_pylist(task.payload, schema), out / f"{task.name}.{self.name}.parquet")
        return len(task.payload)


def collect(root: Path, shards: Sequence[Sequence[Found]]) -> tuple[Manifest, Manifest]:
    """Write a collection's archive and tables; returns the manifests of its URLs and its photographs."""
    seen: set[str] = set()
    results, photos = [], []
    for shard in shards:
        results.append(tuple(found.as_result(rank) for rank, found in enumerate(shard)))
        fresh = []
        for found in shard:
            if found.url not in seen:
                seen.add(found.url)
                fresh.append(found.as_photo())
            if found.picture is not None:
                path = picture_path(root / "archive", found.sha256)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(found.picture)
        photos.append(tuple(fresh))
    executor = LocalExecutor(1)
    urls = run_stage(WriteTable("urls", tuple(results)), [], root, executor)
    return urls, run_stage(WriteTable("photos", tuple(photos)), [urls], root, executor)
