"""Download: a URL in, a whole file out, however often the connection breaks or the program is stopped.

Bytes gather in ``NAME.part``; ``NAME.part.json`` beside it notes which version of the file they are of (its ETag or
date), so that a later request asks for the rest of the very same bytes (RFC 9110, sections 13 and 14). The file gets
its name when all of it is there. This is how a source comes to lie on disk, before the pipeline begins.
"""

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
from rich.filesize import decimal as format_bytes

from pipelines.errors import DiskFull, DownloadError
from pipelines.store import sync_folder, write_atomically

CHUNK_BYTES = 1 << 16  # what a breaking connection can lose of what it brought
LONGEST_PAUSE_S = 60.0
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Report = Callable[[str, int, int | None], None]  # what is being done, bytes done, bytes in all where known
Sleep = Callable[[float], None]

logger = logging.getLogger(__name__)


def report_nothing(what: str, done_bytes: int, total_bytes: int | None) -> None:
    """The `Report` of those who do not watch."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, and how often to try again.

    Attributes:
        connect_timeout_s: for a connection to open.
        read_timeout_s: for the next bytes to come.
        tries: requests in a row that may bring nothing new.
        pause_s: before the second try; each further pause is twice as long, up to a minute.
    """

    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    tries: int = 6
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        if min(self.connect_timeout_s, self.read_timeout_s) <= 0 or self.tries < 1 or self.pause_s < 0:
            raise ValueError(f"timeouts and tries must be positive, the pause not negative: {self}")


@dataclass(frozen=True, slots=True)
class Download:
    """One file to be fetched.

    Attributes:
        url: what to ask for; redirects are followed.
        target: where the file goes once it is whole.
        begins_with: what every file of the wanted format begins with, and a web page does not.
        size_bytes: the size to the byte, where it is known.
    """

    url: str
    target: Path
    begins_with: bytes
    size_bytes: int | None = None

    @property
    def part(self) -> Path:
        """Where bytes gather until all are there."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def note(self) -> Path:
        """The part's sidecar."""
        return self.target.with_name(f"{self.target.name}.part.json")

    @property
    def fetched_bytes(self) -> int:
        """How much of it is on disk."""
        return next((path.stat().st_size for path in (self.target, self.part) if path.exists()), 0)


