"""Accounts: the finished tables of a collection in; how many went on at each step, and why the others did not, out.

Counts all of "names → URLs → photographs → boxes → crops", shard by shard and column by column: 3,000,000 rows take 8
bytes each. Each step balances, and each takes in what the one before let go on, or there are no accounts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facescrape.status import Status
from pipelines.errors import IntegrityError, SourceError
from pipelines.manifest import Manifest

UNKNOWN_LICENCE = "licence unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """What came in at one step of the funnel, what went on, and what did not, by reason, the most frequent first.

    Raises:
        IntegrityError: it does not balance.
    """

    name: str
    came_in: int
    went_on: int
    lost: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.came_in != self.went_on + sum(self.lost.values()) or min(self.went_on, *self.lost.values(), 0) < 0:
            raise _unbalanced(
                f"{self.name}: {self.came_in:,} came in, {self.went_on:,} went on, lost {dict(self.lost)}"
            )


@dataclass(slots=True)
class Group:
    """One provider's or licence's part: search results, distinct URLs downloaded, crops."""

    results: int = 0
    downloaded: int = 0
    crops: int = 0


@dataclass(slots=True)
class Fetching:
    """What fetching took: ``hosts`` is host → [URLs downloaded, URLs not downloaded]."""

    hosts: dict[str, list[int]] = field(default_factory=dict)
    downloaded_bytes: int = 0
    distinct_bytes: int = 0
    seconds: float = 0.0
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """All that is counted. ``is_deduplicated``: whether the last step, that of de-duplication, is there."""

    steps: list[Step]
    by_provider: dict[str, Group]
    by_licence: dict[str, Group]
    fetching: Fetching
    detectors: list[str]
    is_deduplicated: bool


class Tables:
    """The finished stages below a collection's folder; a shard is the same block of people in all of them.

    Raises:
        SourceError: a stage is not finished.
    """

    _PATHS: ClassVar = {
        "urls": "urls/{}.urls.parquet",
        "photos": "photos/{}.photos.parquet",
        "images": "boxes/{}.images.parquet",
        "boxes": "boxes/{}.boxes.parquet",
        "crops": "crops/{}.parquet",
    }

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.names, self.urls, self.photos, self.boxes, self.crops = (
                Manifest.load(root / stage) for stage in ("names", "urls", "photos", "boxes", "crops")
            )
        except FileNotFoundError as error:
            raise SourceError(
                f"no finished collection lies in {root}: {error.filename} is missing",
                hint="run: python -m facescrape.run faces",
            ) from error

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in the order of their people."""
        return [shard.name for shard in self.urls.shards]

    def read(self, kind: str, shard: str, *columns: str) -> pa.Table:
        """Columns of one shard's table: of urls, photos, images, boxes or crops (no rows where there are no crops)."""
        path = self.root / self._PATHS[kind].format(shard)
        if kind == "crops" and not path.exists():
            return pa.table({column: pa.array([], pa.string()) for column in columns})
        return pq.read_table(path, columns=list(columns))


def count_collection(tables: Tables, dataset_folder: Path) -> Accounts:
    """Count everything.

    Args:
        tables: of the collection.
        dataset_folder: where de-duplication of its crops leaves its results, if it has run.

    Raises:
        IntegrityError: a step does not balance, or does not take in what the one before let go on.
    """
    fetching, by_provider, by_licence = Fetching(), dict[str, Group](), dict[str, Group]()
    statuses, rejects, drops, detectors = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    results = fetched = images = with_face = faces = kept = kept_boxes = 0
    people: set[str] = set()
    urls: list[npt.NDArray[np.uint64]] = []
    pictures: list[npt.NDArray[np.uint64]] = []
    sizes: list[npt.NDArray[np.int64]] = []
    for shard in tables.shards:
        found = tables.read("urls", shard, "url", "person", "provider", "licence")
        results += found.num_rows
        people.update(pc.unique(found["person"]).to_pylist())
        urls.append(_marks(pc.unique(found["url"]).to_pylist()))

        photos = tables.read("photos", shard, "url", "status", "size_bytes", "sha256", "fetched_at", "seconds")
        downloaded = photos.filter(pc.equal(photos["status"], Status.OK))
        fetched += photos.num_rows
        statuses.update(_count(photos["status"]))
        pictures.append(_marks(downloaded["sha256"].to_pylist()))
        sizes.append(downloaded["size_bytes"].to_numpy().astype(np.int64))
        _add_fetching(fetching, photos)

        seen = tables.read("images", shard, "reason", "faces", "kept")
        images += seen.num_rows
        rejects.update(_count(seen["reason"]))
        with_face += pc.sum(pc.greater(seen["faces"], 0)).as_py() or 0
        faces += pc.sum(seen["faces"]).as_py() or 0
        kept += pc.sum(seen["kept"]).as_py() or 0

        boxes = tables.read("boxes", shard, "detector", "reason")
        drops.update(_count(boxes["reason"]))
        kept_boxes += boxes["reason"].null_count
        detectors.update(_count(boxes["detector"]))

        crops = tables.read("crops", shard, "photo_sha256")["photo_sha256"].to_pylist()
        _add_groups(by_provider, by_licence, found, downloaded, crops)

    # A picture under two URLs is one picture: the first counts its bytes.
    distinct_pictures, firsts = np.unique(np.concatenate([*pictures, _marks([])]), return_index=True)
    fetching.distinct_bytes = int(np.concatenate([*sizes, np.zeros(0, np.int64)])[firsts].sum())
    decoded = images - rejects.total()
    steps = [
        Step("people", tables.names.records, len(people), {"no_results": tables.names.records - len(people)}),
        Step("results", results, fetched, {"repeated_url": results - fetched}),
        Step("urls", len(np.unique(np.concatenate([*urls, _marks([])]))), *_went_on(statuses, Status.OK)),
        Step("downloads", statuses[Status.OK], images, {"equal_bytes": statuses[Status.OK] - images}),
        Step("pictures", len(distinct_pictures), decoded, _sorted(rejects)),
        Step("decoded", decoded, with_face, {"no_face": decoded - with_face}),
        Step("faces", faces, kept, _sorted(drops)),
    ]
    if not kept == kept_boxes == tables.crops.records:
        raise _unbalanced(f"{kept:,} or {kept_boxes:,} boxes are kept, and there are {tables.crops.records:,} crops")
    after = _read_deduplication(dataset_folder, tables)
    return Accounts(
        steps=[*steps, after] if after else steps,
        by_provider=_largest_first(by_provider),
        by_licence=_largest_first(by_licence),
        fetching=fetching,
        detectors=sorted(detectors),
        is_deduplicated=after is not None,
    )


