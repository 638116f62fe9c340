"""Wikimedia Commons: photographs with licence and author, no key. The default provider of "names → URLs".

https://www.mediawiki.org/wiki/API:Search and https://www.mediawiki.org/wiki/API:Imageinfo, asked by the rules of
https://www.mediawiki.org/wiki/API:Etiquette: in series, as one request per page of results, with maxlag, compressed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, ClassVar

from facescrape.names.people import Person
from facescrape.search.base import Result, quote_name, read_size, read_text
from facescrape.web.client import Answer, ApiClient, Limit, Service, TryAgain
from pipelines.errors import DownloadError
from pipelines.manifest import digest_of

API = "https://commons.wikimedia.org/w/api.php"
PAGE_RESULTS = 50
MAX_REQUESTS = 200  # per person: the search goes no further than 10,000 results
MAX_LAG_S = 5  # by https://www.mediawiki.org/wiki/Manual:Maxlag_parameter

# Originals of Commons have 10 MB and more, of which a face set needs little. A thumbnail of a standard width is on
# their disks already (https://www.mediawiki.org/wiki/Common_thumbnail_sizes), so asking for it is the kinder thing.
THUMBNAIL_WIDTH = 1920

# https://www.mediawiki.org/wiki/Wikimedia_APIs/Rate_limits: who says whom to write to may ask 200 times a minute. Who
# does not may ask 10 times, and is told to wait by 429 and Retry-After.
SERVICE = Service(
    name="Wikimedia Commons",
    limits=(Limit(3, 1.0),),
    if_unanswered="choose another provider with --provider",
    if_refused="Wikimedia asks for an address in the user agent: give yours with --contact",
)


@dataclass(frozen=True, slots=True)
class Commons:
    """The search of Wikimedia Commons among its bitmaps."""

    name: ClassVar[str] = "commons"

    client: ApiClient

    def digest(self) -> str:
        """SHA-256 (hex) of the address and what is asked for there."""
        return digest_of([API, THUMBNAIL_WIDTH])

    def search(self, person: Person, count: int) -> Iterator[Result]:
        """Results by rank; see `facescrape.search.base.SearchProvider`."""
        parameters: dict[str, str | int] = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "maxlag": MAX_LAG_S,
            "generator": "search",
            "gsrsearch": f"{quote_name(person.name)} filetype:bitmap",
            "gsrnamespace": 6,  # File
            "gsrlimit": min(count, PAGE_RESULTS),
            "prop": "imageinfo",
            "iiprop": "url|size|extmetadata",
            "iiextmetadatafilter": "LicenseShortName|LicenseUrl|Artist",
            "iiurlwidth": THUMBNAIL_WIDTH,
        }
        pages: dict[int, dict[str, Any]] = {}
        go_on: dict[str, str | int] = {}
        for _ in range(MAX_REQUESTS):
            answer = self.client.get_json(API, parameters | go_on, examine=_examine)
            results: list[Result] = []
            with self.client.reading(API):
                for page in answer.get("query", {}).get("pages", []):
                    pages.setdefault(page["pageid"], {}).update(page)
                # The same pages may come again with more of their properties: https://www.mediawiki.org/wiki/API:Continue
                if answer.get("batchcomplete"):
                    results = [_read(page) for page in sorted(pages.values(), key=_rank) if page.get("imageinfo")]
                    pages = {}
                go_on = dict(answer.get("continue", {}))
            yield from results
            if not go_on:
                return


def _examine(answer: Answer) -> None:
    """Errors come with status 200 (https://www.mediawiki.org/wiki/API:Errors_and_warnings)."""
    if answer.status != 200 or "MediaWiki-API-Error" not in answer.headers:
        return
    code = answer.headers["MediaWiki-API-Error"]
    if code in {"maxlag", "ratelimited", "readonly"} or code.startswith("internal_api_error"):
        raise TryAgain(f"it says {code}")
    raise DownloadError(
        f"Wikimedia Commons does not answer what it is asked at {API} (it says {code})",
        hint=f"try later, or {SERVICE.if_unanswered}",
    )


def _rank(page: Mapping[str, Any]) -> int:
    return int(page["index"])


def _read(page: Mapping[str, Any]) -> Result:
    image = page["imageinfo"][0]
    metadata = image.get("extmetadata", {})
    url, width, height = image["url"], image["width"], image["height"]
    if width > THUMBNAIL_WIDTH and image.get("thumburl"):
        url, width, height = image["thumburl"], image["thumbwidth"], image["thumbheight"]
    return Result(
        url=url,
        page=read_text(image["descriptionurl"]),
        title=read_text(page["title"].removeprefix("File:")),
        licence=_plain(metadata, "LicenseShortName"),
        licence_url=_plain(metadata, "LicenseUrl"),
        author=_plain(metadata, "Artist"),
        width=read_size(width),
        height=read_size(height),
    )


def _plain(metadata: Mapping[str, Any], field: str) -> str | None:
    """The text of a field, which is HTML (https://www.mediawiki.org/wiki/Extension:CommonsMetadata)."""
    value = metadata.get(field, {}).get("value")
    if not isinstance(value, str):
        return None
    reader = _TextReader()
    reader.feed(value)
    reader.close()
    return read_text("".join(reader.text))


class _TextReader(HTMLParser):
    """Gathers what a person would see."""

    _VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
    _BLOCKS = frozenset({"br", "div", "li", "p", "td", "tr"})

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._hidden_depth = 0  # of elements that are open and not shown

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS:
            self.text.append(" ")
        style = (dict(attributes).get("style") or "").replace(" ", "").lower()
        is_hidden = tag in {"script", "style"} or "display:none" in style
        if tag not in self._VOID and (self._hidden_depth or is_hidden):
            self._hidden_depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID and self._hidden_depth:
            self._hidden_depth -= 1

    def handle_data(self, data: str) -> None:
        if not self._hidden_depth:
            self.text.append(data)
