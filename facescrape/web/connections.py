"""Connections of requests and urllib3 that are dialled by a function of ours, which may refuse a host.

A function (host, port, timeout in seconds) → socket goes in, an adapter for `requests.Session.mount` comes out:
`wire` makes sessions of it, on which all arrows of "names → URLs → photographs → boxes → crops" stand that
touch the network. Written against urllib3's documented classes (https://urllib3.readthedocs.io/en/stable/reference).
"""

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.poolmanager import PoolManager

CONNECT_TIMEOUT_S = 30.0  # where the caller gives none

_PORTS = {"http": 80, "https": 443}

Dial = Callable[[str, int, float], socket.socket]
OnSocket = Callable[[socket.socket], None]

logging.getLogger("urllib3").setLevel(logging.ERROR)  # a host that speaks bad HTTP is a row in a table, not a message


class DialledAdapter(HTTPAdapter):
    """An adapter whose connections are dialled.

    TLS certificates are verified against the URL's host, whatever a request's ``verify`` says. An error of requests
    that ``dial`` raises comes out as it is.
    """

    def __init__(
        self, dial: Dial, encrypts: bool, on_socket: OnSocket, *, hosts: int, connections_per_host: int
    ) -> None:
        """Make the pools.

        Args:
            dial: opens a connection to a host.
            encrypts: whether https is spoken with TLS.
            on_socket: is told the socket before each use of it, TLS handshakes included.
            hosts: that idle connections are kept of; the least recently used are closed.
            connections_per_host: idle connections kept per host.
        """
        self._dial, self._on_socket = dial, on_socket
        self._tls = _open_tls_context(on_socket) if encrypts else None
        super().__init__(pool_connections=hosts, pool_maxsize=connections_per_host)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Called by the base class."""
        self.poolmanager = _Pools(self._dial, self._on_socket, self._tls, connections, maxsize)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the pools as they are: they verify, and loading certificates would cost more than a request."""

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """The pool of a request's host, straight away: neither proxies nor a request's own TLS settings count."""
        parts = urlsplit(str(request.url))
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        key: Any = (parts.scheme, host, port)  # urllib3's own key takes longer to make, of settings that are all alike
        context = {"scheme": parts.scheme, "host": host, "port": port}
        pool: HTTPConnectionPool = self.poolmanager.connection_from_pool_key(key, context)
        return pool

    def build_response(self, request: requests.PreparedRequest, answer: Any) -> requests.Response:
        """An answer as requests has it, but for cookies, which we do not keep."""
        response = requests.Response()
        response.request, response.raw, response.connection = request, answer, self
        response.status_code, response.reason, response.url = answer.status, answer.reason, request.url or ""
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers)
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        return response

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """What stands in the request's first line; there is no proxy that would want more."""
        return request.path_url

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, never through a proxy."""
        try:
            return super().send(request, stream, timeout)
        except _Refused as refused:
            (error,) = refused.args
            error.request = request
            raise error from refused.__cause__


class _Refused(Exception):
    """Carries an error of ``dial`` past urllib3, which wraps those that it knows; ``args[0]`` is the error."""


class _Dialled(HTTPConnection):
    def __init__(self, dial: Dial, on_socket: OnSocket, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dial, self._on_socket = dial, on_socket

    def _new_conn(self) -> socket.socket:
        timeout_s = self.timeout if isinstance(self.timeout, int | float) else CONNECT_TIMEOUT_S
        try:
            connection = self._dial(self._dns_host, self.port, timeout_s)
        except requests.RequestException as error:
            raise _Refused(error) from error.__cause__
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} within {timeout_s:g} s") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection to {self.host}: {error}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_socket(connection)
        return connection

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:  # of an earlier request
            self._on_socket(self.sock)
        super().request(*arguments, **options)


class _DialledTls(_Dialled, HTTPSConnection):
    """With TLS."""


class _DialledInClear(_Dialled):
    """For https without TLS."""

    default_port = 443  # type: ignore[misc]  # as in urllib3


class _PoolInClear(HTTPConnectionPool):
    scheme = "https"


class _Pools(PoolManager):
    """Makes pools of dialled connections."""

    def __init__(
        self, dial: Dial, on_socket: OnSocket, tls: ssl.SSLContext | None, hosts: int, connections_per_host: int
    ) -> None:
        super().__init__(hosts)
        self._dial, self._on_socket, self._tls = dial, on_socket, tls
        self._connections_per_host = connections_per_host

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        connection: type[_Dialled] = _Dialled
        pool: HTTPConnectionPool
        if scheme == "http":
            pool = HTTPConnectionPool(host, port, maxsize=self._connections_per_host)
        elif self._tls is None:
            pool, connection = _PoolInClear(host, port, maxsize=self._connections_per_host), _DialledInClear
        else:
            pool, connection = (
                HTTPSConnectionPool(
                    host,
                    port,
                    maxsize=self._connections_per_host,
                    ssl_context=self._tls,
                    cert_reqs="CERT_REQUIRED",
                ),
                _DialledTls,
            )
        pool.ConnectionCls = partial(connection, self._dial, self._on_socket)  # type: ignore[assignment]
        return pool


def _open_tls_context(on_socket: OnSocket) -> ssl.SSLContext:
    """One context for all hosts: to load the authorities' certificates takes longer than a request."""

    class Tls(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            on_socket(self)  # it has taken the plain socket's place
            super().do_handshake(block)

    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = Tls
    return context
