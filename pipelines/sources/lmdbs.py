"""LSUN's LMDB as a source."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import lmdb

from pipelines.errors import SourceError
from pipelines.record import Record
from pipelines.sources.base import Split, choose_size


@dataclass(frozen=True, slots=True)
class LmdbSource:
    """An LMDB as LSUN releases it: key → encoded image. Opened read-only and without its lock file."""

    path: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"lmdb:{Path(self.path).name}"

    def digest(self) -> str:
        """Of all keys, the shape of the tree, its last transaction, and the first value of each split."""
        return self._walk(None)[0]

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """Key ranges. The keys alone are walked: of the values, each split's first."""
        return self._walk(size)[1]

    def read(self, split: Split) -> Iterator[Record]:
        """Seek the split's first key and walk on."""
        with _open_lmdb(self.path) as environment, environment.begin() as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(bytes.fromhex(str(split.where[0]))):
                for key, value in islice(cursor.iternext(), split.records):
                    yield Record(_key_text(key), value)

    def pick(self, split: Split, keys: Set[str]) -> Iterator[Record]:
        """Look each key up."""
        with _open_lmdb(self.path) as environment, environment.begin() as transaction:
            for key in keys:
                value = transaction.get(_key_bytes(key))
                if value is not None:
                    yield Record(key, value)

    def _walk(self, size: int | None) -> tuple[str, tuple[Split, ...]]:
        stat = _lmdb_data_file(self.path).stat()
        return _walk_lmdb(self.path, size, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _walk_lmdb(path: str, size: int | None, *_file_state: int) -> tuple[str, tuple[Split, ...]]:
    """One pass over the keys: the digest and the splits. Remembered as long as the file stays as it is."""
    with _open_lmdb(path) as environment, environment.begin() as transaction:
        stat = environment.stat()
        total = stat["entries"]
        size = size or choose_size(total)
        digest = hashlib.sha256(json.dumps([stat, environment.info()["last_txnid"]], sort_keys=True).encode())
        splits = []
        cursor = transaction.cursor()
        for position, key in enumerate(cursor.iternext(keys=True, values=False)):
            digest.update(len(key).to_bytes(2, "big") + key)
            if position % size == 0:
                digest.update(cursor.value())
                splits.append(Split((key.hex(),), min(size, total - position)))
    return digest.hexdigest(), tuple(splits)


@contextmanager
def _open_lmdb(path: str) -> Iterator[lmdb.Environment]:
    """py-lmdb opens an environment once per process: readers share it, and the last one closes it."""
    with _sharing:
        environment, readers = _environments.get(path) or (_new_environment(path), 0)
        _environments[path] = environment, readers + 1
    try:
        yield environment
    except lmdb.Error as error:
        raise SourceError(f"{path} is damaged ({error})", hint="fetch or make it again") from error
    finally:
        with _sharing:
            _, readers = _environments[path]
            _environments[path] = environment, readers - 1
            if readers == 1:
                del _environments[path]
                environment.close()


_environments: dict[str, tuple[lmdb.Environment, int]] = {}
_sharing = threading.Lock()


def _new_environment(path: str) -> lmdb.Environment:
    data_file = _lmdb_data_file(path)
    try:
        environment = lmdb.open(
            path, subdir=data_file != Path(path), readonly=True, lock=False, max_spare_txns=0, meminit=False
        )
    except lmdb.Error as error:
        raise SourceError(f"{path} cannot be read as LMDB ({error})", hint="fetch or make it again") from error
    present, claimed = data_file.stat().st_size, (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if present < claimed:  # reading behind the end of a mapped file would kill the process
        environment.close()
        raise SourceError(f"{path} is cut short: it has {present} of {claimed} bytes", hint="fetch or make it again")
    return environment


def _lmdb_data_file(path: str) -> Path:
    """The file itself: ``data.mdb`` in the usual folder, or the path where the environment is a single file."""
    for candidate in (Path(path) / "data.mdb", Path(path)):
        if candidate.is_file():
            return candidate
    raise SourceError(f"no LMDB at {path} (no data.mdb there)", hint="check the path after lmdb:")


def _key_text(key: bytes) -> str:
    """LSUN's keys are ASCII; any other key is shown as hex."""
    plain = key.isascii() and key.decode().isprintable() and not key.startswith(b"0x")
    return key.decode() if plain else f"0x{key.hex()}"


def _key_bytes(text: str) -> bytes:
    """The key that `_key_text` shows."""
    return bytes.fromhex(text.removeprefix("0x")) if text.startswith("0x") else text.encode()
