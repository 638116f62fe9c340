"""Cache: files of a data root that lies elsewhere in; the same files on a disk of this machine, by their hashes, out.

Serves every arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" whose
input is below a URL. Processes share it without a lock: a file appears under its name whole, and whoever brings it
twice brings the same. What has not been used for long makes room when much of the disk is taken.
"""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import DiskFull, IntegrityError, is_disk_full
from pipelines.store import File, temporary_name

LARGEST_SHARE = 0.5  # of the disk that is free but for the cache
SHARE_LEFT = 0.4  # when it has grown larger than that and was pruned
PRUNED_EACH_BYTES = 1 << 30  # brought by a process, it looks whether the cache has grown too large
KEPT_S = 3600.0  # a path that was handed out is good for that long, whatever the cache's size

_brought_bytes = PRUNED_EACH_BYTES  # by this process since it last looked: it does at its first file


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of this machine with files named by the SHA-256 of their bytes; see `open_cache`."""

    folder: Path

    def path(self, file: File) -> Path:
        """Where a file lies, if it does."""
        return self.folder / file.sha256[:2] / (file.sha256 + Path(file.name).suffix)

    def find(self, file: File) -> Path | None:
        """Where a file lies; None where it does not."""
        path = self.path(file)
        try:
            os.utime(path)  # it is in use
            return path if path.stat().st_size == file.size_bytes else None
        except FileNotFoundError:
            return None

    def bring(self, file: File, download: Callable[[Path], None], origin: object) -> Path:
        """Let ``download`` write a file to the path it is given, check its bytes, and keep it.

        Raises:
            IntegrityError: what came from ``origin`` is not what the manifest describes.
            DiskFull: there is no space for it.
        """
        path = self.path(file)
        with self._said_if_full():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(temporary_name(f"{path.name}-{threading.get_ident()}"))
            try:
                download(temporary)
                with temporary.open("rb+") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                    os.fsync(content.fileno())
                if digest != file.sha256:
                    raise IntegrityError(
                        f"{origin} is not what its manifest says: its SHA-256 is {digest}",
                        hint="remove it and run its stage again: it makes what is missing",
                    )
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        self._count(file.size_bytes)
        return path

    def adopt(self, path: Path, file: File) -> None:
        """Take in a file from a workspace: who reads it next is likely to be on this machine."""
        home = self.path(file)
        home.parent.mkdir(parents=True, exist_ok=True)
        path.replace(home)
        self._count(file.size_bytes)

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """A new, empty folder on the cache's disk, until the block ends."""
        with self._said_if_full():
            work = self.folder / "work"
            work.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=f"{name}-", dir=work, ignore_cleanup_errors=True) as folder:
                yield Path(folder)

    def prune(self) -> None:
        """Remove what was not used for longest until the cache is small enough, and workspaces of killed runs."""
        now = time.time()
        for stale in (self.folder / "work").glob("*"):
            with suppress(FileNotFoundError):
                if now - stale.stat().st_mtime > 24 * KEPT_S:
                    shutil.rmtree(stale, ignore_errors=True)
        found = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        size_bytes = sum(size for _, size, _ in found)
        whole_bytes = size_bytes + shutil.disk_usage(self.folder).free
        if size_bytes <= LARGEST_SHARE * whole_bytes:
            return
        for used_at, file_bytes, path in sorted(found):
            if size_bytes <= SHARE_LEFT * whole_bytes or now - used_at < KEPT_S:
                return
            with suppress(OSError):  # another process removed it, or (on Windows) has it open
                path.unlink()
            size_bytes -= file_bytes

    def _count(self, size_bytes: int) -> None:
        global _brought_bytes  # noqa: PLW0603  # of this process, whichever folder brought them
        _brought_bytes += size_bytes
        if _brought_bytes >= PRUNED_EACH_BYTES:
            _brought_bytes = 0
            self.prune()

    @contextmanager
    def _said_if_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise DiskFull(
                    f"no space left on the disk of {self.folder}, where files of the data root are kept while in use",
                    hint="free some space, or choose another disk with CLEANSHARDS_CACHE=FOLDER; then run it again",
                ) from error
            raise


def open_cache() -> Cache:
    """The cache that CLEANSHARDS_CACHE names; without it one in the user's folder for caches."""
    named = os.environ.get("CLEANSHARDS_CACHE")
    if named:
        return Cache(Path(named))
    caches = os.environ.get("XDG_CACHE_HOME")
    return Cache((Path(caches) if caches else Path.home() / ".cache") / "cleanshards")
