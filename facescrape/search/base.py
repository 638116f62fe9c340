"""SearchProvider: where URLs of photographs come from. A person goes in, results by rank come out.

The arrow "names → URLs" of "names → URLs → photographs → boxes → crops". What all providers share stands here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from facescrape.names.people import Person

MAX_URL_CHARS = 4096
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f]+\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Result:
    """A photograph that a provider names; `facescrape.tables.URLS` says what its columns are."""

    url: str
    page: str | None = None
    title: str | None = None
    licence: str | None = None
    licence_url: str | None = None
    author: str | None = None
    width: int | None = None
    height: int | None = None


class SearchProvider(Protocol):
    """A source of results. A frozen dataclass."""

    name: ClassVar[str]

    def digest(self) -> str:
        """SHA-256 (hex) of what decides its results: never of keys or rates."""
        ...

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """Results by rank, asked for page by page as they are taken, until the provider has or gives no more.

        Args:
            person: whom they are to show.
            count: how many will be taken at most, for pages of a fitting size; more may come.

        Raises:
            DownloadError: the provider does not answer.
            ConfigError: it refuses us.
        """
        ...


def quote_name(name: str) -> str:
    """The query for a name: in quotes, so that all of it must occur, in this order."""
    return '"' + " ".join(name.replace('"', " ").split()) + '"'


def is_web_address(url: object) -> bool:
    """Whether it is an http or https URL, not absurdly long."""
    return isinstance(url, str) and len(url) <= MAX_URL_CHARS and _WEB_ADDRESS.fullmatch(url) is not None


def read_text(value: object) -> str | None:
    """A provider's text on one line; None where it is none."""
    if not isinstance(value, str):
        return None
    return " ".join(value.encode("utf-8", "replace").decode().split()) or None  # JSON may hold half a surrogate pair


def read_size(value: object) -> int | None:
    """A provider's width or height in pixels; None where it is none."""
    return value if isinstance(value, int) and 0 < value < 1 << 31 else None
