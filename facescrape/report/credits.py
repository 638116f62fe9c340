"""Credits: the tables of a collection in; for each photograph that a crop was cut from, whom to thank and how, out.

Stands at the end of "names → URLs → photographs → boxes → crops". Photographs come in the order of their people.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facescrape.report.accounts import Tables, host_of
from facescrape.status import Status
from pipelines.errors import IntegrityError

TEXT_LENGTH = 200  # of a title or an author, which may be of any length on the web
LINK_LENGTH = 2000

_LINK = re.compile(r"https?://[^\s\x00-\x20\x7f]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credit:
    """One photograph: where it is from, as the first search result that brought it says. Links are http or https.

    Attributes:
        sha256: of the photograph's bytes.
        person: who was searched for, and ``name`` what the person is called.
        keys: of the crops that were cut from it.
    """

    sha256: str
    person: str
    name: str
    person_link: str | None
    link: str | None
    page_link: str | None
    title: str | None
    author: str | None
    licence: str | None
    licence_link: str | None
    provider: str
    host: str
    keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Entry:
    """Where a person or a photograph stands on the attribution pages: what a link to it says, and where it goes."""

    name: str
    link: str
    photographs: int = 1


@dataclass(frozen=True, slots=True)
class Directory:
    """Where credits stand: how many pages and photographs there are; every person; the photographs asked for."""

    pages: int
    photographs: int
    people: Sequence[Entry]
    entries: Mapping[str, Entry]


def read_credits(tables: Tables, shard: str, pictures: Collection[str] | None = None) -> list[Credit]:
    """Credits of one shard's photographs, in the order of its search results.

    Args:
        tables: of the collection.
        shard: its name.
        pictures: sha256 of the photographs wanted; None: those with crops.

    Raises:
        IntegrityError: one of them was not downloaded from a search result of this shard.
    """
    keys: dict[str, list[str]] = {}
    for row in tables.read("crops", shard, "key", "photo_sha256").to_pylist():
        keys.setdefault(row["photo_sha256"], []).append(row["key"])
    wanted = keys.keys() if pictures is None else pictures
    photos = tables.read("photos", shard, "url", "status", "sha256")
    photos = photos.filter(pc.and_(pc.equal(photos["status"], Status.OK), _is_in(photos["sha256"], wanted)))
    urls: dict[str, str] = {}
    for row in photos.to_pylist():
        urls.setdefault(row["sha256"], row["url"])
    pictures_by_url = {url: sha256 for sha256, url in urls.items()}
    columns = ["url", "person", "name", "provider", "page", "title", "licence", "licence_url", "author"]
    results = tables.read("urls", shard, *columns)
    credits: dict[str, Credit] = {}
    for row in results.filter(_is_in(results["url"], pictures_by_url)).to_pylist():
        sha256 = pictures_by_url[row["url"]]
        if sha256 not in credits:
            credits[sha256] = _credit(row, sha256, keys.get(sha256, []))
    if len(credits) != len(wanted):
        raise IntegrityError(
            f"{len(wanted) - len(credits):,} photographs of shard {shard} in {tables.root} have no search result",
            hint="run: python -m facescrape.run faces",
        )
    return list(credits.values())


def iterate_pages(tables: Tables, per_page: int) -> Iterator[list[tuple[str, Credit]]]:
    """All credits, page by page, each with its shard's name. The pages are full but for the last; none is empty."""
    credits = ((shard, credit) for shard in tables.shards for credit in read_credits(tables, shard))
    while page := list(islice(credits, per_page)):
        yield page


def read_directory(tables: Tables, wanted: Collection[str], per_page: int) -> Directory:
    """Go through all credits once, to know where everybody's begin, and where the ``wanted`` photographs stand."""
    people: dict[str, Entry] = {}
    entries: dict[str, Entry] = {}
    number = photographs = 0
    for number, page in enumerate(iterate_pages(tables, per_page), start=1):
        photographs += len(page)
        for heading, credits in enumerate(group_by_person(credit for _, credit in page), start=1):
            first = credits[0]
            if first.person in people:  # goes on from an earlier page
                people[first.person].photographs += len(credits)
            else:
                people[first.person] = Entry(first.name, f"{page_name(number)}#{heading}", len(credits))
            for credit in credits:
                if credit.sha256 in wanted:
                    entries[credit.sha256] = Entry(credit.name, f"{page_name(number)}#{credit.sha256}")
    return Directory(number, photographs, list(people.values()), entries)


def group_by_person(credits: Iterable[Credit]) -> list[list[Credit]]:
    """Credits of each person together, in the order in which the people first come."""
    groups: dict[str, list[Credit]] = {}
    for credit in credits:
        groups.setdefault(credit.person, []).append(credit)
    return list(groups.values())


def safe_link(url: str | None) -> str | None:
    """``url`` where a page may link to it: http or https, without blanks, of bounded length. None otherwise."""
    return url if url is not None and len(url) <= LINK_LENGTH and _LINK.fullmatch(url) else None


def page_name(page: int) -> str:
    """File name of the attribution page of a number, from 1."""
    return "attribution.html" if page == 1 else f"attribution-{page}.html"


def _credit(row: Mapping[str, Any], sha256: str, keys: Iterable[str]) -> Credit:
    return Credit(
        sha256=sha256,
        person=row["person"],
        name=_clip(row["name"]) or "somebody",
        person_link=safe_link(row["person"]),
        link=safe_link(row["url"]),
        page_link=safe_link(row["page"]),
        title=_clip(row["title"]),
        author=_clip(row["author"]),
        licence=_clip(row["licence"]),
        licence_link=safe_link(row["licence_url"]),
        provider=row["provider"],
        host=_clip(host_of(row["url"])) or "",
        keys=tuple(keys),
    )


def _clip(text: str | None) -> str | None:
    """One line of bounded length; None where it says nothing."""
    line = " ".join((text or "").split())
    return (line if len(line) <= TEXT_LENGTH else line[: TEXT_LENGTH - 1] + "…") or None


def _is_in(column: pa.ChunkedArray, values: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(list(values), pa.string()))
