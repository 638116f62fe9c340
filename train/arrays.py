"""Arrays: files that numpy or joblib wrote in; arrays of float32 out, and no code of the files is run.

Stands beside the last word of "clean shards → DCGAN", for networks that others published. What joblib writes is a
pickle, whose reading can call anything. Here a pickle may name the few things that arrays are made of, each of which is
a stand-in that does nothing but remember; anything else is refused. joblib wrote arrays to files of their own up to
0.9 (``NAME.jl_01.npy`` and on, beside ``NAME.jl``), and since then between the pickle's own bytes.
"""

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipelines.errors import IntegrityError

Array = npt.NDArray[np.float32]

NOT_ONLY_ARRAYS = "save its arrays, in their order, with numpy.savez, where it can be trusted"
JOBLIB = re.compile(r"(sklearn\.externals\.)?joblib\.numpy_pickle(_compat)?")
NUMBER = re.compile(r"[<>|=]?f[248]")  # types of numbers that a parameter may have, as numpy writes them


def read_arrays(path: Path) -> list[Array]:
    """Read a list of arrays.

    Args:
        path: what ``numpy.savez`` or ``numpy.save`` wrote (``.npz``, ``.npy``), or, of any other suffix,
            ``joblib.dump(list of arrays, path)`` without compression, by any version since 0.8.

    Returns:
        The arrays, in their order: float32 of any shape.

    Raises:
        IntegrityError: the file cannot be read, holds what is no array, or an array of other than finite floats.
    """
    try:
        found = _READERS.get(path.suffix, _read_joblib)(path)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error})", hint="give a folder with all of its files") from error
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path} is damaged, or holds no list of arrays", hint=NOT_ONLY_ARRAYS) from error
    for number, array in enumerate(found, start=1):
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise IntegrityError(f"array {number} of {path} is not of finite numbers", hint="give a sound file")
    return [np.array(array, np.float32, order="C") for array in found]


_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(UnicodeError, OverflowError, MemoryError, ImportError),  # of a pickle, whose bytes may say anything
)


def _read_npz(path: Path) -> list[npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]


def _read_npy(path: Path) -> list[npt.NDArray[Any]]:
    return [np.load(path, allow_pickle=False)]


def _read_joblib(path: Path) -> list[npt.NDArray[Any]]:
    with path.open("rb") as file:
        found = _Unpickler(file, path).load()
    if not isinstance(found, list | tuple) or not all(isinstance(item, _Inline | _Apart) for item in found):
        raise ValueError("no list of arrays")
    return [item.array if isinstance(item, _Inline) else item.read(path.parent) for item in found]


_READERS: dict[str, Callable[[Path], list[npt.NDArray[Any]]]] = {".npz": _read_npz, ".npy": _read_npy}


class _Exact:
    """A file that an unpickler reads as many bytes of as it needs, and no more: what follows may be an array's."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.readline = file.read, file.readline


class _Unpickler(pickle.Unpickler):
    """Makes stand-ins, of arrays alone."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(_Exact(file), encoding="latin1")  # Python 2's, too
        self._file, self._path = file, path

    def find_class(self, module: str, name: str) -> Any:
        if JOBLIB.fullmatch(module) and name == "NDArrayWrapper":
            return _Apart
        if JOBLIB.fullmatch(module) and name == "NumpyArrayWrapper":
            return type("_InlineHere", (_Inline,), {"file": self._file})
        if (module, name) == ("numpy", "ndarray"):
            return None
        if (module, name) == ("numpy", "dtype"):
            return _Numbers
        raise IntegrityError(
            f"{self._path} holds {module}.{name}, and not only arrays: to read it could run anything",
            hint=NOT_ONLY_ARRAYS,
        )


class _Apart:
    """Stands for an array in a file of its own."""

    filename: str

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.filename = state["filename"]

    def read(self, folder: Path) -> npt.NDArray[Any]:
        if Path(self.filename).name != self.filename:
            raise ValueError("a file elsewhere")
        array: npt.NDArray[Any] = np.load(folder / self.filename, allow_pickle=False)
        return array


class _Numbers:
    """Stands for a type of numbers."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.name = state[1] + self.name  # the order of bytes is a state, not an argument

    def resolve(self) -> np.dtype[Any]:
        if not NUMBER.fullmatch(self.name):
            raise ValueError(f"numbers of type {self.name}")
        return np.dtype(self.name)


class _Inline:
    """Stands for an array whose bytes follow in the file, once this is made; reads them."""

    file: BinaryIO
    array: npt.NDArray[Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("numpy_array_alignment_bytes") is not None:  # joblib 1.2 and on
            self.file.read(self.file.read(1)[0])
        numbers, shape = state["dtype"].resolve(), tuple(map(int, state["shape"]))
        content = self.file.read(numbers.itemsize * int(np.prod(shape, dtype=object)))
        self.array = np.frombuffer(content, numbers).reshape(shape, order="F" if state["order"] == "F" else "C")
