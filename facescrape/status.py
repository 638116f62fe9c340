"""Status: what became of a URL. A closed list, so that every URL has one and a table of counts says it all."""

from enum import StrEnum


class Status(StrEnum):
    """How fetching one URL ended."""

    OK = "ok"
    NOT_FOUND = "not_found"  # 404, 410
    FORBIDDEN = "forbidden"  # 401, 402, 403, 451
    REFUSED = "refused"  # any other answer of the 400s
    SERVER_ERROR = "server_error"  # 500s, and answers that are no HTTP
    RATE_LIMITED = "rate_limited"  # 429, or 503 with a Retry-After longer than we wait
    ROBOTS = "robots"  # robots.txt forbids it
    ROBOTS_UNREACHABLE = (
        "robots_unreachable"  # robots.txt could not be read, which forbids everything (RFC 9309, 2.3.1.4)
    )
    OPTED_OUT = "opted_out"  # X-Robots-Tag or TDM-Reservation
    BAD_URL = "bad_url"  # not http or https, no host, or with user:password@
    PRIVATE_ADDRESS = "private_address"  # the host, or one that it redirects to, is not on the public internet
    UNRESOLVED = "unresolved"  # the name has no address
    UNREACHABLE = "unreachable"  # no connection, or it broke
    TLS_ERROR = "tls_error"  # the certificate is not valid for the host
    TIMEOUT = "timeout"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TOO_LARGE = "too_large"  # more bytes than the cap, as sent or as decompressed
    TOO_MANY_PIXELS = "too_many_pixels"
    NOT_AN_IMAGE = "not_an_image"  # by its content type, or by its first bytes
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"  # the image lacks its end
    FORGOTTEN = "forgotten"  # somebody asked for its removal; it is never fetched again

    @property
    def is_transient(self) -> bool:
        """Whether another try, some other day, may end otherwise: what ``--retry-failed`` tries again."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        Status.SERVER_ERROR,
        Status.RATE_LIMITED,
        Status.ROBOTS_UNREACHABLE,
        Status.UNRESOLVED,
        Status.UNREACHABLE,
        Status.TLS_ERROR,
        Status.TIMEOUT,
        Status.TRUNCATED,
    }
)
