"""Store: where stages keep their files, and how they get there so that a kill at any instant leaves nothing half-done.

Bytes and files in, folders of whole files out: the ground under every arrow of "source → thumbnails → 128-bit semantic
codes → duplicate groups → clean shards → DCGAN". A `Folder` is one of this machine's (or of a disk that machines
share), where everything is published by a rename, or one below a URL (`pipelines.remote`), where it is by a PUT.
"""

import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import filelock

from pipelines.errors import ConfigError, DatasetLocked, disk_full_is_ours


@dataclass(frozen=True, slots=True)
class File:
    """One file of a folder: its name there, its size and the SHA-256 of its bytes."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "File":
        """Describe a file of this machine."""
        return cls(path.name, path.stat().st_size, hash_file(path))


class Folder(Protocol):
    """Holds files and further folders by name; `/` leads to one of these. Small and picklable: it travels with tasks.

    Its text is what the user knows it by: a path or a URL.
    """

    @property
    def name(self) -> str:
        """The last part of its path."""
        ...

    def __truediv__(self, name: str) -> "Folder": ...

    def make(self) -> None:
        """Let it exist, with all that it stands in."""
        ...

    def names(self) -> set[str]:
        """Of the files and folders directly in it; none where it does not exist."""
        ...

    def sizes(self) -> dict[str, int]:
        """The files directly in it, and their bytes; none where it does not exist."""
        ...

    def holding(self, name: str) -> list["Folder"]:
        """It and the folders below it, at any depth, that hold a file of this name; in order."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError where there is none."""
        ...

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of the files that there are."""
        ...

    def hash(self, name: str) -> str:
        """SHA-256 (hex) of a file's bytes, read anew where they lie; FileNotFoundError where there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, for which the folder is made; readers see the one before, or this one whole."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        ...

    def keep_only(self, names: Set[str]) -> None:
        """Remove every file and folder in it but these."""
        ...

    def workspace(self, task: str) -> AbstractContextManager[Path]:
        """A new, empty folder of this machine to write in, until the block ends."""
        ...

    def publish(self, paths: Sequence[Path]) -> tuple[File, ...]:
        """Put files of a workspace into the folder, which takes them away from there; each is seen whole or not."""
        ...

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """Where on this machine the files can be read, each brought here first if need be."""
        ...

    def lock(self, holder: str) -> AbstractContextManager[None]:
        """See `pipelines.stage.dataset_lock`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine, or of a disk that machines share."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """See `Folder`."""
        return self.path.name

    def __truediv__(self, name: str) -> "LocalFolder":
        return LocalFolder(self.path / name)

    def make(self) -> None:
        """See `Folder`."""
        self.path.mkdir(parents=True, exist_ok=True)

    def names(self) -> set[str]:
        """See `Folder`."""
        return {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()

    def sizes(self) -> dict[str, int]:
        """See `Folder`."""
        if not self.path.is_dir():
            return {}
        with os.scandir(self.path) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def holding(self, name: str) -> list[Folder]:
        """See `Folder`."""
        return [LocalFolder(path.parent) for path in sorted(self.path.rglob(name))]

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        return (self.path / name).read_bytes()

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """See `Folder`."""
        contents = {}
        for name in names:
            try:
                contents[name] = self.read(name)
            except FileNotFoundError:
                continue
        return contents

    def hash(self, name: str) -> str:
        """See `Folder`."""
        return hash_file(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        self.make()
        write_atomically(self.path / name, content)

    def remove(self, name: str) -> None:
        """See `Folder`."""
        (self.path / name).unlink(missing_ok=True)

    def keep_only(self, names: Set[str]) -> None:
        """See `Folder`."""
        for path in self.path.iterdir():
            if path.name not in names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def workspace(self, task: str) -> Iterator[Path]:
        """See `Folder`. It lies in the folder itself, so that a rename can publish."""
        path = self.path / temporary_name(task)
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, paths: Sequence[Path]) -> tuple[File, ...]:
        """See `Folder`."""
        files = []
        for path in paths:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            files.append(File.of(path))
            path.replace(self.path / path.name)
        sync_folder(self.path)
        return tuple(files)

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """See `Folder`."""
        return [self.path / file.name for file in files]

    @contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """See `Folder`. It ends with the process, however that ends."""
        with disk_full_is_ours(self):
            self.make()
            lock = filelock.FileLock(self.path / ".lock")
            note = self.path / ".lock-holder"
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise DatasetLocked(
                    f"{self} is in use by {_read_note(note) or 'another run'}",
                    hint="wait for it to end, or stop it; then run the same command again",
                ) from None
            try:
                since = time.strftime("%Y-%m-%d %H:%M:%S")
                note.write_text(f"process {os.getpid()} since {since}: {holder}", encoding="utf-8")
                yield
            finally:
                note.unlink(missing_ok=True)
                lock.release()


def open_root(root: str | Path | Folder) -> Folder:
    """The folder that a path, or a URL such as ``s3://BUCKET/PREFIX``, names; a folder is itself.

    Raises:
        ConfigError: nothing that is installed can reach such URLs.
    """
    if isinstance(root, Path):
        return LocalFolder(root)
    if not isinstance(root, str):
        return root
    if "://" not in root:
        return LocalFolder(Path(root))
    if root.startswith("file://"):
        return LocalFolder(Path(unquote(urlsplit(root).path)))
    from pipelines.remote import open_remote  # takes fsspec along, which few need

    return open_remote(root)


def local_path(folder: Folder) -> Path:
    """Where a folder lies, for what can only work on a disk of this machine; ConfigError where it lies elsewhere."""
    if not isinstance(folder, LocalFolder):
        raise ConfigError(
            f"{folder} is not on a disk of this machine, and this needs one", hint="give a folder with --data-root"
        )
    return folder.path


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` such that a kill at any instant leaves the old file or the new one."""
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which becomes ``folder`` when the block ends well, and goes when it does not."""
    filling = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(filling, ignore_errors=True)
    try:
        filling.mkdir(parents=True)
        yield filling
        filling.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def temporary_name(name: str) -> str:
    """A name beside ``name`` that no other process uses, on any machine that shares the disk."""
    return f".tmp-{name}-{socket.gethostname()}-{os.getpid()}"


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk, where the system can (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_note(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except FileNotFoundError:  # its holder has just begun, or is about to end
        return ""
