"""Wire: how every byte of facescrape reaches a host. A host name goes in, a connection that may be used comes out.

All arrows of "names → URLs → photographs → boxes → crops" that touch the network stand on a `Wire`; it is the one seam
where tests and the replay world put loopback servers in the place of the internet, so that the URLs, and the checks of
the addresses behind them, stay the real ones.

A connection is opened to the very address that was checked: the name is resolved once per connection, so one that
changes its address between the check and the connection gains nothing.
"""

import hashlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Protocol

import requests

from facescrape.web.connections import DialledAdapter, OnSocket

PRODUCT = "cleanshards"  # what robots.txt and X-Robots-Tag call us


class Wire(Protocol):
    """How names become addresses, and addresses connections."""

    @property
    def encrypts(self) -> bool:
        """Whether https is spoken with TLS."""
        ...

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host, numeric.

        Raises:
            OSError: it has none.
        """
        ...

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Connect to a numeric address.

        Raises:
            TimeoutError: it took longer.
            OSError: it could not be done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Internet:
    """The system's resolver and its network."""

    encrypts: bool = True

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host, as the system's resolver gives them."""
        return _look_up(host, port)

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Connect to an address."""
        return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True, slots=True)
class Replay:
    """One loopback server plays every host; https is spoken in the clear.

    Names resolve to a made-up public address, a numeric host (in whatever spelling) and localhost to what they mean,
    ``*.invalid`` (RFC 6761, 6.4) to nothing.
    """

    server: tuple[str, int]  # a loopback address and a port
    encrypts: bool = False

    def __post_init__(self) -> None:
        if not ipaddress.ip_address(self.server[0]).is_loopback:
            raise ValueError(f"{self.server[0]} is no loopback address")

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """The address that a host would have."""
        name = host.lower().rstrip(".")
        if ":" in name or re.fullmatch(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}", name):
            return _look_up(host, port)  # needs no name server
        if name == "localhost" or name.endswith(".localhost"):
            return ["127.0.0.1"]
        if name == "invalid" or name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, f"{host} has no address")
        return [".".join(map(str, [93, *hashlib.sha256(name.encode()).digest()[:3]]))]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Connect to the loopback server, whatever the address."""
        return socket.create_connection(self.server, timeout_s)


class PrivateAddress(requests.ConnectionError):
    """The host, or one of its addresses, is not on the public internet."""


class Unresolved(requests.ConnectionError):
    """The host's name has no address; ``may_pass`` where the resolver says that this may be for now only."""

    may_pass = False


def is_public(address: str) -> bool:
    """Whether a numeric address is a host's on the public internet.

    By IANA's special-purpose registries (https://www.iana.org/assignments/iana-ipv4-special-registry,
    https://www.iana.org/assignments/iana-ipv6-special-registry) as `ipaddress` knows them. An IPv6 address that leads
    to an IPv4 one (mapped, 6to4 of RFC 3056, NAT64 of RFC 6052) is as public as that one; all others outside the one
    block that is given to hosts, 2000::/3, are not.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    inner = ip.ipv4_mapped or ip.sixtofour
    if ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if inner is not None:
        return is_public(str(inner))
    return ip.scope_id is None and ip in _HOSTS_OF_IPV6 and ip.is_global  # Teredo lies within 2001::/23: not global


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOSTS_OF_IPV6 = ipaddress.IPv6Network("2000::/3")


def user_agent(contact: str | None) -> str:
    """How we introduce ourselves, in the form of RFC 9110, 10.1.5: product, version and whom to write to."""
    whom = contact or "no contact given"
    printable = "".join(c for c in whom if c.isascii() and c.isprintable() and c not in "()\\")
    return f"{PRODUCT}/{version(PRODUCT)} (collects a set of face pictures; {printable})"


def open_session(
    wire: Wire,
    user_agent: str,
    *,
    public_only: bool = True,
    connections_per_host: int = 2,
    hosts: int = 16,
    on_socket: OnSocket | None = None,
) -> requests.Session:
    """A session of requests whose connections all go through a wire. It may be used by several threads.

    It knows no proxies, no ``.netrc`` and keeps no cookies. TLS certificates are verified against the URL's host.

    Args:
        wire: resolves and connects.
        user_agent: sent with every request.
        public_only: refuse hosts any of whose addresses is not `is_public`.
        connections_per_host: idle connections kept per host.
        hosts: that idle connections are kept of; the least recently used are closed.
        on_socket: is told the socket before each use of it, TLS handshakes included.

    Its requests raise, besides what requests documents:
        PrivateAddress: a host is not public, with ``public_only``.
        Unresolved: a host has no address.
    """
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = user_agent
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    dial = partial(_dial, wire, public_only)
    adapter = DialledAdapter(
        dial, wire.encrypts, on_socket or _ignore, hosts=hosts, connections_per_host=connections_per_host
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _ignore(_: socket.socket) -> None:
    """The `OnSocket` of those who do not watch."""


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _dial(wire: Wire, public_only: bool, host: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to the first address of a host that answers; ``timeout_s`` is for each."""
    try:
        addresses = wire.resolve(host, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name server would take
        unresolved = Unresolved(f"{host} has no address: {error}")
        unresolved.may_pass = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        raise unresolved from error
    if not addresses:
        raise Unresolved(f"{host} has no address")
    if public_only and not all(map(is_public, addresses)):
        raise PrivateAddress(f"{host} is not on the public internet: {', '.join(addresses)}")
    failures = []
    for address in addresses:
        try:
            return wire.connect(address, port, timeout_s)
        except OSError as error:
            failures.append(error)
    raise failures[-1]
