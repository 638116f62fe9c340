"""RemoteFolder: files below a URL (``s3://BUCKET/PREFIX``, or any that fsspec reaches), where nothing can be renamed.

The other ground, beside a disk, under every arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN". A PUT shows a file whole or not at all; a stage's files are put first, then its task's entry,
lastly its manifest, and readers look only at what these name. They read on this machine, through `pipelines.cache`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from pipelines.cache import open_cache
from pipelines.errors import CleanshardsError, ConfigError, StorageError, is_disk_full
from pipelines.lease import hold_lease
from pipelines.store import File, Folder

T = TypeVar("T")
R = TypeVar("R")

TRANSFERS = 8  # at once
MARK = ".folder"  # an object by which an empty folder is known; names with a dot are ours and no one's files


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder below a URL."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """See `Folder`."""
        return self.url.rpartition("/")[2]

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.url}/{name}")

    def make(self) -> None:
        """See `Folder`."""
        if not self.listing():
            self.write(MARK, b"")

    def names(self) -> set[str]:
        """See `Folder`."""
        return {name for name in self.listing() if not name.startswith(".")}

    def sizes(self) -> dict[str, int]:
        """See `Folder`."""
        return {name: size for name, size in self.listing().items() if size is not None and not name.startswith(".")}

    def listing(self) -> dict[str, int | None]:
        """All names directly in it, ours too, with their bytes; a folder has None."""
        with self._reached() as (fs, path):
            try:
                entries = fs.ls(path, detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        sizes = {
            entry["name"].rstrip("/").rpartition("/")[2]: int(entry["size"]) if entry["type"] == "file" else None
            for entry in entries
            if entry["name"].strip("/") != path.strip("/")
        }
        return dict(sorted(sizes.items()))

    def holding(self, name: str) -> list[Folder]:
        """See `Folder`."""
        with self._reached() as (fs, path):
            found = sorted(key for key in fs.find(path) if key.endswith(f"/{name}"))
        below = [key[len(path) : -len(name)].strip("/") for key in found]
        return [self / inner if inner else self for inner in below]

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with self._reached() as (fs, path):
            content: bytes = fs.cat_file(f"{path}/{name}")
        return content

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """See `Folder`."""
        present = self.listing()
        wanted = [name for name in names if name in present]
        if not wanted:
            return {}
        with self._reached() as (fs, path):
            contents = fs.cat([f"{path}/{name}" for name in wanted], on_error="raise")
            return {name: contents[f"{path}/{name}"] for name in wanted}

    def hash(self, name: str) -> str:
        """See `Folder`."""
        with self._reached() as (fs, path), fs.open(f"{path}/{name}") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        with self._reached(writing=True) as (fs, path):
            fs.pipe_file(f"{path}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist; False where it does.

        Of two that try at once one succeeds, where the service knows how (S3 does): elsewhere both may.
        """
        with self._reached(writing=True) as (fs, path):
            try:
                fs.pipe_file(f"{path}/{name}", content, mode="create")
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, ValueError):
                if fs.exists(f"{path}/{name}"):
                    return False
                fs.pipe_file(f"{path}/{name}", content)
        return True

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with self._reached() as (fs, path), suppress(FileNotFoundError):
            fs.rm_file(f"{path}/{name}")

    def keep_only(self, names: Set[str]) -> None:
        """See `Folder`."""
        with self._reached() as (fs, path):
            first = {key: key[len(path) :].lstrip("/").partition("/")[0] for key in fs.find(path)}
            strays = [key for key, name in first.items() if name not in names and not name.startswith(".")]
            if strays:
                fs.rm(strays)

    def workspace(self, task: str) -> AbstractContextManager[Path]:
        """See `Folder`."""
        return open_cache().workspace(task)

    def publish(self, paths: Sequence[Path]) -> tuple[File, ...]:
        """See `Folder`. The files stay in the cache."""
        return tuple(_at_once(self._put, paths))

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """See `Folder`."""
        return _at_once(self._get, files)

    def lock(self, holder: str) -> AbstractContextManager[None]:
        """See `Folder`; by a lease, for no service ends a lock with the process that holds it."""
        return hold_lease(self, holder)

    def _put(self, path: Path) -> File:
        file = File.of(path)
        with self._reached(writing=True) as (fs, folder):
            fs.put_file(str(path), f"{folder}/{file.name}")
        open_cache().adopt(path, file)
        return file

    def _get(self, file: File) -> Path:
        cache = open_cache()
        return cache.find(file) or cache.bring(file, partial(self._download, file.name), self / file.name)

    def _download(self, name: str, to: Path) -> None:
        with self._reached(writing=True) as (fs, path):
            fs.get_file(f"{path}/{name}", str(to))

    @contextmanager
    def _reached(self, *, writing: bool = False) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it; what it raises becomes `StorageError`.

        But for FileNotFoundError, unless the block is ``writing``: then a bucket is missing, or a file that was named.
        """
        try:
            fs, path = fsspec.core.url_to_fs(self.url)
            yield fs, path
        except CleanshardsError:
            raise
        except FileNotFoundError as error:
            if not writing:
                raise
            raise self._failed(error) from error
        except OSError as error:
            if is_disk_full(error) or error.filename is not None:  # this machine's disk
                raise
            raise self._failed(error) from error
        except Exception as error:  # each service's library has its own
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StorageError:
        return StorageError(
            f"{self} failed: {type(error).__name__}: {error}",
            hint="check the URL, the network and the credentials; the same command then goes on where it was",
        )


def _at_once(transfer: Callable[[T], R], items: Sequence[T]) -> list[R]:
    with ThreadPoolExecutor(TRANSFERS) as threads:
        return list(threads.map(transfer, items))


def open_remote(url: str) -> RemoteFolder:
    """The folder at a URL; asks nothing of the service yet.

    Raises:
        ConfigError: no such protocol, or its package is not installed.
    """
    protocol = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise ConfigError(f"{url}: {error}", hint="give a folder, or a URL such as s3://BUCKET/PREFIX") from error
    except ImportError as error:
        hint = "pip install 'cleanshards[s3]'" if protocol in {"s3", "s3a"} else str(error)
        raise ConfigError(f"{url} needs a package that is not installed ({error})", hint=hint) from error
    return RemoteFolder(url.rstrip("/"))
