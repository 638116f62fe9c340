"""Manifest: what a finished stage is (a name, a fingerprint, its files with their hashes), and how it is committed.

Everything is published last and by a rename, so that what can be seen is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipelines.errors import IntegrityError

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a shard: its name within the stage's folder, its size and the SHA-256 of its bytes."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Shard:
    """What one task left: its name, how many records it holds, and its files."""

    name: str
    records: int
    files: tuple[File, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the form that `dataclasses.asdict` gives; KeyError or TypeError where it is another form."""
        return cls(data["name"], data["records"], tuple(File(**file) for file in data["files"]))

    def is_complete(self, root: Path) -> bool:
        """Whether every file stands below ``root`` with its size."""
        return all(
            (root / file.name).is_file() and (root / file.name).stat().st_size == file.size_bytes for file in self.files
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished stage: its folder ``root``, name, fingerprint and shards in task order.

    ``lineage`` names every stage that this one stands on, with its `digest`: codes say of which encoder they are.
    """

    root: Path
    stage: str
    fingerprint: str
    shards: tuple[Shard, ...]
    lineage: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records in all shards together."""
        return sum(shard.records for shard in self.shards)

    @property
    def digest(self) -> str:
        """SHA-256 over names and hashes of all files: equal digests, equal bytes. Says nothing of paths."""
        return digest_of([[file.name, file.sha256] for shard in self.shards for file in shard.files])

    def paths(self, suffix: str) -> list[Path]:
        """Files whose names end in ``suffix``, in task order."""
        return [self.root / file.name for shard in self.shards for file in shard.files if file.name.endswith(suffix)]

    def save(self) -> None:
        """Write ``manifest.json`` into the stage's folder, atomically."""
        content = {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "lineage": dict(self.lineage),
            "shards": [asdict(shard) for shard in self.shards],
        }
        write_atomically(self.root / MANIFEST_NAME, json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the manifest of the finished stage in folder ``root``.

        Raises:
            FileNotFoundError: no finished stage stands there.
            IntegrityError: the manifest is damaged, or a file it names is missing or has another size.
        """
        path = root / MANIFEST_NAME
        try:
            content = json.loads(path.read_bytes())
            shards = tuple(Shard.from_json(shard) for shard in content["shards"])
            manifest = cls(root, content["stage"], content["fingerprint"], shards, content["lineage"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{path} is damaged ({error})", hint="remove it and run its stage again") from error
        for shard in shards:
            if not shard.is_complete(root):
                raise IntegrityError(
                    f"a file of shard {shard.name} in {root} is missing or has another size than its manifest says",
                    hint="run its stage again: it makes what is missing",
                )
        return manifest


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` such that a kill at any instant leaves the old file or the new one."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
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


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk, where the system can (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