def fetch(
    download: Download,
    *,
    patience: Patience | None = None,
    report: Report = report_nothing,
    sleep: Sleep = time.sleep,
) -> None:
    """Bring a file to its target, going on where an earlier call was stopped. Does nothing if it is there.

    Args:
        download: what to fetch, and where to.
        patience: timeouts and retries.
        report: is told the progress.
        sleep: waits between tries.

    Raises:
        DownloadError: the server refuses, answers with something else, or breaks off again and again.
        DiskFull: the disk has no room for the rest.
    """
    if download.target.exists():
        return
    patience = patience or Patience()
    download.target.parent.mkdir(parents=True, exist_ok=True)
    furthest_bytes, failures = -1, 0
    with requests.Session() as session:
        while True:
            try:
                _request_rest(session, download, (patience.connect_timeout_s, patience.read_timeout_s), report)
                break
            except (_BrokenOff, requests.RequestException) as error:
                if not isinstance(error, _WORTH_ANOTHER_TRY):
                    raise DownloadError(f"{download.url} cannot be asked for ({error})", hint=_OTHER_URL) from error
                failures = 1 if download.fetched_bytes > furthest_bytes else failures + 1
                furthest_bytes = max(furthest_bytes, download.fetched_bytes)
                if failures == patience.tries:
                    raise DownloadError(
                        f"{download.url}: {_reason(error)}; {failures} tries in a row brought nothing new",
                        hint=f"try later: the same command goes on where it was; or {_OTHER_URL}",
                    ) from error
                pause_s = min(patience.pause_s * 2 ** (failures - 1), LONGEST_PAUSE_S)
                logger.warning("%s: %s; trying again in %.0f s", download.target.name, _reason(error), pause_s)
                sleep(pause_s)
    with download.part.open("rb+") as file:
        os.fsync(file.fileno())
    download.part.replace(download.target)
    download.note.unlink(missing_ok=True)
    sync_folder(download.target.parent)


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """DiskFull unless the disk of ``folder``, which exists, has so many bytes free."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise DiskFull(
            f"{what} takes {format_bytes(needed_bytes)}, and the disk of {folder} has {format_bytes(free_bytes)} free",
            hint="free some space, or choose another disk with --data-root; the same command then goes on",
        )


class _BrokenOff(Exception):
    """A request that did not bring the rest, where another may."""


_WORTH_ANOTHER_TRY = (
    _BrokenOff,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # what requests makes of a body that breaks off
)
_OTHER_URL = "give the data set another url in ./datasets.toml"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    return str(error) if isinstance(error, _BrokenOff) else "the connection failed or broke"


def _request_rest(
    session: requests.Session, download: Download, timeout_s: tuple[float, float], report: Report
) -> None:
    """Ask once for what is missing and append it to the part. Returns when all is there."""
    validator, total_bytes = _read_note(download)
    offset = download.fetched_bytes if validator else 0
    if offset and offset == total_bytes:
        return
    headers = {"Accept-Encoding": "identity"}  # sizes and ranges shall be those of the file itself
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    logger.info("asking %s for what follows byte %d", download.url, offset)
    with session.get(download.url, headers=headers, timeout=timeout_s, stream=True) as response:
        _require_success(response, download)
        chunks = response.iter_content(CHUNK_BYTES)
        first = next(chunks, b"")
        if response.status_code == requests.codes.partial_content:
            _require_continuation(response, download, (offset, total_bytes, validator))
        else:
            offset, total_bytes = 0, _begin(response, download, first)
        with download.part.open("ab") as file:
            for chunk in chain([first], chunks):
                file.write(chunk)
                offset += len(chunk)
                report("downloading", offset, total_bytes)
    if total_bytes is not None and offset != total_bytes:
        if offset > total_bytes:
            _discard(download)
        raise _BrokenOff(f"{format_bytes(offset)} came of {format_bytes(total_bytes)}")


def _require_success(response: requests.Response, download: Download) -> None:
    """Only 200 and 206 bring bytes of the file."""
    status = response.status_code
    if status in {requests.codes.ok, requests.codes.partial_content}:
        return
    if status == requests.codes.requested_range_not_satisfiable:
        _discard(download)  # what is on disk is no beginning of what the server has
    if status in {requests.codes.requested_range_not_satisfiable, requests.codes.too_many_requests} or status >= 500:
        raise _BrokenOff(f"the server answered {status} {response.reason}")
    raise DownloadError(
        f"{download.url}: the server answered {status} {response.reason}",
        hint=f"it may be down for a while: try later; or {_OTHER_URL}",
    )


def _require_continuation(response: requests.Response, download: Download, wanted: tuple[int, int | None, str]) -> None:
    """A 206 must go on where the part ends, in the same version of the file; the part is worthless otherwise."""
    offset, total_bytes, validator = wanted
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same_version = _validator(response) in {"", validator}
    if same_version and found and int(found[1]) == offset and (not total_bytes or found[2] in {"*", str(total_bytes)}):
        return
    _discard(download)
    raise _BrokenOff("the server went on with another file")


def _begin(response: requests.Response, download: Download, first: bytes) -> int | None:
    """Begin the part anew, once it is sure that this is the file and that it fits; returns its size, where known."""
    if not first:
        raise DownloadError(f"{download.url} is empty: the server sent 0 bytes", hint=f"try later; or {_OTHER_URL}")
    if not download.begins_with.startswith(first[: len(download.begins_with)]):
        what = "a web page" if first.lstrip().startswith(b"<") else f"bytes that begin with {first[:8]!r}"
        raise DownloadError(
            f"{download.url}: the server sent {what} instead of the file",
            hint=f"open the address in a browser to see what it says; or {_OTHER_URL}",
        )
    length = response.headers.get("Content-Length", "")
    total_bytes = int(length) if length.isdecimal() else download.size_bytes
    if total_bytes is not None and download.size_bytes not in {None, total_bytes}:
        raise DownloadError(
            f"{download.url} has {total_bytes:,} bytes, and the registry says {download.size_bytes:,}",
            hint="where the publisher has replaced the file, correct size_bytes and sha256 in ./datasets.toml",
        )
    if total_bytes is not None:
        require_room(download.part.parent, total_bytes - download.fetched_bytes, f"downloading {download.target.name}")
    download.part.write_bytes(b"")
    note = {"url": download.url, "validator": _validator(response), "total_bytes": total_bytes}
    write_atomically(download.note, json.dumps(note).encode())
    return total_bytes


def _validator(response: requests.Response) -> str:
    """What tells this version of the file from others: a strong ETag, or else the date of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _read_note(download: Download) -> tuple[str, int | None]:
    """Validator and size of the version that the part is of; no validator where it cannot be gone on with."""
    try:
        note = json.loads(download.note.read_bytes())
        return (note["validator"], note["total_bytes"]) if note["url"] == download.url else ("", None)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", None


def _discard(download: Download) -> None:
    download.note.unlink(missing_ok=True)
    download.part.unlink(missing_ok=True)
