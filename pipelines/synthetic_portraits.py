"""The embedded portraits: rendered faces in, one parquet file of Hugging Face's layout out, what each shows beside it.

A data set for experiments on what a generator has learned: of each picture it is known whether it shows a man or a
woman, smiling or not, with or without glasses, and how far they turn. The same options give the same bytes on the same
machine, whatever the number of workers.
"""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ConfigError
from pipelines.executors import LocalExecutor
from pipelines.planting import encode_image
from pipelines.portraits import Sitting, render_closeup
from pipelines.portraits.people import draw_person
from pipelines.store import write_atomically
from pipelines.synthetic import one_thread

SIDE = 64  # pixels
LARGEST_YAW_DEG = 25.0

_PER_TASK = 32
_ROWS_PER_GROUP = 256
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, slots=True)
class _Portrait:
    """One row of the file, the image's bytes still bare."""

    image: bytes
    label: str
    person: int
    male: bool
    smile: bool
    glasses: bool
    yaw_deg: float
    left: bool


def write_portraits(
    path: Path,
    *,
    count: int = 3000,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render a data set into a new file.

    Each picture, a PNG of 64 px, shows another person; half of all are men, half smile and half wear glasses, each
    independently of the others, and they turn by up to 25 degrees to either side. The columns beside ``image``:
    ``label`` (one of eight classes, as ``smiling man with glasses`` or ``neutral woman``), ``person`` (a number),
    ``male``, ``smile``, ``glasses``, ``yaw_deg`` (to the picture's right) and ``left`` (whether that is below 0).

    Args:
        path: of the file to be made, which appears when all of it is written.
        count: pictures.
        seed: another seed gives other people.
        workers: processes; None: one per core. The bytes do not depend on it.
        progress: called with the pictures done and all pictures.

    Raises:
        ConfigError: ``count`` is below 1, or the file is there.
        DiskFull: no space left.
    """
    if count < 1:
        raise ConfigError(f"{count} portraits are too few", hint="give 1 or more")
    if path.exists():
        raise ConfigError(f"{path} is there already", hint="remove it, or choose another file")
    tasks = [range(start, min(start + _PER_TASK, count)) for start in range(0, count, _PER_TASK)]
    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    portraits: list[_Portrait] = []
    for made in executor.map(partial(_make_portraits, seed), tasks):
        portraits += made
        if progress is not None:
            progress(len(portraits), count)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _encode_table(portraits))


def name_class(*, male: bool, smile: bool, glasses: bool) -> str:
    """The label of a picture, in words."""
    return f"{'smiling' if smile else 'neutral'} {'man' if male else 'woman'}{' with glasses' if glasses else ''}"


def _make_portraits(seed: int, people: range) -> list[_Portrait]:
    with one_thread():
        return [_make_portrait(seed, person) for person in people]


def _make_portrait(seed: int, person: int) -> _Portrait:
    rng = np.random.default_rng([seed, person, 0, 3])  # apart from the generator that draws the picture
    smile, glasses = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    yaw_deg = float(rng.uniform(-LARGEST_YAW_DEG, LARGEST_YAW_DEG))
    male = draw_person(seed, person).male > 0.5
    picture = render_closeup(seed, person, Sitting(smile, glasses, yaw_deg), side=SIDE)
    label = name_class(male=male, smile=smile, glasses=glasses)
    image = encode_image(picture.image, ".png")
    return _Portrait(image, label, person, male, smile, glasses, yaw_deg, left=yaw_deg < 0)


def _encode_table(portraits: list[_Portrait]) -> bytes:
    rows = [asdict(portrait) for portrait in portraits]
    names = [f"{row['person']:06d}.png" for row in rows]
    images = [{"bytes": row.pop("image"), "path": name} for row, name in zip(rows, names, strict=True)]
    table = pa.Table.from_pylist(rows).add_column(0, pa.field("image", _IMAGE), [pa.array(images, _IMAGE)])
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=_ROWS_PER_GROUP)
    return file.getvalue()
