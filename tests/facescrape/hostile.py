"""A hostile world: hosts that misbehave, each in its own way, all played by one server on the loopback interface.

They exist only as names: `World` is the `Wire` that resolves them to made-up addresses, connects to the
server whatever the address, and notes to which address a connection was wanted.
"""

import ipaddress
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

Answer = Callable[[int], Iterable[bytes]]
"""How often this was asked for before → the bytes to send, with pauses where the host makes some."""
Site = Mapping[str, Answer]
"""Path → answer; what has none is not found."""

PICTURE = "/picture.jpg"
ROBOTS = "/robots.txt"
TDM = "/.well-known/tdmrep.json"

NUMERIC_HOST = re.compile(r"[0-9a-f.]*:[0-9a-f:.]*|(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+)){0,3}", re.IGNORECASE)
IPV4_NOT_PUBLIC = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3"
)
IPV6_NOT_PUBLIC = "::/8 64:ff9b::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8"
NOT_PUBLIC = [ipaddress.ip_network(network) for network in f"{IPV4_NOT_PUBLIC} {IPV6_NOT_PUBLIC}".split()]
"""Written down a second time, so that the checks under test do not check themselves."""


class World:
    """The server, and the wire to it.

    Attributes:
        connects: addresses to which a connection was wanted, in order.
        asked: host and path of each request, in order.
        heads: what each of them said, as sent.
        sent_bytes: by host.
    """

    encrypts = False

    def __init__(
        self, sites: Mapping[str, Site], addresses: Mapping[str, Sequence[Sequence[str]]] | None = None
    ) -> None:
        """Make a world, to be entered.

        Args:
            sites: by host, whose address is made up.
            addresses: those of hosts that have others: of the first look-up, the second and so on; the last stays.
                An empty one is an address that refuses connections.
        """
        self._sites = sites
        self._addresses = dict(addresses or {})
        made_up = {host: f"93.184.{number // 250}.{number % 250 + 1}" for number, host in enumerate(sorted(sites))}
        self._made_up = made_up
        self._look_ups: Counter[str] = Counter()
        self._visits: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.connects: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.heads: list[str] = []
        self.sent_bytes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._refusing = socket.socket()  # bound, so that nobody else listens there, and deaf
        self._refusing.bind(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._refusing.close()

    def resolve(self, host: str, port: int) -> Sequence[str]:
        with self._lock:
            number = self._look_ups[host]
            self._look_ups[host] += 1
        if host in self._addresses:
            answers = self._addresses[host]
            return answers[min(number, len(answers) - 1)]
        if host in self._made_up:
            return [self._made_up[host]]
        if NUMERIC_HOST.fullmatch(host):  # the system knows what all its spellings mean; it asks nobody
            return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        with self._lock:
            self.connects.append(address)
        server = self._refusing if address == REFUSING else self._server
        return socket.create_connection(server.getsockname(), timeout_s)

    def private_connects(self) -> list[str]:
        """The addresses, of those that were wanted, that are not on the public internet."""
        return [
            address
            for address in self.connects
            if any(ipaddress.ip_address(address) in network for network in NOT_PUBLIC)
        ]

    def count(self, host: str, path: str) -> int:
        """How often a path was asked for."""
        return self.asked.count((host, path))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(1 << 16)
                if not received:
                    return
                request += received
            head = request.decode("latin-1")
            path = head.split(" ", 2)[1]
            found = re.search(r"^host:\s*(\S+)", head, re.IGNORECASE | re.MULTILINE)
            host = found[1].rpartition(":")[0] or found[1] if found else ""
            with self._lock:
                visit = self._visits[host, path]
                self._visits[host, path] += 1
                self.asked.append((host, path))
                self.heads.append(head)
            for piece in self._sites.get(host, {}).get(path, missing)(visit):
                connection.sendall(piece)
                with self._lock:
                    self.sent_bytes[host] += len(piece)
                if self._over.is_set():
                    return
            connection.shutdown(socket.SHUT_WR)  # so that what was sent arrives though not all was read
            connection.recv(1 << 16)


REFUSING = "93.183.0.1"


def answer(
    body: bytes = b"", status: str = "200 OK", headers: Iterable[tuple[str, str]] = (), *, length: str | None = None
) -> Answer:
    """An answer that is HTTP; ``length`` is what Content-Length says if that is not the body's."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body) if length is None else length}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")
    return lambda visit: [head + body]


def picture(body: bytes, *headers: tuple[str, str], kind: str = "image/jpeg") -> Answer:
    return answer(body, headers=[("Content-Type", kind), *headers])


def redirect(target: str, status: str = "302 Found") -> Answer:
    return answer(status=status, headers=[("Location", target)])


missing = answer(b"nothing here", "404 Not Found")


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last stays."""
    return lambda visit: answers[min(visit, len(answers) - 1)](visit)


def raw(*pieces: bytes) -> Answer:
    """These bytes, be they HTTP or not."""
    return lambda visit: pieces


def endless(start: bytes, piece: bytes) -> Answer:
    def send(visit: int) -> Iterator[bytes]:
        yield start
        while True:
            yield piece

    return send


def dripping(content: bytes, *, at_once: int) -> Answer:
    """The first bytes at once, of the others one at a time, each soon enough for any timeout of a single read."""

    def send(visit: int) -> Iterator[bytes]:
        yield content[:at_once]
        for at in range(at_once, len(content)):
            time.sleep(0.05)
            yield content[at : at + 1]

    return send


def silent(visit: int) -> Iterator[bytes]:
    """Keeps the connection open and says nothing."""
    for _ in range(600):
        time.sleep(0.05)
        yield b""


def gzip_bomb(megabytes: int) -> bytes:
    """A gzip file (RFC 1952) of so many megabytes of zeros, a thousandth of that in size."""
    zeros = bytes(1 << 20)
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    megabyte = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)  # may stand behind itself
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(zeros, checksum)
    end = zlib.compressobj(9, wbits=-zlib.MAX_WBITS).flush() + struct.pack("<II", checksum, megabytes << 20)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + megabyte * megabytes + end


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with one row of pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + width // 8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