def read_dropped(dataset_folder: Path) -> set[str]:
    """Keys of the crops that de-duplication dropped; none where it has not run."""
    try:
        return set(pq.read_table(dataset_folder / "duplicates.parquet", columns=["key"])["key"].to_pylist())
    except FileNotFoundError:
        return set()


def _read_deduplication(dataset_folder: Path, tables: Tables) -> Step | None:
    """The step of `dedup.run`; None where it has not run, or not on these very crops."""
    try:
        report: dict[str, Any] = json.loads((dataset_folder / "report.json").read_bytes())
    except FileNotFoundError:
        return None
    dropped = read_dropped(dataset_folder)
    is_of_them = (report["read"], report["dropped"]) == (tables.crops.records, len(dropped))
    for shard in tables.shards:
        dropped.difference_update(tables.read("crops", shard, "key")["key"].to_pylist())
    if dropped or not is_of_them:
        return None
    lost = {"near_duplicate": report["dropped"], "rejected": report["rejected"]}
    return Step("crops", report["read"], report["kept"], _sorted(lost))


def _add_fetching(fetching: Fetching, photos: pa.Table) -> None:
    for url, status in _rows(photos, "url", "status"):
        fetching.hosts.setdefault(host_of(url), [0, 0])[status != Status.OK] += 1
    fetching.downloaded_bytes += pc.sum(photos["size_bytes"]).as_py() or 0
    fetching.seconds += pc.sum(photos["seconds"]).as_py() or 0.0
    span = pc.min_max(photos["fetched_at"]).as_py()
    fetching.first_at = min((at for at in (fetching.first_at, span["min"]) if at), default=None)
    fetching.last_at = max((at for at in (fetching.last_at, span["max"]) if at), default=None)


def _add_groups(
    by_provider: dict[str, Group],
    by_licence: dict[str, Group],
    found: pa.Table,
    downloaded: pa.Table,
    crops: Iterable[str],
) -> None:
    """Count one shard by provider and by licence; a URL and its crops belong to the first result that brought it."""
    by_url: dict[str, tuple[Group, Group]] = {}
    for url, provider, licence in _rows(found, "url", "provider", "licence"):
        groups = (
            by_provider.setdefault(provider, Group()),
            by_licence.setdefault(licence or UNKNOWN_LICENCE, Group()),
        )
        by_url.setdefault(url, groups)
        for group in groups:
            group.results += 1
    by_picture: dict[str, tuple[Group, Group]] = {}
    try:
        for url, sha256 in _rows(downloaded, "url", "sha256"):
            by_picture.setdefault(sha256, by_url[url])
            for group in by_url[url]:
                group.downloaded += 1
        for sha256 in crops:
            for group in by_picture[sha256]:
                group.crops += 1
    except KeyError as error:
        raise _unbalanced(f"{error.args[0]} is of no search result of its shard") from error


def _rows(table: pa.Table, *columns: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[column].to_pylist() for column in columns), strict=True)


def host_of(url: str) -> str:
    """The host that a URL names, in lower case; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _marks(values: Iterable[str]) -> npt.NDArray[np.uint64]:
    """64 bits of each value's hash: two of 3,000,000 values share them once in 4,000,000 collections."""
    return np.frombuffer(
        b"".join(hashlib.blake2b(value.encode(), digest_size=8).digest() for value in values), np.uint64
    )


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(column.drop_null()).to_pylist()}


def _went_on(counts: Mapping[str, int], which: str) -> tuple[int, dict[str, int]]:
    return counts.get(which, 0), _sorted({reason: count for reason, count in counts.items() if reason != which})


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _largest_first(groups: Mapping[str, Group]) -> dict[str, Group]:
    return dict(sorted(groups.items(), key=lambda item: (-item[1].crops, -item[1].results, item[0])))


def _unbalanced(what: str) -> IntegrityError:
    return IntegrityError(
        f"the accounts do not balance: {what}",
        hint="run the command that collects once more; if that does not help, please report this with the command",
    )
