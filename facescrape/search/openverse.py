"""Openverse: openly licensed photographs from many collections, no key. A provider of "names → URLs".

https://api.openverse.org/v1/: who has no key gets 20 results a page, 240 a query, and 20 requests a minute, 200 a day.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from facescrape.names.people import Person
from facescrape.search.base import Result, quote_name, read_size, read_text
from facescrape.web.client import ApiClient, Limit, Service
from pipelines.manifest import digest_of

API = "https://api.openverse.org/v1/images/"
PAGE_RESULTS = 20
MAX_PAGES = 12

SERVICE = Service(
    name="Openverse",
    limits=(Limit(20, 60.0), Limit(200, 86_400.0)),
    if_unanswered="choose another provider with --provider",
    if_refused="it may have had too many requests from here: wait a day, or choose another provider with --provider",
)

_NAMES = {"cc0": "CC0", "pdm": "Public Domain Mark"}  # the rest is called "CC BY-SA" and so on


@dataclass(frozen=True, slots=True)
class Openverse:
    """The image search of Openverse."""

    name: ClassVar[str] = "openverse"

    client: ApiClient

    def digest(self) -> str:
        """SHA-256 (hex) of the address."""
        return digest_of([API])

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """Results by rank, 240 at most; see `facescrape.search.base.SearchProvider`."""
        for number in range(1, MAX_PAGES + 1):
            parameters: dict[str, str | int] = {"q": quote_name(person.name), "page": number, "page_size": PAGE_RESULTS}
            answer = self.client.get_json(API, parameters)
            with self.client.reading(API):
                results = [_read(result) for result in answer["results"]]
                is_last = number >= int(answer["page_count"])
            yield from results
            if is_last:
                return


def _read(result: Mapping[str, Any]) -> Result:
    return Result(
        url=result["url"],
        page=read_text(result.get("foreign_landing_url")),
        title=read_text(result.get("title")),
        licence=name_licence(result["license"], result.get("license_version")),
        licence_url=read_text(result.get("license_url")),
        author=read_text(result.get("creator")),
        width=read_size(result.get("width")),
        height=read_size(result.get("height")),
    )


def name_licence(code: str, version: str | None) -> str:
    """What people call a licence that Openverse calls "by-sa", "4.0": "CC BY-SA 4.0"."""
    return f"{_NAMES.get(code) or f'CC {code.upper()}'} {version or ''}".rstrip()
