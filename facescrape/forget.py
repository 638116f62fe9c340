"""Forget: URLs or a person in; their pictures, crops and shard entries gone, and never fetched again.

What somebody asks to have removed leaves every arrow of "names → URLs → photographs → boxes → crops", and what
de-duplication made of it. The archive remembers URLs and hashes, a list beside it the people: they stay away. It can be
asked for at any time, so tables are read as far as they are written, finished or not.
"""

import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facescrape.archive import Archive
from facescrape.names.people import forgotten_people, write_forgotten_people
from facescrape.photos import ARCHIVE
from pipelines.errors import ConfigError
from pipelines.manifest import MANIFEST_NAME, Manifest
from pipelines.shards import remove_records
from pipelines.stage import ENTRIES

NAMES, URLS, PHOTOS, CROPS = "names/names.parquet", "urls/*.urls.parquet", "photos/*.photos.parquet", "crops/*.parquet"
CLEAN, PAGES = "clean", "report"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be forgotten: URLs of photographs, and the people (their URIs) of whom all goes."""

    urls: frozenset[str]
    people: frozenset[str]


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed: how many URLs, photographs and crops, and the names of folders that are to be made again.

    ``near`` are URLs of near-duplicates that remain.
    """

    urls: int
    pictures: int
    crops: int
    folders: tuple[str, ...]
    near: tuple[str, ...]


def find_wanted(root: Path, urls: Iterable[str], people: Iterable[str]) -> Wanted:
    """Look up what a request names, in the tables below ``root``.

    Args:
        root: of the collection.
        urls: of a photograph, as searched or as redirected to, or of the page that shows it.
        people: names, in any case, or DBpedia URIs.

    Raises:
        ConfigError: the collection has no such URL, or no such person.
    """
    found: set[str] = set()
    for url in urls:
        known = _select(root, URLS, ["url", "page"], url) | _select(root, PHOTOS, ["url", "final_url"], url)
        if not known:
            raise ConfigError(
                f"{url} is not in the collection below {root}",
                hint="give the URL of the picture or of its page, as the attribution page or urls/*.parquet has it",
            )
        found |= known
    uris: set[str] = set()
    names = [row for path in root.glob(NAMES) for row in pq.read_table(path, columns=["person", "name"]).to_pylist()]
    for person in people:
        matching = {
            row["person"] for row in names if person.casefold() in {row["person"].casefold(), row["name"].casefold()}
        }
        if not matching:
            raise ConfigError(
                f"nobody in {root / NAMES} is called {person!r}",
                hint="give the name as the attribution page has it, or the DBpedia URI",
            )
        uris |= matching
    for uri in uris:
        found |= _select(root, URLS, ["person"], uri)
    return Wanted(frozenset(found), frozenset(uris))


def _select(root: Path, tables: str, columns: list[str], value: str) -> set[str]:
    """URLs of the rows that have ``value`` in one of the columns."""
    found: set[str] = set()
    for path in root.glob(tables):
        table = pq.read_table(path, columns=sorted({"url", *columns}))
        for column in columns:
            found.update(table.filter(pc.equal(table[column], pa.scalar(value, pa.string())))["url"].to_pylist())
    return found


def remove(root: Path, dataset_folder: Path, wanted: Wanted, *, also_duplicates: bool = False) -> Removal:
    """Remove pictures wherever they are, and remember: URLs, bytes and people never come back.

    May be repeated after a kill. A finished collection's tables and shards are brought in order by
    `facescrape.collection.cut_faces` afterwards.

    Args:
        root: of the collection.
        dataset_folder: what de-duplication and training made of its crops.
        wanted: by `find_wanted`.
        also_duplicates: whether near-duplicates go too.
    """
    pictures = _pictures_of(root, wanted.urls)
    remaining = _near_duplicates_of(dataset_folder, _crops_of(root, pictures))
    if also_duplicates:
        wanted = replace(wanted, urls=wanted.urls | _urls_of_crops(root, remaining))
        pictures, remaining = _pictures_of(root, wanted.urls), set()
    crops, near = _crops_of(root, pictures), _urls_of_crops(root, remaining)
    write_forgotten_people(root, forgotten_people(root) | wanted.people)
    with Archive(root / ARCHIVE) as archive:
        archive.forget(wanted.urls, pictures)
    for shards in (dataset_folder / CLEAN, root / "crops"):  # these last: they say which crops are meant
        _remove_from_shards(shards, crops)
    shutil.rmtree(root / PAGES, ignore_errors=True)
    folders = _remove_derived(dataset_folder)
    return Removal(len(wanted.urls), len(pictures), len(crops), tuple(folders), tuple(sorted(near)))


def _pictures_of(root: Path, urls: Collection[str]) -> set[str]:
    """SHA-256 of the photographs that URLs brought."""
    wanted, pictures = pa.array(sorted(urls), pa.string()), set()
    for path in root.glob(PHOTOS):
        table = pq.read_table(path, columns=["url", "sha256"])
        pictures.update(table.filter(pc.is_in(table["url"], wanted))["sha256"].drop_null().to_pylist())
    return pictures


def _crops_of(root: Path, pictures: Iterable[str]) -> set[str]:
    """Keys of the crops that were cut from photographs (SHA-256)."""
    wanted, keys = pa.array(sorted(pictures), pa.string()), set()
    for path in root.glob(CROPS):
        table = pq.read_table(path, columns=["key", "photo_sha256"])
        keys.update(table.filter(pc.is_in(table["photo_sha256"], wanted))["key"].to_pylist())
    return keys


def _near_duplicates_of(dataset_folder: Path, keys: set[str]) -> set[str]:
    """Keys that de-duplication put into the same groups, themselves left out; none where it has not run."""
    path = dataset_folder / "duplicates.parquet"
    if not path.exists():
        return set()
    rows = pq.read_table(path, columns=["key", "kept_key"]).to_pylist()
    keepers = {row["kept_key"] for row in rows if {row["key"], row["kept_key"]} & keys}
    groups = [{row["key"], row["kept_key"]} for row in rows if row["kept_key"] in keepers]
    return set().union(*groups) - keys


def _urls_of_crops(root: Path, keys: set[str]) -> set[str]:
    """URLs of the photographs that crops were cut from."""
    urls: set[str] = set()
    for path in root.glob(CROPS):
        table = pq.read_table(path, columns=["key", "url"])
        urls.update(table.filter(pc.is_in(table["key"], pa.array(sorted(keys), pa.string())))["url"].to_pylist())
    return urls


def _remove_from_shards(folder: Path, keys: set[str]) -> None:
    """Write a stage's finished shards anew without some crops; nothing to do where there are none."""
    if (folder / MANIFEST_NAME).exists():
        remove_records(Manifest.load(folder), keys)


def _remove_derived(dataset_folder: Path) -> list[str]:
    """Remove what de-duplication and training made of the crops, but for the clean shards and trained models.

    Thumbnails, codes, packed pixels and pages show or stand for the pictures, and are made again from the shards by the
    commands that made them.

    Returns:
        The names of the folders that were removed.
    """
    stages = {path.parent for made in (MANIFEST_NAME, ENTRIES) for path in dataset_folder.glob(f"*/{made}")}
    derived = stages | {dataset_folder / "packed", dataset_folder / PAGES}
    removed = sorted(folder.name for folder in derived if folder.exists() and folder.name != CLEAN)
    for name in removed:
        shutil.rmtree(dataset_folder / name)
    return removed
