"""Manifest: what a finished stage is: a name, a fingerprint, its files with their hashes.

It is written last, so that what it names is whole; whoever holds one reads the files by `Manifest.paths`, wherever
they lie.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pipelines.errors import IntegrityError
from pipelines.store import File, Folder, open_root

MANIFEST_NAME = "manifest.json"


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

    def is_complete(self, sizes: Mapping[str, int]) -> bool:
        """Whether every file is among those of a folder (`Folder.sizes`), with its size."""
        return all(sizes.get(file.name) == file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished stage: its folder, name, fingerprint and shards in task order. Tasks that read it carry it.

    ``lineage`` names every stage that this one stands on, with its `digest`: codes say of which encoder they are.
    """

    folder: Folder
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
        """Files whose names end in ``suffix``, in task order: on this machine, fetched first where they are not."""
        return self.folder.fetch([file for file in self._files() if file.name.endswith(suffix)])

    def path(self, name: str) -> Path:
        """The file of that name, as `paths` gives it; FileNotFoundError where the stage has none."""
        for file in self._files():
            if file.name == name:
                (path,) = self.folder.fetch([file])
                return path
        raise FileNotFoundError(f"there is no {name} in {self.folder}")

    def part(self, *shard_names: str) -> Self:
        """The same stage with these shards alone, in the order given: what a task carries that reads no others."""
        by_name = {shard.name: shard for shard in self.shards}
        return replace(self, shards=tuple(by_name[name] for name in shard_names))

    def parts(self) -> list[Self]:
        """Each shard alone, as `part` gives it."""
        return [replace(self, shards=(shard,)) for shard in self.shards]

    def encode(self) -> bytes:
        """What ``manifest.json`` holds."""
        content = {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "lineage": dict(self.lineage),
            "shards": [asdict(shard) for shard in self.shards],
        }
        return json.dumps(content, indent=1).encode()

    def save(self) -> None:
        """Write ``manifest.json`` into the stage's folder, atomically."""
        self.folder.write(MANIFEST_NAME, self.encode())

    @classmethod
    def load(cls, folder: Folder | Path) -> Self:
        """Read the manifest of the finished stage in a folder.

        Raises:
            FileNotFoundError: no finished stage stands there.
            IntegrityError: the manifest is damaged, or a file it names is missing or has another size.
        """
        folder = open_root(folder)
        content = folder.read(MANIFEST_NAME)
        try:
            fields = json.loads(content)
            shards = tuple(Shard.from_json(shard) for shard in fields["shards"])
            manifest = cls(folder, fields["stage"], fields["fingerprint"], shards, fields["lineage"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{folder / MANIFEST_NAME} is damaged ({error})", hint="remove it and run its stage again"
            ) from error
        sizes = folder.sizes()
        for shard in shards:
            if not shard.is_complete(sizes):
                raise IntegrityError(
                    f"a file of shard {shard.name} in {folder} is missing or has another size than its manifest says",
                    hint="run its stage again: it makes what is missing",
                )
        return manifest

    def _files(self) -> Iterator[File]:
        return (file for shard in self.shards for file in shard.files)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
