"""The replayed search providers: a name that is searched for in, the photographs of that person out, page by page.

Each answers in the form that its provider publishes, within the provider's bounds. All of them know all photographs,
those of Commons too, where in truth all would hang at Wikimedia.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from facescrape.replay.exhibit import UPLOADS, Exhibit
from facescrape.replay.message import NOT_FOUND, Answer, Request, as_json, text
from facescrape.replay.world import World

SEARXNG = "https://searx.example"  # the instance that is played
BRAVE_KEY = "replay"  # the key that is accepted

_COMMONS_MOST = 500  # https://www.mediawiki.org/wiki/API:Search
_OPENVERSE_PAGE, _OPENVERSE_PAGES = 20, 12  # of who has no key
_SEARXNG_PAGE = 35
_BRAVE_MOST = 200


def answer_commons(world: World, request: Request) -> Answer:
    """https://www.mediawiki.org/wiki/API:Search as a generator, with https://www.mediawiki.org/wiki/API:Imageinfo."""
    query = request.query
    if request.path != "/w/api.php":
        return NOT_FOUND
    wanted = {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "generator": "search",
        "gsrnamespace": "6",
        "prop": "imageinfo",
    }
    for parameter, needed in wanted.items():
        if query.get(parameter) != needed:
            return _commons_error("badvalue", f'Unrecognized value for parameter "{parameter}".')
    limit, offset, width = (
        _number(query, name, default) for name, default in (("gsrlimit", 10), ("gsroffset", 0), ("iiurlwidth", -1))
    )
    if limit is None or offset is None or width is None:
        return _commons_error("badinteger", "Invalid value for an integer parameter.")
    end = offset + max(1, min(limit, _COMMONS_MOST))
    found = _search(world, query.get("gsrsearch", ""), r"\s+filetype:bitmap")
    pages = [_commons_page(world, exhibit, rank, width) for rank, exhibit in enumerate(found[offset:end], offset + 1)]
    value: dict[str, Any] = {"batchcomplete": True}
    if end < len(found):
        value["continue"] = {"gsroffset": end, "continue": "gsroffset||"}
    if pages:
        value["query"] = {"pages": sorted(pages, key=lambda page: int(page["pageid"]))}  # not by rank
    return as_json(value)


def _commons_error(code: str, info: str) -> Answer:
    """https://www.mediawiki.org/wiki/API:Errors_and_warnings."""
    return as_json({"error": {"code": code, "info": info}}, 200, ("MediaWiki-API-Error", code))


def _commons_page(world: World, exhibit: Exhibit, rank: int, thumbnail_width: int) -> dict[str, Any]:
    width, height = world.darkroom.size(exhibit.recipe)
    info: dict[str, Any] = {"size": _size_bytes(world, exhibit), "width": width, "height": height, "url": exhibit.url}
    if 0 < thumbnail_width < width and exhibit.recipe is not None and exhibit.place[0] == UPLOADS:
        info["thumburl"] = thumbnail_url(exhibit.url, thumbnail_width)
        info |= {"thumbwidth": thumbnail_width, "thumbheight": max(1, round(height * thumbnail_width / width))}
    elif thumbnail_width > 0:
        info |= {"thumburl": exhibit.url, "thumbwidth": width, "thumbheight": height}
    author = (
        f'<a href="https://commons.wikimedia.org/wiki/User:{exhibit.author.replace(" ", "_")}">{exhibit.author}</a>'
    )
    metadata = {"LicenseShortName": exhibit.licence.name, "LicenseUrl": exhibit.licence.url, "Artist": author}
    info["descriptionurl"] = exhibit.page
    info["extmetadata"] = {name: {"value": value, "source": "commons-desc-page"} for name, value in metadata.items()}
    file_name = unquote(exhibit.place[1].rpartition("/")[2]).replace("_", " ")
    title = file_name if exhibit.place[0] == UPLOADS else f"{exhibit.title} {file_name}"
    return {"pageid": _number_of(exhibit), "ns": 6, "title": f"File:{title}", "index": rank, "imageinfo": [info]}


def thumbnail_url(url: str, width: int) -> str:
    """Where Wikimedia keeps a thumbnail of a file: .../commons/thumb/a/ab/X.jpg/1920px-X.jpg."""
    file_name = url.rpartition("/")[2]
    return f"{url.replace('/commons/', '/commons/thumb/', 1)}/{width}px-{file_name}"


