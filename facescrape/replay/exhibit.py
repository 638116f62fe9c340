"""Exhibit: a photograph that hangs somewhere on the replayed web: its URL, what providers say of it, and the truth."""

import hashlib
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from facescrape.replay.misbehaviour import Kind
from facescrape.replay.pictures import Recipe

UPLOADS = "upload.wikimedia.org"
HOSTS = 40  # of photographs, besides
PRIVATE_FOLDER = "private/"  # what robots.txt closes, where there is one

# https://creativecommons.org/licenses/
_CC = "https://creativecommons.org"


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence: as Openverse codes it and its version, as Commons calls it, and its URL."""

    code: str
    version: str
    name: str
    url: str


LICENCES = (
    Licence("by-sa", "4.0", "CC BY-SA 4.0", f"{_CC}/licenses/by-sa/4.0/"),
    Licence("by", "2.0", "CC BY 2.0", f"{_CC}/licenses/by/2.0/"),
    Licence("by-sa", "3.0", "CC BY-SA 3.0", f"{_CC}/licenses/by-sa/3.0/"),
    Licence("cc0", "1.0", "CC0", f"{_CC}/publicdomain/zero/1.0/"),
    Licence("pdm", "1.0", "Public domain", f"{_CC}/publicdomain/mark/1.0/"),
)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A photograph at a URL.

    Attributes:
        url: where it is.
        page: where a person can look at it.
        title: of the page.
        licence: of the photograph.
        author: who made it.
        names: whom it shows, as they are searched for.
        kind: how the URL behaves.
        recipe: of the picture; None where nobody ever gets it.
        what: original, group (of two people), exact (the same bytes elsewhere), or one of
            `facescrape.replay.pictures.ALTERATIONS`.
        copy_of: the URL of the picture that it is an exact or near duplicate of; "" for originals.
    """

    url: str
    page: str
    title: str
    licence: Licence
    author: str
    names: tuple[str, ...]
    kind: Kind
    recipe: Recipe | None
    what: str = "original"
    copy_of: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Host and path."""
        parts = urlsplit(self.url)
        return parts.netloc, parts.path


def hang(
    names: tuple[str, ...],
    number: int,
    recipe: Recipe,
    author: str,
    *,
    kind: Kind = Kind.FINE,
    what: str = "original",
    copy_of: str = "",
) -> Exhibit:
    """Give a photograph a place, which follows from the first name and the number.

    Every third of those that behave hangs at Wikimedia; some hosts are for some kinds of misbehaviour alone.
    """
    slug = "-".join(_fold(names[0]).split())
    suffix = recipe.key[recipe.key.rfind(".") :]
    file_name = f"{names[0]} {number:03d}{suffix}".replace(" ", "_")
    digest = hashlib.md5(file_name.encode(), usedforsecurity=False).digest()
    if kind is Kind.FINE and digest[1] % 3 == 0:
        # https://www.mediawiki.org/wiki/Manual:$wgHashedUploadDirectory
        url = f"https://{UPLOADS}/wikipedia/commons/{digest.hex()[0]}/{digest.hex()[:2]}/{quote(file_name)}"
        page = f"https://commons.wikimedia.org/wiki/File:{quote(file_name)}"
    else:
        host = _HOSTS.get(kind) or f"photos-{digest[2] % HOSTS:02d}.example"
        scheme = "http" if digest[2] % 5 == 0 else "https"
        folder = PRIVATE_FOLDER if kind is Kind.ROBOTS_PATH else ""
        url = f"{scheme}://{host}/{folder}{slug}/{number:03d}{suffix}"
        page = f"{scheme}://{host}/{slug}/{number:03d}.html"
    title = f"{' and '.join(names)}, {1990 + digest[3] % 35}"
    licence = LICENCES[digest[4] % len(LICENCES)]
    return Exhibit(url, page, title, licence, author, names, kind, recipe if kind.has_picture else None, what, copy_of)


_HOSTS = {
    Kind.REDIRECT: "moved.example",
    Kind.SLOW: "slow.example",
    Kind.ROBOTS_HOST: "closed.example",
    Kind.ROBOTS_PATH: "half-closed.example",
    Kind.ROBOTS_US: "closed-to-us.example",
    Kind.TDM_POLICY: "reserved.example",
    Kind.BROKEN_HOST: "broken.example",
    Kind.UNRESOLVED: "photos.invalid",  # RFC 6761, 6.4
}


def _fold(name: str) -> str:
    """ASCII letters in lower case."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
