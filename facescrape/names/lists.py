"""Lists: tables that a user made by hand or with another program. A file goes in, its rows come out as text.

Reads what users bring to the first two arrows of "names → URLs → photographs → boxes → crops": names, and URLs.
"""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ConfigError

Row = dict[str, str | None]  # by column; null where a value is empty

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_rows(path: Path, required: str) -> Iterator[tuple[str, Row]]:
    """Read a list row by row, each with where it stands, such as "line 3".

    Args:
        path: a table (``.csv``, ``.tsv`` or ``.parquet``), or plain text with a value per line, UTF-8. Columns are
            known by their names in the first line; empty lines are left out.
        required: the column that a table must have, and that the lines of plain text are.

    Raises:
        ConfigError: there is no such file, it cannot be read, lacks the column, or holds no row.
    """
    is_empty = True
    try:
        for where, row in _read_parquet(path) if path.suffix == ".parquet" else _read_text(path, required):
            if required not in row:
                raise ConfigError(
                    f"{path} has no column {required!r}; it has {', '.join(map(repr, row))}",
                    hint="name the columns in the first line",
                )
            is_empty = False
            yield where, row
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(
            f"{path} cannot be read ({reason})", hint="give a .txt, .csv, .tsv or .parquet file"
        ) from error
    if is_empty:
        raise ConfigError(f"{path} holds no rows", hint=f"give a file with a {required} per line")


def _read_text(path: Path, required: str) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix not in _DELIMITERS:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"line {number}", {required: line.strip()}
            return
        table = csv.DictReader(file, delimiter=_DELIMITERS[path.suffix], restkey="", strict=True)
        for row in table:
            yield f"line {table.line_num}", {column.strip(): _text(row[column]) for column in table.fieldnames or ()}


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    with pq.ParquetFile(path) as file:
        rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches())
        for number, row in enumerate(rows, 1):
            yield f"row {number}", {column: _text(value) for column, value in row.items()}


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None
