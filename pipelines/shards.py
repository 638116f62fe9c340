"""Shards: records in, a WebDataset tar with a parquet beside it out, and back.

The tar holds each record's own bytes as ``<escaped key>.jpg``, and ``<escaped key>.json`` with its metadata where it
has any. Readers choose a decoder by the name's end and then look at the bytes, and some of them refuse a tar of
mixed endings: so every image ends in ``.jpg``, and its true format stands in the parquet, a row per record in the
tar's order.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import SourceError
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
    """A key as a tar member's stem: WebDataset ends the stem at the first dot, so dots are escaped too."""
    return quote(key, safe="/ -_").replace(".", "%2E")


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
        self._append(stem + IMAGE_SUFFIX, record.image)
        if record.meta:
            self._append(f"{stem}.json", json.dumps(dict(record.meta), sort_keys=True).encode())
        self._rows.append({**record.meta, "key": record.key, "size_bytes": len(record.image), **columns})

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
    columns |= {name: pa.array([row.get(name) for row in rows]) for name in extra}
    return pa.table(columns)


def read_shard(tar_path: Path) -> Iterator[Record]:
    """Yield the records of a shard that `ShardWriter` wrote, in order, with the source's metadata.

    Raises:
        SourceError: the tar and the parquet beside it do not belong together.
    """
    table = pq.read_table(tar_path.with_suffix(".parquet"))
    meta_names = [name for name in table.column_names if name not in COLUMNS.names]
    rows = iter(table.select(["key", *meta_names]).to_pylist())
    with tarfile.open(tar_path) as tar:
        for member in tar:
            if not member.name.endswith(IMAGE_SUFFIX):
                continue
            row = next(rows, None)
            if row is None or member.name != escape_key(row["key"]) + IMAGE_SUFFIX:
                raise SourceError(
                    f"{tar_path} and the parquet beside it do not belong together (at {member.name})",
                    hint="run the command that made this folder again",
                )
            content = tar.extractfile(member)
            assert content is not None
            meta = {name: row[name] for name in meta_names if row[name] is not None}
            yield Record(row["key"], content.read(), meta)
