"""SearXNG: what a user's own instance gathers from many search engines. A provider of "names → URLs".

https://docs.searxng.org/dev/search_api.html. Licences and authors are not known to it.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from facescrape.names.people import Person
from facescrape.search.base import Result, quote_name, read_size, read_text
from facescrape.web.client import ApiClient, Limit, Service
from pipelines.manifest import digest_of

MAX_PAGES = 20

logger = logging.getLogger(__name__)

# The instance is the user's; the engines behind it, which it asks for each page, are not.
SERVICE = Service(
    name="SearXNG",
    limits=(Limit(1, 2.0),),
    if_unanswered="check that your instance runs",
    if_refused="let your instance answer in JSON: add json to search.formats in its settings.yml",
)


@dataclass(frozen=True, slots=True)
class SearXng:
    """The image search of an instance.

    Attributes:
        url: the instance's, without /search.
        client: asks it.
    """

    name: ClassVar[str] = "searxng"

    url: str
    client: ApiClient

    def digest(self) -> str:
        """SHA-256 (hex) of the instance's address."""
        return digest_of([self.url])

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """Results by rank, until a page brings nothing new; see `facescrape.search.base.SearchProvider`."""
        api = f"{self.url.rstrip('/')}/search"
        seen: set[str] = set()
        for number in range(1, MAX_PAGES + 1):
            query: dict[str, str | int] = {"q": quote_name(person.name), "categories": "images", "format": "json"}
            answer = self.client.get_json(api, {**query, "pageno": number})
            with self.client.reading(api):
                results = [_read(result) for result in answer["results"] if result.get("img_src")]
                silent = [str(engine[0]) for engine in answer.get("unresponsive_engines", [])]
            fresh = [result for result in results if result.url not in seen]
            if not fresh:
                if silent and not seen:
                    logger.warning("nobody found for %s; %s did not answer", person.name, ", ".join(silent))
                return
            seen.update(result.url for result in fresh)
            yield from fresh


def _read(result: Mapping[str, Any]) -> Result:
    """https://docs.searxng.org/dev/result_types/main/image.html."""
    image = str(result["img_src"])
    width, height = _read_resolution(result.get("resolution"))
    return Result(
        url=f"https:{image}" if image.startswith("//") else image,
        page=read_text(result.get("url")),
        title=read_text(result.get("title")),
        author=read_text(result.get("author")),
        width=width,
        height=height,
    )


def _read_resolution(value: object) -> tuple[int | None, int | None]:
    """Pixels of "1920 x 1080" and the like, as each engine writes it."""
    match = (
        re.match(r"\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})", value, re.IGNORECASE | re.ASCII)
        if isinstance(value, str)
        else None
    )
    return (read_size(int(match[1])), read_size(int(match[2]))) if match else (None, None)
