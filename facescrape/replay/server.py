"""The server of the replay world: plays every host on one loopback port, by the Host header of HTTP/1.1.

Connections are kept alive and looked after by one event loop; answers are made one after the other in one more thread,
so that a picture that has to be rendered first holds up no connection but those that wait for an answer.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from facescrape.replay import virtuoso
from facescrape.replay.hosts import answer_photograph
from facescrape.replay.message import Answer, Request, text
from facescrape.replay.providers import PROVIDERS
from facescrape.replay.world import World
from facescrape.web.wire import Replay

LOOPBACK = "127.0.0.1"
_MOST_HEADER_BYTES = 1 << 16
_CHUNK = bytes(1 << 16)
_BACKLOG = 1024


def answer(world: World, request: Request) -> Answer | None:
    """What the host of a request answers; None: it hangs up."""
    if request.host == virtuoso.HOST:
        return world.virtuoso.answer(world.resources, request)
    if request.host in PROVIDERS:
        return PROVIDERS[request.host](world, request)
    return answer_photograph(world, request)


@dataclass(slots=True)
class ReplayServer:
    """A world that is being served.

    Attributes:
        address: where it listens.
        requests: how often each (host, path) was asked for.
        most_at_once: the most requests that each host had at the same time.
    """

    address: tuple[str, int]
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)

    @property
    def wire(self) -> Replay:
        """The wire that leads every URL here."""
        return Replay(self.address)


@contextmanager
def serve(world: World, port: int = 0, *, latency_s: float = 0.0) -> Iterator[ReplayServer]:
    """Serve a world on the loopback interface for as long as the block lasts.

    Args:
        world: is answered for by one thread of this process.
        port: 0: any that is free.
        latency_s: before each answer.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="replay", daemon=True)
    thread.start()
    try:
        with ThreadPoolExecutor(1, "replay") as worker:
            host = _Host(world, latency_s, worker)
            server = asyncio.run_coroutine_threadsafe(host.open(port), loop).result()
            try:
                yield server
            finally:
                asyncio.run_coroutine_threadsafe(host.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Host:
    """All hosts of a world; lives in the event loop."""

    def __init__(self, world: World, latency_s: float, worker: ThreadPoolExecutor) -> None:
        self._world, self._latency_s, self._worker = world, latency_s, worker
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._at_once: Counter[str] = Counter()

    async def open(self, port: int) -> ReplayServer:
        """Listen."""
        self._server = await asyncio.start_server(
            self._accept, LOOPBACK, port, limit=_MOST_HEADER_BYTES, backlog=_BACKLOG
        )
        self._told = ReplayServer((LOOPBACK, self._server.sockets[0].getsockname()[1]))
        return self._told

    async def close(self) -> None:
        """Hang up on everybody."""
        # What asyncio is about to accept when its server closes would stay open for ever.
        while accepting := asyncio.all_tasks() - {asyncio.current_task(), *self._connections}:
            await asyncio.wait(accepting)
        self._server.close()
        for connection, writer in self._connections.items():
            connection.cancel()
            writer.close()  # for one that has not begun to run
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # in which the sockets are closed

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._look_after(reader, writer))
        self._connections[connection] = writer
        connection.add_done_callback(self._connections.pop)

    async def _look_after(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError), closing(writer):
            while await self._serve_one(reader, writer):
                pass

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection is kept."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, _, rest = first.partition(" ")
        target, _, version = rest.rpartition(" ")
        host = headers.get("host", "").lower()
        host = host if host.endswith("]") else host.partition(":")[0]
        if method != "GET" or version != "HTTP/1.1" or not host or not target.startswith("/"):
            await self._send(writer, text("Bad Request", 400))
            return False
        self._at_once[host] += 1
        try:
            self._told.most_at_once[host] = max(self._told.most_at_once[host], self._at_once[host])
            said = await self._ask(host, target, headers)
            if said is None:
                return False
            await asyncio.sleep(self._latency_s + said.delay_s)
            await self._send(writer, said)
        finally:
            self._at_once[host] -= 1
        return headers.get("connection", "").lower() != "close"

    async def _ask(self, host: str, target: str, headers: Mapping[str, str]) -> Answer | None:
        place = (host, Request(host, target).path)
        self._told.requests[place] += 1
        request = Request(host, target, headers, self._told.requests[place])
        return await asyncio.get_running_loop().run_in_executor(self._worker, answer, self._world, request)

    async def _send(self, writer: asyncio.StreamWriter, said: Answer) -> None:
        length = len(said.body) if said.length_bytes is None else said.length_bytes
        lines = [f"HTTP/1.1 {said.status} {HTTPStatus(said.status).phrase}", f"Content-Length: {length}"]
        lines += (f"{name}: {value}" for name, value in said.headers)
        writer.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + said.body)
        await writer.drain()
        for start in range(len(said.body), length, len(_CHUNK)):
            writer.write(_CHUNK[: length - start])
            await writer.drain()
