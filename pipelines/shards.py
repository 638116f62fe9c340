"""Shards: records in, a WebDataset tar with a parquet beside it out, and back.

The tar holds each record's own bytes as ``<escaped key>.jpg``, and before it ``<escaped key>.json`` with its metadata
where it has any. Readers choose a decoder by the name's end and then look at the bytes, and some of them refuse a tar
of mixed endings: so every image ends in ``.jpg``, and its true format stands in the parquet, a row per record in the
tar's order.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import SourceError
from pipelines.manifest import MANIFEST_NAME, Manifest, Shard
from pipelines.record import Record, Scalar

IMAGE_SUFFIX = ".jpg"

# What cleanshards itself says of an image; every other column of a parquet beside a tar is the source's metadata.
COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("group_size", pa.int32()),
    ]
)


def escape_key(key: str) -> str:
    """A key as a tar member's stem: WebDataset ends the stem at the first dot, and some readers skip an empty name."""
    escaped = quote(key, safe="/ -_").replace(".", "%2E")
    return escaped.removesuffix("/") + "%2F" if escaped.endswith("/") else escaped


class ShardWriter:
    """Writes ``<name>.tar`` and ``<name>.parquet`` below a folder; the same records give the same bytes.

    Use as a context manager: the parquet is written on leaving, and only if nothing was raised. A shard without
    records leaves no files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._tar_path = folder / f"{name}.tar"
        self._parquet_path = folder / f"{name}.parquet"
        self._tar: tarfile.TarFile | None = None
        self._rows: list[Mapping[str, Scalar]] = []

    @property
    def records(self) -> int:
        """Records added so far."""
        return len(self._rows)

    def add(self, record: Record, **columns: Scalar) -> None:
        """Append a record; ``columns`` are those of `COLUMNS` that the caller knows."""
        if self._tar is None:
            self._tar = tarfile.open(self._tar_path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed on exit)
        stem = escape_key(record.key)
        if record.meta:
            self._append(f"{stem}.json", json.dumps(dict(record.meta), sort_keys=True).encode())
        self._append(stem + IMAGE_SUFFIX, record.image)
        meta = {name: value for name, value in record.meta.items() if name not in COLUMNS.names}
        self._rows.append({**meta, "key": record.key, "size_bytes": len(record.image), **columns})

    def _append(self, name: str, content: bytes) -> None:
        assert self._tar is not None
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tar is None:
            return
        self._tar.close()
        if error is None:
            pq.write_table(_table(self._rows), self._parquet_path)


def _table(rows: list[Mapping[str, Scalar]]) -> pa.Table:
    extra = sorted({name for row in rows for name in row} - set(COLUMNS.names))
    columns: dict[str, Any] = {
        field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in COLUMNS
    }
    columns |= {name: _column([row.get(name) for row in rows]) for name in extra}
    return pa.table(columns)


def _column(values: list[Scalar]) -> pa.Array:
    """A column of metadata: text where a source mixes types in it, or holds numbers beyond 64 bits."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def read_shard(tar_path: Path, parquet_path: Path | None = None) -> Iterator[Record]:
    """Yield the records of a shard that `ShardWriter` wrote, in order, with the source's metadata.

    Args:
        tar_path: its tar.
        parquet_path: its parquet, unless that is beside the tar under the same name.

    Raises:
        SourceError: the tar is damaged, or does not belong to the parquet.
    """
    keys = iter(_keys_of(parquet_path or tar_path.with_suffix(".parquet")))
    meta: dict[str, Scalar] = {}
    try:
        with tarfile.open(tar_path, "r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                content = file.read()
                if member.name.endswith(".json"):
                    meta = json.loads(content)
                    continue
                key = next(keys, None)
                if key is None or member.name != escape_key(key) + IMAGE_SUFFIX:
                    raise _mismatch(tar_path, f"at {member.name}")
                yield Record(key, content, meta)
                meta = {}
    except tarfile.TarError as error:
        raise _mismatch(tar_path, str(error)) from error
    if (missing := next(keys, None)) is not None:
        raise _mismatch(tar_path, f"{missing} is not in the tar")


def read_records(manifest: Manifest) -> Iterator[Record]:
    """Yield the records of all shards of a finished stage, or of a part of one; see `read_shard`."""
    for part in manifest.parts():
        for tar_path, parquet_path in zip(part.paths(".tar"), part.paths(".parquet"), strict=True):
            yield from read_shard(tar_path, parquet_path)


def remove_records(manifest: Manifest, keys: Set[str]) -> Manifest:
    """Write those shards of a finished stage anew that hold some of ``keys``, without these; returns its new manifest.

    What stands beside such a tar and its parquet may show the records too, and goes: its stage makes it again. While
    this runs the stage counts as unfinished.
    """
    folder, shards = manifest.folder, []
    for shard, part in zip(manifest.shards, manifest.parts(), strict=True):
        tables = part.paths(f"{shard.name}.parquet")
        if not tables or not keys & set(_keys_of(tables[0])):
            shards.append(shard)
            continue
        folder.remove(MANIFEST_NAME)
        rows = {row["key"]: row for row in pq.read_table(tables[0]).to_pylist()}
        with folder.workspace(shard.name) as out:
            with ShardWriter(out, shard.name) as writer:
                for record in read_records(part):
                    if record.key not in keys:
                        writer.add(record, **{name: rows[record.key][name] for name in COLUMNS.names if name != "key"})
            for file in shard.files:
                folder.remove(file.name)
            shards.append(Shard(shard.name, writer.records, folder.publish(sorted(out.iterdir()))))
    remaining = replace(manifest, shards=tuple(shards))
    if remaining != manifest:
        remaining.save()
    return remaining


def _keys_of(parquet_path: Path) -> list[str]:
    keys: list[str] = pq.read_table(parquet_path, columns=["key"])["key"].to_pylist()
    return keys


def _mismatch(tar_path: Path, what: str) -> SourceError:
    return SourceError(
        f"{tar_path} is damaged, or does not belong to the parquet beside it ({what})",
        hint="run the command that made this folder again",
    )