def answer_openverse(world: World, request: Request) -> Answer:
    """https://api.openverse.org/v1/#tag/images."""
    if request.path != "/v1/images/":
        return NOT_FOUND
    query = request.query
    page, page_size = _number(query, "page", 1), _number(query, "page_size", _OPENVERSE_PAGE)
    if page is None or page_size is None or min(page, page_size) < 1:
        return as_json({"detail": {"page": ["Invalid input."]}}, 400)
    if page_size > _OPENVERSE_PAGE or page > _OPENVERSE_PAGES:
        return as_json({"detail": "Authentication credentials were not provided."}, 401)
    found = _search(world, query.get("q", ""))
    pages = min(-(-len(found) // page_size), _OPENVERSE_PAGES)
    shown = found[(page - 1) * page_size : page * page_size]
    value = {
        "result_count": len(found),
        "page_count": pages,
        "page_size": page_size,
        "page": page,
        "results": [_openverse_result(world, exhibit) for exhibit in shown],
    }
    return as_json(value)


def _openverse_result(world: World, exhibit: Exhibit) -> dict[str, Any]:
    width, height = world.darkroom.size(exhibit.recipe)
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, exhibit.url)),
        "title": exhibit.title,
        "url": exhibit.url,
        "foreign_landing_url": exhibit.page,
        "creator": exhibit.author,
        "license": exhibit.licence.code,
        "license_version": exhibit.licence.version,
        "license_url": exhibit.licence.url,
        "width": width,
        "height": height,
    }


def answer_searxng(world: World, request: Request) -> Answer:
    """https://docs.searxng.org/dev/search_api.html."""
    query = request.query
    if request.path != "/search":
        return NOT_FOUND
    if query.get("format") != "json":
        return text("Forbidden", 403)
    page = _number(query, "pageno", 1)
    if page is None or page < 1 or not query.get("q"):
        return text("Invalid settings", 400)
    found = _search(world, query["q"]) if query.get("categories") == "images" else []
    shown = found[(page - 1) * _SEARXNG_PAGE : page * _SEARXNG_PAGE]
    value = {
        "query": query["q"],
        "number_of_results": 0,
        "results": [_searxng_result(world, exhibit) for exhibit in shown],
        "unresponsive_engines": [],
    }
    return as_json(value)


def _searxng_result(world: World, exhibit: Exhibit) -> dict[str, Any]:
    """https://docs.searxng.org/dev/result_types/main/image.html."""
    width, height = world.darkroom.size(exhibit.recipe)
    return {
        "template": "images.html",
        "url": exhibit.page,
        "title": exhibit.title,
        "img_src": exhibit.url,
        "resolution": f"{width} x {height}",
        "author": exhibit.author,
    }


def answer_brave(world: World, request: Request) -> Answer:
    """https://api-dashboard.search.brave.com/api-reference/images/image_search."""
    query = request.query
    if request.path != "/res/v1/images/search":
        return NOT_FOUND
    if request.headers.get("x-subscription-token") != BRAVE_KEY:
        return _brave_error("SUBSCRIPTION_TOKEN_INVALID", "The provided subscription token is invalid.")
    count = _number(query, "count", 50)
    if count is None or not 1 <= count <= _BRAVE_MOST or not query.get("q"):
        return _brave_error("VALIDATION", "Unable to validate request parameter(s)")
    found = _search(world, query["q"])[:count]
    value = {
        "type": "images",
        "query": {"original": query["q"], "spellcheck_off": query.get("spellcheck") == "false"},
        "results": [_brave_result(world, exhibit) for exhibit in found],
    }
    return as_json(value)


def _brave_error(code: str, detail: str) -> Answer:
    return as_json({"type": "ErrorResponse", "error": {"code": code, "detail": detail, "status": 422}}, 422)


def _brave_result(world: World, exhibit: Exhibit) -> dict[str, Any]:
    width, height = world.darkroom.size(exhibit.recipe)
    return {
        "type": "image_result",
        "title": exhibit.title,
        "url": exhibit.page,
        "source": exhibit.place[0],
        "thumbnail": {"src": exhibit.url, "width": width, "height": height},
        "properties": {"url": exhibit.url, "width": width, "height": height},
    }


PROVIDERS: Mapping[str, Callable[[World, Request], Answer]] = {
    "commons.wikimedia.org": answer_commons,
    "api.openverse.org": answer_openverse,
    str(urlsplit(SEARXNG).hostname): answer_searxng,
    "api.search.brave.com": answer_brave,
}


def _search(world: World, words: str, operators: str = "") -> Sequence[Exhibit]:
    """The photographs for a name in quotes."""
    asked = re.fullmatch(rf'"([^"]+)"{operators}', words.strip())
    return world.search(asked[1]) if asked else []


def _number(query: Mapping[str, str], name: str, default: int) -> int | None:
    """A parameter that is a whole number; None where it is none."""
    value = query.get(name)
    if value is None:
        return default
    return int(value) if re.fullmatch(r"\d{1,9}", value, re.ASCII) else None


def _number_of(exhibit: Exhibit) -> int:
    """A number that is a photograph's own."""
    return int.from_bytes(hashlib.sha256(exhibit.url.encode()).digest()[:4]) >> 1


def _size_bytes(world: World, exhibit: Exhibit) -> int:
    return len(world.darkroom.content(exhibit.recipe)) if exhibit.recipe is not None else 0
