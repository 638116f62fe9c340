"""Misbehaviour: the ways in which a photograph on the web is not simply there, and what a fetcher must make of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from facescrape.status import Status


class Kind(StrEnum):
    """How a URL behaves."""

    FINE = "fine"
    REDIRECT = "redirect"  # to the photograph
    SLOW = "slow"  # but comes
    BUSY = "busy"  # 503 once
    TOO_MANY = "too_many"  # 429 once, with a Retry-After
    TINY = "tiny"
    NOT_FOUND = "not_found"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    ROBOTS_HOST = "robots_host"
    ROBOTS_PATH = "robots_path"
    ROBOTS_US = "robots_us"  # by the name of our product
    NOAI = "noai"
    NOIMAGEAI = "noimageai"
    NOINDEX = "noindex"
    TDM_HEADER = "tdm_header"
    TDM_POLICY = "tdm_policy"  # in the host's tdmrep.json
    PRIVATE_REDIRECT = "private_redirect"
    LOOP = "loop"
    HTML = "html"  # that calls itself a JPEG
    SVG = "svg"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    HANGS_UP = "hangs_up"
    BROKEN_HOST = "broken_host"  # hangs up whatever it is asked for
    UNRESOLVED = "unresolved"

    @property
    def status(self) -> Status:
        """How fetching it must end."""
        return _STATUSES.get(self, Status.OK)

    @property
    def has_picture(self) -> bool:
        """Whether who asks in spite of all gets the photograph, or a part of it."""
        return self not in _WITHOUT_PICTURE


_STATUSES: Mapping[Kind, Status] = {
    Kind.NOT_FOUND: Status.NOT_FOUND,
    Kind.GONE: Status.NOT_FOUND,
    Kind.FORBIDDEN: Status.FORBIDDEN,
    Kind.ROBOTS_HOST: Status.ROBOTS,
    Kind.ROBOTS_PATH: Status.ROBOTS,
    Kind.ROBOTS_US: Status.ROBOTS,
    Kind.NOAI: Status.OPTED_OUT,
    Kind.NOIMAGEAI: Status.OPTED_OUT,
    Kind.NOINDEX: Status.OPTED_OUT,
    Kind.TDM_HEADER: Status.OPTED_OUT,
    Kind.TDM_POLICY: Status.OPTED_OUT,
    Kind.PRIVATE_REDIRECT: Status.PRIVATE_ADDRESS,
    Kind.LOOP: Status.TOO_MANY_REDIRECTS,
    Kind.HTML: Status.NOT_AN_IMAGE,
    Kind.SVG: Status.UNSUPPORTED_FORMAT,
    Kind.TRUNCATED: Status.TRUNCATED,
    Kind.TOO_LARGE: Status.TOO_LARGE,
    Kind.HANGS_UP: Status.UNREACHABLE,
    Kind.BROKEN_HOST: Status.ROBOTS_UNREACHABLE,
    Kind.UNRESOLVED: Status.UNRESOLVED,
}
_WITHOUT_PICTURE = frozenset(
    {
        *(Kind.TINY, Kind.NOT_FOUND, Kind.GONE, Kind.FORBIDDEN, Kind.PRIVATE_REDIRECT, Kind.LOOP, Kind.HTML, Kind.SVG),
        *(Kind.TOO_LARGE, Kind.HANGS_UP, Kind.BROKEN_HOST, Kind.UNRESOLVED),
    }
)


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How much of the web misbehaves.

    Attributes:
        share: of the photographs without a planted copy; those with one behave, so that the copies can be found.
        kinds: in turn.
        slow_s: what slow hosts wait.
        retry_after_s: what 429 asks for.
    """

    share: float = 0.22
    kinds: tuple[Kind, ...] = tuple(kind for kind in Kind if kind is not Kind.FINE)
    slow_s: float = 0.5
    retry_after_s: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"the share must be in [0, 1]: {self}")
        if not self.kinds:
            raise ValueError("there must be a kind of misbehaviour")
        if min(self.slow_s, self.retry_after_s) < 0:
            raise ValueError(f"waits must not be negative: {self}")

    def choose(self, turn: int, chance: float) -> Kind:
        """The kind of one photograph; ``chance`` is a number of [0, 1) that is its own."""
        return self.kinds[turn % len(self.kinds)] if chance < self.share else Kind.FINE


USUAL = Misbehaviour()
BEHAVED = Misbehaviour(0.0)
