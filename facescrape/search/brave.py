"""Brave: an index of the web of its own, with a key. A provider of "names → URLs".

https://api-dashboard.search.brave.com/api-reference/images/image_search: at most 200 results a query, without paging.
Licences and authors are not known to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from facescrape.names.people import Person
from facescrape.search.base import Result, quote_name, read_size, read_text
from facescrape.web.client import Answer, ApiClient, Limit, Service
from pipelines.errors import ConfigError
from pipelines.manifest import digest_of

API = "https://api.search.brave.com/res/v1/images/search"
KEY_VARIABLE = "BRAVE_API_KEY"
MAX_RESULTS = 200
MAX_QUERY_CHARS = 400

SERVICE = Service(
    name="Brave",
    limits=(Limit(1, 1.1),),  # the smallest plan allows one request a second
    if_unanswered="choose another provider with --provider",
    if_refused=f"check the key in {KEY_VARIABLE} and its plan at https://api-dashboard.search.brave.com",
)


@dataclass(frozen=True, slots=True)
class Brave:
    """Brave's image search.

    Attributes:
        client: asks it.
        key: of the user's subscription.
    """

    name: ClassVar[str] = "brave"

    client: ApiClient
    key: str = field(repr=False)

    def digest(self) -> str:
        """SHA-256 (hex) of the address."""
        return digest_of([API])

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """Results by rank, 200 at most; see `facescrape.search.base.SearchProvider`."""
        answer = self.client.get_json(
            API,
            {
                "q": quote_name(person.name[: MAX_QUERY_CHARS - 2]),
                "count": min(count, MAX_RESULTS),
                "spellcheck": "false",  # or a rare name becomes a common one
            },
            headers={"X-Subscription-Token": self.key, "Accept": "application/json"},
            examine=_examine,
        )
        with self.client.reading(API):
            results = [_read(result) for result in answer["results"] if result.get("properties", {}).get("url")]
        yield from results


def _examine(answer: Answer) -> None:
    """Brave says 422 where the key is not valid."""
    if answer.status == 422 and b"TOKEN" in answer.body.upper():
        raise ConfigError(f"Brave refuses the key in {KEY_VARIABLE}", hint=SERVICE.if_refused)


def _read(result: Mapping[str, Any]) -> Result:
    """https://api-dashboard.search.brave.com/app/documentation/image-search/responses."""
    image = result["properties"]
    return Result(
        url=image["url"],
        page=read_text(result.get("url")),
        title=read_text(result.get("title")),
        width=read_size(image.get("width")),
        height=read_size(image.get("height")),
    )
