"""Publishers on the loopback interface: real HTTP servers that behave, or misbehave, each in its own way."""

import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from helpers import write_lmdb

from pipelines.download import CHUNK_BYTES


class Publisher(BaseHTTPRequestHandler):
    """Answers every path with ``content``; honours Range and If-Range. Subclasses are made per test by `serve`."""

    protocol_version = "HTTP/1.1"
    content = b""
    etag = '"one"'
    asked: list[str]  # the Range of every request, "" where it had none

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", ""))
        self.answer()

    def answer(self) -> None:
        start = self.wanted_start()
        if start is None:
            self.send(200, self.content)
        elif start >= len(self.content):
            self.send(416, b"", {"Content-Range": f"bytes */{len(self.content)}"})
        else:
            last = len(self.content) - 1
            self.send(206, self.content[start:], {"Content-Range": f"bytes {start}-{last}/{last + 1}"})

    def wanted_start(self) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(asked[1]) if asked and self.headers.get("If-Range", self.etag) == self.etag else None

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        named = {"Content-Length": str(len(body) if length is None else length), "ETag": self.etag} | (headers or {})
        for name, value in named.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


class WithoutRanges(Publisher):
    def wanted_start(self) -> int | None:
        return None


class WithoutValidator(Publisher):
    """Gives nothing that tells one version of the file from another."""

    etag = ""


class WithoutLength(Publisher):
    """Says where the file ends by hanging up alone."""

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        super().send(status, body, {**(headers or {}), "Content-Length": ""})
        self.hang_up()


class SendsTooMuch(Publisher):
    """Its ranges hold a byte more than they should, until it is asked for the whole."""

    def answer(self) -> None:
        start = self.wanted_start()
        if start is None:
            super().answer()
        else:
            last = len(self.content) - 1
            self.send(206, self.content[start:] + b"!", {"Content-Range": f"bytes {start}-{last}/{last + 1}"})


class CutsConnection(Publisher):
    """Breaks off after ``most`` bytes of each answer."""

    most = CHUNK_BYTES

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        super().send(status, body[: self.most], headers, len(body))
        self.hang_up()


class CutsWithoutRanges(CutsConnection, WithoutRanges):
    """Breaks off always at the same place."""


class LiesAboutLength(Publisher):
    """Promises a byte more than it has."""

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        super().send(status, body, headers, len(body) + 1)
        self.hang_up()


class SendsNothing(Publisher):
    def answer(self) -> None:
        self.send(200, b"")


class SendsWebPage(Publisher):
    """What a portal or a server under repair does: a page, with 200."""

    def answer(self) -> None:
        self.send(200, b"<!DOCTYPE html><html><body>We are back soon.</body></html>", {"Content-Type": "text/html"})


class Stalls(Publisher):
    def answer(self) -> None:
        time.sleep(0.3)
        self.hang_up()


class StallsHalfway(Publisher):
    """Sends the first half of its first answer and then nothing, with the connection open."""

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        if len(self.asked) > 1:
            super().send(status, body, headers)
            return
        super().send(status, body[: len(body) // 2], headers, len(body))
        while len(self.asked) == 1:
            time.sleep(0.02)
        self.hang_up()


class HasMoved(Publisher):
    def answer(self) -> None:
        if self.path.startswith("/moved"):
            super().answer()
        else:
            self.send(302, b"", {"Location": f"/moved{self.path}"})


class IsMissing(Publisher):
    def answer(self) -> None:
        self.send(404, b"no such file")


class IsBusyAtFirst(Publisher):
    def answer(self) -> None:
        if len(self.asked) <= 2:
            self.send(503, b"busy")
        else:
            super().answer()


class RefusesRanges(Publisher):
    """Answers 416 to every range."""

    def answer(self) -> None:
        if self.headers.get("Range"):
            self.send(416, b"")
        else:
            super().answer()


class GoesOnWithAnother(Publisher):
    """Ignores If-Range: the rest it sends is of a version of the file that is longer."""

    def answer(self) -> None:
        if self.headers.get("Range"):
            self.send(206, b"?", {"Content-Range": f"bytes {CHUNK_BYTES}-{CHUNK_BYTES}/9999999"})
        else:
            super().answer()


@contextmanager
def serve(kind: type[Publisher], content: bytes = b"", **attributes: object) -> Iterator[tuple[str, list[str]]]:
    """Run a publisher; yields its address and the list of ranges that it was asked for."""
    asked: list[str] = []
    handler = type(kind.__name__, (kind,), {"content": content, "asked": asked, **attributes})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/lsun/rooms_train_lmdb.zip", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zipped_lmdb(images: int = 50, folder: str = "rooms_train_lmdb/") -> bytes:
    """A zip as LSUN's publisher makes them."""
    with TemporaryDirectory() as scratch:
        write_lmdb(Path(scratch), {f"{number:040x}".encode(): bytes([number % 251]) * 5000 for number in range(images)})
        data, lock = ((Path(scratch) / name).read_bytes() for name in ("data.mdb", "lock.mdb"))
    return zip_of({folder: b"", f"{folder}data.mdb": data, f"{folder}lock.mdb": lock})
