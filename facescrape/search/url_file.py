"""UrlFile: a user's own list of URLs in the place of a search. A provider of "names → URLs".

Text with a URL per line, or CSV, TSV or parquet with a column ``url`` and any of ``person``, ``name``, ``page``,
``title``, ``licence``, ``licence_url``, ``author``, ``width`` and ``height``, as in `facescrape.tables.URLS`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from facescrape.names.lists import Row, read_rows
from facescrape.names.people import Person
from facescrape.search.base import Result, is_web_address, read_size
from pipelines.errors import ConfigError
from pipelines.manifest import digest_of
from pipelines.store import hash_file

UNKNOWN = "unknown"  # the name of whoever a URL without a name shows


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A list of URLs.

    Attributes:
        sha256: of the file.
        listed: by ``person``, whom they show and the URLs, in the order of the file.
    """

    name: ClassVar[str] = "file"

    sha256: str
    listed: Mapping[str, tuple[Person, Sequence[Result]]] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ConfigError: it is missing, cannot be read, has no URLs, or something that is no http or https URL.
        """
        listed: dict[str, tuple[Person, list[Result]]] = {}
        for where, row in read_rows(path, "url"):
            person, result = _read(f"{path}, {where}", row)
            listed.setdefault(person.person, (person, []))[1].append(result)
        return cls(hash_file(path), listed)

    @property
    def people(self) -> tuple[Person, ...]:
        """Whom the URLs show, in their order: to be the names of a collection that has no other."""
        return tuple(person for person, _ in self.listed.values())

    def digest(self) -> str:
        """SHA-256 (hex) of the file's."""
        return digest_of([self.sha256])

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """The URLs of a person, who is found by ``person`` or else by name, in the order of the file."""
        found = self.listed.get(person.person) or self.listed.get(f"name:{person.name}")
        return iter(found[1] if found else ())


def _read(where: str, row: Row) -> tuple[Person, Result]:
    url = row["url"]
    if url is None or not is_web_address(url):
        raise ConfigError(f"{where}: {url!r} is no URL", hint="URLs begin with http:// or https://")
    name = " ".join((row.get("name") or UNKNOWN).split())
    result = Result(
        url=url,
        page=row.get("page"),
        title=row.get("title"),
        licence=row.get("licence"),
        licence_url=row.get("licence_url"),
        author=row.get("author"),
        width=_read_number(row.get("width")),
        height=_read_number(row.get("height")),
    )
    return Person(row.get("person") or f"name:{name}", name), result


def _read_number(value: str | None) -> int | None:
    return read_size(int(value)) if value is not None and value.isascii() and value.isdecimal() else None
