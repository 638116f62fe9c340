"""People: who is searched for. A list of names that a user has goes in; rows of `facescrape.tables.NAMES` come out.

Stands at the beginning of "names → URLs → photographs → boxes → crops".
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from facescrape.names.lists import read_rows
from facescrape.tables import NAMES
from pipelines.errors import ConfigError
from pipelines.store import write_atomically

FORGOTTEN_NAME = "forgotten.json"


@dataclass(frozen=True, slots=True)
class Person:
    """A row of `facescrape.tables.NAMES`, which says what its columns are."""

    person: str
    name: str
    birth_date: str | None = None
    page: str | None = None
    thumbnail: str | None = None
    links: int | None = None


def merge_people(people: Iterable[Person]) -> list[Person]:
    """One row per person, the most linked first, ties by ``person``.

    Of several rows the one with the earliest birth date counts, ties by name, with the highest number of links.
    """
    merged: dict[str, Person] = {}
    for row in sorted(people, key=_precedence):
        first = merged.setdefault(row.person, row)
        if (row.links or 0) > (first.links or 0):
            merged[row.person] = replace(first, links=row.links)
    return sorted(merged.values(), key=lambda row: (-(row.links or 0), row.person))


def _precedence(row: Person) -> tuple[str, str, bool, int, str, str]:
    return row.birth_date or "9999", row.name, row.links is None, -(row.links or 0), row.page or "", row.thumbnail or ""


def strip_disambiguation(label: str) -> str:
    """The name in a title of Wikipedia: "John Smith" of "John Smith (actor)".

    https://en.wikipedia.org/wiki/Wikipedia:Article_titles#Disambiguation
    """
    label = " ".join(label.split())
    return re.sub(r" \([^()]*\)$", "", label) or label


def read_names(path: Path) -> tuple[Person, ...]:
    """Read a user's list: a name per line, or CSV, TSV or parquet with the columns of `facescrape.tables.NAMES`.

    Only the column ``name`` is required. Who has no ``person`` is ``name:NAME``. A person's first row counts.

    Raises:
        ConfigError: the file is missing, cannot be read, or holds no names; or a value is none of its column.
    """
    people: dict[str, Person] = {}
    for where, row in read_rows(path, "name"):
        person = _read_person(f"{path}, {where}", row)
        people.setdefault(person.person, person)
    return tuple(people.values())


def _read_person(where: str, row: Mapping[str, str | None]) -> Person:
    name = " ".join((row["name"] or "").split())
    if not name:
        raise ConfigError(f"{where}: there is no name", hint="remove the row, or give it a name")
    birth_date, links = row.get("birth_date"), row.get("links")
    try:
        if birth_date is not None:
            birth_date = datetime.date.fromisoformat(birth_date).isoformat()
    except ValueError as error:
        raise ConfigError(
            f"{where}: {birth_date!r} is no birth date", hint="write YYYY-MM-DD, or leave it empty"
        ) from error
    if links is not None and not (links.isascii() and links.isdecimal() and len(links) < 19):
        raise ConfigError(f"{where}: {links!r} is no number of links", hint="write a whole number, or leave it empty")
    return Person(
        row.get("person") or f"name:{name}",
        name,
        birth_date,
        row.get("page"),
        row.get("thumbnail"),
        int(links) if links is not None else None,
    )


def write_people(people: Sequence[Person], path: Path) -> None:
    """Write a table of the columns `facescrape.tables.NAMES`."""
    pq.write_table(pa.Table.from_pylist([asdict(person) for person in people], NAMES), path)


def load_people(path: Path) -> list[Person]:
    """Read what `write_people` wrote."""
    rows: list[dict[str, Any]] = pq.read_table(path, schema=NAMES).to_pylist()
    return [Person(**row) for row in rows]


def forgotten_people(root: Path) -> frozenset[str]:
    """Who is never searched for again: the ``person`` of each, as noted below a collection's folder."""
    try:
        return frozenset(json.loads((root / FORGOTTEN_NAME).read_bytes())["people"])
    except FileNotFoundError:
        return frozenset()


def write_forgotten_people(root: Path, people: Iterable[str]) -> None:
    """Note who is never searched for again."""
    write_atomically(root / FORGOTTEN_NAME, json.dumps({"people": sorted(people)}, indent=1).encode())
