"""Services on the loopback interface that answer as a test says, and a clock that only sleeping moves."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from facescrape.web.client import ApiClient, Service
from facescrape.web.wire import Replay


@dataclass
class Asked:
    """A request as it came."""

    url: str  # without its query
    query: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Say:
    """An answer. Its body is JSON, or bytes as they are; ``length`` is what the headers claim, if not the truth."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


HANG_UP = Say(status=0)
Answering = Callable[[Asked], Say]


@dataclass
class FakeTime:
    """Seconds that pass by sleeping alone."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@dataclass
class Services:
    """All services of the web, played by one server."""

    port: int
    asked: list[Asked]
    time: FakeTime

    def client(self, service: Service, **options: Any) -> ApiClient:
        usual = {"sleep": self.time.sleep, "clock": self.time.clock, "jitter": lambda: 0.0}
        return ApiClient(Replay(("127.0.0.1", self.port)), "tests/1 (nobody)", service, **(usual | options))


@contextmanager
def play(answer: Answering) -> Iterator[Services]:
    """Serve every host with ``answer``."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer takes 40 ms

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            request = Asked(f"{self.headers['Host']}{parts.path}", dict(parse_qsl(parts.query)), self.headers)
            asked.append(request)
            say = answer(request)
            if say is HANG_UP:
                self.close_connection = True
                return
            self.send_response(say.status)
            named = {"Content-Type": "application/json", "Content-Length": str(len(say.content))} | say.headers
            if say.length is not None:
                named["Content-Length"] = str(say.length)
                self.close_connection = True
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who asked may have hung up
                self.wfile.write(say.content)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Services(server.server_port, asked, FakeTime())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def in_turn(*answers: Say) -> Answering:
    """Each answer once, the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
