"""Archive: every picture that was ever fetched, by its sha256, and what became of every URL that was ever tried.

The memory of the arrow "URLs → photographs". A folder: ``outcomes.sqlite`` (SQLite in WAL mode,
https://www.sqlite.org/wal.html) with a row per URL, and ``pictures/<2 hex>/<64 hex>``, a file per distinct picture. It
outlives changed options, so nothing is fetched twice.

A picture is whole before a row speaks of it, and a row whose picture is missing or of another size is as good as none.
So a kill at any instant leaves an archive that is right in all that it says, and costs at most the rows since the last
commit; their pictures are found, or written anew, when they are fetched again.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from facescrape.status import Status
from pipelines.errors import IntegrityError, disk_full, is_disk_full

PICTURES = "pictures"
OUTCOMES = "outcomes.sqlite"

_COMMIT_ROWS = 500
_COMMIT_S = 2.0
_WRITING = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a URL: a row of `facescrape.tables.PHOTOS`, where each field is explained."""

    url: str
    status: Status
    http_status: int | None = None
    final_url: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    fetched_at: datetime | None = None
    seconds: float | None = None


def picture_path(archive: Path, sha256: str) -> Path:
    """Where the archive in a folder keeps a picture."""
    return Path(f"{archive}/{PICTURES}/{sha256[:2]}/{sha256}")


