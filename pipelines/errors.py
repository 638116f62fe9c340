"""Every error that a user can cause or meet. Each says what and where; its hint says what to try.

::

    CleanshardsError
    ├── ConfigError        an option, a preset or a registry entry is wrong
    ├── SourceError        a source is missing or cannot be read
    ├── DownloadError      a download failed or brought something else than asked for
    ├── DatasetLocked      another run holds the data set's folder
    ├── StageError         a task failed or its worker died
    ├── IntegrityError     bytes differ from their manifest, or accounts do not balance
    ├── DiskFull           no space is left where the output goes
    ├── StorageError       the service that holds the data root cannot be reached, or refuses
    └── TrainingError      training cannot start or go on (a NaN, a checkpoint of another model)

A picture that cannot be used is not an error of the run: see `pipelines.images.ImageRejected`.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


class CleanshardsError(Exception):
    """Base of all errors above: ``message`` says what and where, ``hint`` says what to try."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:  # so that it crosses process borders with its hint
        return partial(type(self), hint=self.hint), (self.message,)


class ConfigError(CleanshardsError):
    """An option, a preset or a registry entry is wrong."""


class SourceError(CleanshardsError):
    """A source is missing or cannot be read."""


class DownloadError(CleanshardsError):
    """A download failed or brought something else than asked for."""


class DatasetLocked(CleanshardsError):
    """Another run holds the data set's folder."""


class StageError(CleanshardsError):
    """A task failed or its worker died."""


class IntegrityError(CleanshardsError):
    """Bytes differ from their manifest, or accounts do not balance."""


class DiskFull(CleanshardsError):
    """No space is left where the output goes."""


class StorageError(CleanshardsError):
    """The service that holds the data root cannot be reached, or refuses."""


class TrainingError(CleanshardsError):
    """Training cannot start or go on."""


def is_disk_full(error: OSError) -> bool:
    """Whether ``error`` says that the disk, or the user's quota on it, is full."""
    numpy_says_so = error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)) is not None
    return error.errno in {errno.ENOSPC, errno.EDQUOT} or numpy_says_so


def disk_full(where: object) -> DiskFull:
    """The error to raise when writing below ``where``, a path or a folder, found no space."""
    return DiskFull(
        f"no space left on the disk of {where}",
        hint="free some space, or choose another disk with --data-root; the same command then resumes",
    )


@contextmanager
def disk_full_is_ours(where: object) -> Iterator[None]:
    """Raise `DiskFull` for what the system raises when the block, which writes below ``where``, finds no space."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(where) from error
        raise
