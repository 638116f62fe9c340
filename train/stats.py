"""Statistics: each minibatch's measures in, a row of ``stats.jsonl`` and TensorBoard's events per interval out.

A row's ``images`` counts those seen so far, and is TensorBoard's step. ``value`` is V(D, G), ``d_real`` and ``d_fake``
the means of D(x) and D(G(z)), ``generator_loss`` what G minimised: all are means over the interval's minibatches.
``spread`` and ``code_distance`` say how unlike one another samples are, ``signs`` what looks wrong: `train.watch`.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from pipelines.errors import TrainingError
from pipelines.store import write_atomically
from train.samples import Pixels

STATS_NAME = "stats.jsonl"
TENSORBOARD_NAME = "tensorboard"

Row = Mapping[str, Any]


class Measures:
    """Measures of the minibatches since the last row: name → (images seen, value) of each.

    Values stay tensors on the device until they are asked for, so that a GPU is not waited for at every minibatch.
    """

    def __init__(self, kept: Mapping[str, list[tuple[int, float]]] | None = None) -> None:
        self._values: dict[str, list[tuple[int, float | Tensor]]] = {
            name: list(values) for name, values in (kept or {}).items()
        }

    def add(self, images_seen: int, measured: Mapping[str, Tensor]) -> None:
        """Note the measures (scalars) of one minibatch."""
        for name, value in measured.items():
            self._values.setdefault(name, []).append((images_seen, value.detach()))

    def fetch(self) -> dict[str, list[tuple[int, float]]]:
        """All of them as numbers, as the constructor takes them.

        Raises:
            TrainingError: one is not finite; names the first.
        """
        fetched = {name: [(seen, float(value)) for seen, value in values] for name, values in self._values.items()}
        for name, values in fetched.items():
            for seen, value in values:
                if not math.isfinite(value):
                    raise TrainingError(
                        f"training diverged: {name} became {value} at image {seen:,}",
                        hint="the last good checkpoint is kept; start another run with a lower --learning-rate",
                    )
        return fetched

    def summarise(self) -> dict[str, float]:
        """The mean of each measure; forgets them. Raises TrainingError as `fetch` does."""
        means = {name: math.fsum(value for _, value in values) / len(values) for name, values in self.fetch().items()}
        self._values.clear()
        return means


class StatsLog:
    """Writes the rows of a run; use as a context manager.

    A run that was killed may have written rows of minibatches that come after its last checkpoint and will be run
    again: these are forgotten. A folder of None: this process writes nothing, another one does.
    """

    def __init__(self, folder: Path | None, images_seen: int) -> None:
        self._writer: SummaryWriter | None = None
        self._folder = folder
        self._forget_after(images_seen)

    def forget_after(self, images_seen: int, why: str) -> None:
        """Drop the rows of what came after ``images_seen``, which is run anew, for a row that says why."""
        self._forget_after(images_seen)
        self.write({"images": images_seen, "signs": [why]})

    def _forget_after(self, images_seen: int) -> None:
        """Drop later rows from ``stats.jsonl``, and tell TensorBoard to forget them."""
        if self._folder is None:
            return
        if self._writer is not None:
            self._writer.close()
        path = self._folder / STATS_NAME
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["images"] <= images_seen]
        write_atomically(path, b"".join(kept))
        events = self._folder / TENSORBOARD_NAME
        self._writer = SummaryWriter(str(events), purge_step=images_seen + 1 if events.exists() else None)

    def write(self, row: Row) -> None:
        """Append a row; to TensorBoard its numbers, and those of its evaluation."""
        if self._folder is None or self._writer is None:
            return
        with (self._folder / STATS_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")
        measured = row.get("evaluation", {}).get("metrics", {})
        memorised = {"memorised_share": row["memorisation"]["share"]} if "memorisation" in row else {}
        for name, value in {**row, **measured, **memorised}.items():
            if name != "images" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, int(row["images"]))

    def show(self, name: str, image: Pixels, images_seen: int) -> None:
        """Add a picture, uint8 RGB (H, W, 3), to TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, image, images_seen, dataformats="HWC")
            self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
