"""The replayed hosts of photographs: what each says to robots, and how each of its URLs behaves or misbehaves."""

import re
from urllib.parse import unquote

import numpy as np

from facescrape.replay.exhibit import PRIVATE_FOLDER, UPLOADS, Exhibit
from facescrape.replay.message import NOT_FOUND, Answer, Request, as_json, text
from facescrape.replay.misbehaviour import Kind
from facescrape.replay.world import World
from facescrape.web.wire import PRODUCT
from pipelines.headers import read_header
from pipelines.images import ImageRejected
from pipelines.planting import encode_image

TOO_LARGE_BYTES = 40_000_000

# RFC 9309 (https://www.rfc-editor.org/rfc/rfc9309). A host without one allows everything.
_ROBOTS = f"User-agent: *\nDisallow: /{PRIVATE_FOLDER}\n"
_ROBOTS_OF = {
    "closed.example": "User-agent: *\nDisallow: /\n",
    "closed-to-us.example": f"User-agent: *\nAllow: /\n\nUser-agent: {PRODUCT}\nDisallow: /\n",
}
# https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/
_POLICY_OF = {"reserved.example": [{"location": "/", "tdm-reservation": 1}]}
_MOVED_TO = "elsewhere.example"
_PRIVATE = ("http://169.254.169.254/latest/meta-data/", "https://10.0.0.7/photo.jpg", "http://[::1]/photo.jpg")
_OPT_OUTS = {
    Kind.NOAI: ("X-Robots-Tag", "noai"),
    Kind.NOIMAGEAI: ("X-Robots-Tag", "nofollow, noimageai"),
    Kind.NOINDEX: ("X-Robots-Tag", "noindex"),
    Kind.TDM_HEADER: ("TDM-Reservation", "1"),
}
_TYPED_JPEG = (("Content-Type", "image/jpeg"),)
_HTML = b"<!DOCTYPE html><html><head><title>Photo</title></head><body>Please log in to see this photo.</body></html>"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><circle cx="320" cy="240" r="99"/></svg>'
_TINY = encode_image(np.full((8, 8, 3), 200, np.uint8), ".png")
_THUMBNAIL = re.compile(r"(/wikipedia/commons)/thumb(/./../([^/]+))/(\d{1,5})px-([^/]+)")


def answer_photograph(world: World, request: Request) -> Answer | None:
    """What the host of a photograph answers; None: it hangs up."""
    host, path = request.host, request.path
    if host == "broken.example":
        return None
    if path == "/robots.txt":
        has_none = re.fullmatch(r"photos-.[37]\.example", host)
        return NOT_FOUND if has_none else text(_ROBOTS_OF.get(host, _ROBOTS))
    if path == "/.well-known/tdmrep.json" and host in _POLICY_OF:
        return as_json(_POLICY_OF[host])
    if host == UPLOADS and (asked := _THUMBNAIL.fullmatch(path)):
        return _answer_thumbnail(world, asked)
    if host == _MOVED_TO:
        exhibit = world.find("moved.example", path)
        return _show(world, exhibit) if exhibit is not None else NOT_FOUND
    exhibit = world.find(host, path)
    return _answer_exhibit(world, exhibit, request) if exhibit is not None else NOT_FOUND


def _answer_exhibit(world: World, exhibit: Exhibit, request: Request) -> Answer | None:
    misbehaviour = world.misbehaviour
    match exhibit.kind:
        case Kind.REDIRECT:
            return _redirect(f"https://{_MOVED_TO}{request.path}")
        case Kind.SLOW:
            shown = _show(world, exhibit)
            return Answer(shown.status, shown.body, shown.headers, delay_s=misbehaviour.slow_s)
        case Kind.BUSY if request.number == 1:
            return text("Service Unavailable", 503)
        case Kind.TOO_MANY if request.number == 1:
            return Answer(429, b"Too Many Requests", (("Retry-After", str(misbehaviour.retry_after_s)),))
        case Kind.TINY:
            return Answer(200, _TINY, (("Content-Type", "image/png"),))
        case Kind.NOT_FOUND | Kind.UNRESOLVED:
            return NOT_FOUND
        case Kind.GONE:
            return text("Gone", 410)
        case Kind.FORBIDDEN:
            return text("Forbidden", 403)
        case Kind.NOAI | Kind.NOIMAGEAI | Kind.NOINDEX | Kind.TDM_HEADER:
            shown = _show(world, exhibit)
            return Answer(shown.status, shown.body, (*shown.headers, _OPT_OUTS[exhibit.kind]))
        case Kind.PRIVATE_REDIRECT:
            return _redirect(_PRIVATE[len(exhibit.url) % len(_PRIVATE)])
        case Kind.LOOP:
            return _redirect(request.target)
        case Kind.HTML:
            return Answer(200, _HTML, _TYPED_JPEG)
        case Kind.SVG:
            return Answer(200, _SVG, (("Content-Type", "image/svg+xml"),))
        case Kind.TRUNCATED:
            shown = _show(world, exhibit)
            return Answer(shown.status, shown.body[: len(shown.body) * 2 // 3], shown.headers)
        case Kind.TOO_LARGE:
            return Answer(200, b"\xff\xd8\xff\xe0", _TYPED_JPEG, length_bytes=TOO_LARGE_BYTES)
        case Kind.HANGS_UP | Kind.BROKEN_HOST:
            return None
        case _:
            return _show(world, exhibit)


def _show(world: World, exhibit: Exhibit) -> Answer:
    assert exhibit.recipe is not None  # kinds without one do not come here
    content = world.darkroom.content(exhibit.recipe)
    try:
        kind = f"image/{read_header(content).format}"
    except ImageRejected:
        kind = "application/octet-stream"
    return Answer(200, content, (("Content-Type", kind),))


def _answer_thumbnail(world: World, asked: re.Match[str]) -> Answer:
    exhibit = world.find(UPLOADS, asked[1] + asked[2])
    if exhibit is None or exhibit.recipe is None or unquote(asked[3]) != unquote(asked[5]):
        return NOT_FOUND
    width = int(asked[4])
    if not 0 < width < world.darkroom.size(exhibit.recipe)[0]:
        return text("Bad Request", 400)
    return Answer(200, world.darkroom.thumbnail(exhibit.recipe, width), _TYPED_JPEG)


def _redirect(target: str) -> Answer:
    return Answer(301, b"", (("Location", target),))
