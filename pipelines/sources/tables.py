"""Hugging Face's parquet files as a source."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import SourceError
from pipelines.record import Record
from pipelines.sources.base import Split, choose_size, digest_files, expand


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Hugging Face's layout: a column ``image`` or ``img`` with ``bytes``; other scalar columns are metadata."""

    pattern: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"parquet:{Path(self.pattern).name}"

    def digest(self) -> str:
        """Of the files' names, sizes and times of change."""
        root, files = self._files()
        return digest_files(root, files)

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """Row ranges, none across files."""
        root, files = self._files()
        rows = {file: int(_open_parquet(root / file).metadata.num_rows) for file in files}
        size = size or choose_size(sum(rows.values()))
        return [
            Split((file, start), min(size, total - start), digest_files(root, [file]))
            for file, total in rows.items()
            for start in range(0, total, size)
        ]

    def read(self, split: Split) -> Iterator[Record]:
        """Decode only the row groups that the range touches."""
        name, first = str(split.where[0]), int(split.where[1])
        file = _open_parquet(self._files()[0] / name)
        assert split.records is not None
        end, start, groups = first + split.records, 0, []
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            if start < end and stop > first:
                groups.append((group, start))
            start = stop
        row = groups[0][1]
        image_column = self._image_column(name, file.schema_arrow)
        columns = [field.name for field in file.schema_arrow if field.name == image_column or _is_scalar(field.type)]
        for batch in file.iter_batches(256, [group for group, _ in groups], columns):
            wanted = batch.slice(max(0, first - row), max(0, min(end, row + batch.num_rows) - max(first, row)))
            position = max(first, row)
            for values in wanted.to_pylist():
                image = values.pop(image_column)
                encoded = image.get("bytes") if isinstance(image, dict) else image
                yield Record(f"{name.removesuffix('.parquet')}/{position:08d}", encoded or b"", values)
                position += 1
            row += batch.num_rows
            if row >= end:
                return

    def _image_column(self, name: str, schema: pa.Schema) -> str:
        for column in ("image", "img"):
            if column in schema.names:
                return column
        raise SourceError(
            f"{name} has no column 'image' or 'img' (it has {', '.join(schema.names)})",
            hint="rename the column that holds the images' bytes",
        )

    def _files(self) -> tuple[Path, list[str]]:
        return expand(self.pattern, ".parquet")


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path} cannot be read as parquet ({error})", hint="fetch it again") from error


def _is_scalar(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(check(kind) for check in checks)