class Archive:
    """The archive in a folder, which is made if missing. One or more threads, one or more processes.

    Raises:
        IntegrityError: ``outcomes.sqlite`` is damaged.
        DiskFull: no space was left; what was added is kept for the next try to write it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._pending: dict[str, Outcome] = {}
        self._committed_at = time.monotonic()
        with self._errors_are_ours():
            folder.mkdir(parents=True, exist_ok=True)
            self._rows = sqlite3.connect(folder / OUTCOMES, timeout=60, check_same_thread=False)
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = NORMAL")
            self._rows.executescript(_SCHEMA)
            self._forgotten = {key for (key,) in self._rows.execute("SELECT key FROM forgotten")}
        self._remove_forgotten(key for key in self._forgotten if len(key) == 64)  # where a kill came between

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    def close(self) -> None:
        """Commit and close."""
        with self._lock:
            try:
                self.flush()
            finally:
                self._rows.close()

    def known(self, urls: Iterable[str]) -> dict[str, Outcome]:
        """The outcomes of those of ``urls`` that have one, and whose picture, if it says so, is there."""
        self.flush()
        found = {}
        for some in _batches(urls):
            with self._lock, self._errors_are_ours():
                marks = ", ".join("?" * len(some))
                rows = self._rows.execute(f"SELECT {_COLUMNS} FROM outcomes WHERE url IN ({marks})", some).fetchall()
            for outcome in map(_to_outcome, rows):
                if outcome.sha256 is None or self._holds(outcome.sha256, outcome.size_bytes):
                    found[outcome.url] = outcome
        return found

    def add(self, outcome: Outcome, picture: bytes | None = None) -> Outcome:
        """Keep what became of a URL, and its picture; the row is committed with others, soon.

        Returns:
            The outcome as kept: where the URL or the picture is one to be forgotten, that.
        """
        with self._errors_are_ours():
            if picture is not None and outcome.sha256 is not None and not self._is_forgotten(outcome):
                self._store(outcome.sha256, picture)
            with self._lock:
                if self._is_forgotten(outcome):
                    self._remove_forgotten([outcome.sha256])
                    outcome = Outcome(outcome.url, Status.FORGOTTEN)
                self._pending[outcome.url] = outcome
                waited_s = time.monotonic() - self._committed_at
                if len(self._pending) >= _COMMIT_ROWS or waited_s >= _COMMIT_S:
                    self.flush()
        return outcome

    def flush(self) -> None:
        """Commit all rows that were added."""
        with self._lock, self._errors_are_ours():
            if self._pending:
                with self._rows:
                    self._rows.executemany(_UPSERT, map(_to_row, self._pending.values()))
                self._pending.clear()
            self._committed_at = time.monotonic()

    def drop_failed(self) -> int:
        """Remove the outcomes that may be others another day (`Status.is_transient`); returns how many."""
        statuses = [status for status in Status if status.is_transient]
        self.flush()
        with self._lock, self._errors_are_ours(), self._rows:
            marks = ", ".join("?" * len(statuses))
            return self._rows.execute(f"DELETE FROM outcomes WHERE status IN ({marks})", statuses).rowcount

    def forget(self, urls: Iterable[str] = (), sha256s: Iterable[str] = ()) -> set[str]:
        """Remove pictures for ever: those of ``urls`` and those of ``sha256s``, from whatever URL they came.

        None of these URLs, and none that had such a picture, is fetched again; the same bytes from elsewhere are not
        kept.

        Returns:
            sha256 of all pictures that are forgotten by this.
        """
        pictures, wanted = set(sha256s), list(urls)
        self.flush()
        with self._lock, self._errors_are_ours():
            with self._rows:
                for some in _batches(wanted):
                    where = f"url IN ({', '.join('?' * len(some))})"
                    pictures |= {sha256 for (sha256,) in self._rows.execute(f"{_SHA256S} {where}", some)}
                for some in _batches(pictures):
                    where = f"sha256 IN ({', '.join('?' * len(some))})"
                    wanted += [url for (url,) in self._rows.execute(f"SELECT url FROM outcomes WHERE {where}", some)]
                self._rows.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", zip({*wanted, *pictures}))
                self._rows.executemany(_UPSERT, (_to_row(Outcome(url, Status.FORGOTTEN)) for url in wanted))
            self._forgotten.update(wanted, pictures)
            self._remove_forgotten(pictures)
        return pictures

    def counts(self) -> dict[Status, int]:
        """How many URLs ended how, the most frequent first."""
        self.flush()
        with self._lock, self._errors_are_ours():
            query = "SELECT status, COUNT(*) FROM outcomes GROUP BY status ORDER BY COUNT(*) DESC, status"
            return {Status(status): number for status, number in self._rows.execute(query)}

    def _is_forgotten(self, outcome: Outcome) -> bool:
        return outcome.url in self._forgotten or outcome.sha256 in self._forgotten

    def _holds(self, sha256: str, size_bytes: int | None) -> bool:
        try:
            return picture_path(self._folder, sha256).stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    def _store(self, sha256: str, picture: bytes) -> None:
        """Write a picture. In few calls: on two cores they cost as much as all else that a fetch takes."""
        if self._holds(sha256, len(picture)):
            return
        path = picture_path(self._folder, sha256)
        try:
            descriptor = os.open(path, _WRITING, 0o644)
        except FileNotFoundError:  # the first picture of its folder
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, _WRITING, 0o644)
        try:
            rest = memoryview(picture)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _remove_forgotten(self, pictures: Iterable[str | None]) -> None:
        for sha256 in pictures:
            if sha256 is not None and sha256 in self._forgotten:
                picture_path(self._folder, sha256).unlink(missing_ok=True)

    @contextmanager
    def _errors_are_ours(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(self._folder) from error
            raise
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise disk_full(self._folder) from error
            raise
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise IntegrityError(
                    f"{self._folder / OUTCOMES} is damaged: {error}",
                    hint="move it away: the next run fetches again what it knew, and finds the pictures in their place",
                ) from error
            raise


_FIELDS = tuple(field.name for field in fields(Outcome))
_COLUMNS = ", ".join(_FIELDS)
_values = attrgetter(*_FIELDS)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    url TEXT PRIMARY KEY, status TEXT NOT NULL, http_status INTEGER, final_url TEXT, size_bytes INTEGER, sha256 TEXT,
    format TEXT, width INTEGER, height INTEGER, fetched_at INTEGER, seconds REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""  # fetched_at: milliseconds since 1970; key: a URL or a sha256
_UPSERT = f"""
INSERT INTO outcomes ({_COLUMNS}) VALUES ({", ".join("?" * len(_FIELDS))})
ON CONFLICT (url) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _FIELDS[1:])}
WHERE outcomes.status != '{Status.FORGOTTEN}'
"""
_SHA256S = "SELECT DISTINCT sha256 FROM outcomes WHERE sha256 IS NOT NULL AND"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def _to_row(outcome: Outcome) -> tuple[Any, ...]:
    *values, fetched_at, seconds = _values(outcome)
    return (*values, None if fetched_at is None else (fetched_at - _EPOCH) // _MILLISECOND, seconds)


def _to_outcome(row: tuple[Any, ...]) -> Outcome:
    values = dict(zip(_FIELDS, row, strict=True))
    values["status"] = Status(values["status"])
    if values["fetched_at"] is not None:
        values["fetched_at"] = _EPOCH + values["fetched_at"] * _MILLISECOND
    return Outcome(**values)


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    """Few enough for one statement (https://www.sqlite.org/limits.html, 9)."""
    rest = iter(items)
    while some := list(islice(rest, 500)):
        yield some
