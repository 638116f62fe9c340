"""Guard: requests in; those of the person who started the review through, and every answer with what keeps it theirs.

A page on loopback can be reached by every program of the machine and, through the browser, by every site that it shows.
So a request must name the host that was served (a site that rebinds its name to 127.0.0.1 does not), carry the token
that only the person was given, and, where it changes anything, come from a page of this server. Bodies are bounded.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY_BYTES = 32 << 20
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
ASK = "Open the address that python -m dedup.review has printed: it holds the token of this review."


class Guard:
    """An ASGI application around another, which just sees the requests that may be answered."""

    def __init__(self, app: App, hosts: frozenset[str], token: str) -> None:
        """Guard an application.

        Args:
            app: the application.
            hosts: what requests may give as their host, with the port: ``127.0.0.1:8765``.
            token: what they must carry: in the address at first, in a cookie from then on.
        """
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b"," + value if name in headers else value  # two hosts are none
        host = headers.get(b"host", b"").decode("latin-1")
        cookie = f"cleanshards_{host.rpartition(':')[2]}"
        changes = scope["method"] not in {"GET", "HEAD"}
        if host not in self._hosts:
            await _answer(send, 421, f"This server is not {host}.")
        elif changes and headers.get(b"origin", b"").decode("latin-1") != f"http://{host}":
            await _answer(send, 403, "Changes are taken from this server's own pages alone.")
        elif not self._is_known(headers, cookie):
            await self._admit(scope, send, cookie)
        elif b"transfer-encoding" in headers:
            await _answer(send, 411, "Say how long the upload is.")
        elif int(headers.get(b"content-length", b"0")) > LARGEST_BODY_BYTES:
            await _answer(send, 413, f"An upload may have {LARGEST_BODY_BYTES >> 20} MiB.")
        else:
            await self._app(scope, receive, _decorated(send))

    def _is_known(self, headers: dict[bytes, bytes], cookie: str) -> bool:
        try:
            sent = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        return cookie in sent and secrets.compare_digest(sent[cookie].value.encode(), self._token.encode())

    async def _admit(self, scope: Scope, send: Send, cookie: str) -> None:
        """Put the token of the address into a cookie, and lead to the address without it."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        given = dict(query).get("token", "")
        if scope["method"] != "GET" or not secrets.compare_digest(given.encode(), self._token.encode()):
            await _answer(send, 401, ASK)
            return
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash at the beginning: a path of two would name another host.
        path = "/" + scope["raw_path"].decode("latin-1").lstrip("/").partition("?")[0]
        await _answer(
            send,
            303,
            "",
            ("location", path + (f"?{rest}" if rest else "")),
            ("set-cookie", f"{cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"),
        )


def _decorated(send: Send) -> Send:
    async def decorated(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            added += [] if b"cache-control" in known else [(b"cache-control", b"no-store")]
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return decorated


async def _answer(send: Send, status: int, text: str, *headers: tuple[str, str]) -> None:
    body = text.encode()
    sent = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", **HEADERS, **dict(headers)}
    sent["content-length"] = str(len(body))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
