"""Command: ``python -m dedup.pretrain FILE SOURCE...``. Photographs in; the encoder that the package ships out.

Sets of a few thousand pictures are too small to fit 128 filters to; they are encoded by this one, and the fits to
larger sets start from it. A fifth of the pictures, chosen by their keys, is left out, so that it can be measured on.
"""

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from dedup.autoencoder import PRETRAINING, choose_device, fit_encoder, save_encoder
from pipelines.cli import Debug, Workers, console, new_app, run_app
from pipelines.errors import SourceError
from pipelines.executors import LocalExecutor
from pipelines.images import ImageRejected, make_thumbnail
from pipelines.sources import Source, Split, open_source

app = new_app("Fit the encoder that the package ships.")


@app.command()
def main(
    file: Annotated[Path, typer.Argument(help="To be written, such as dedup/encoder.safetensors.")],
    sources: Annotated[list[str], typer.Argument(help="Of photographs: lmdb:, folder:, webdataset: or parquet:PATH.")],
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Decode the sources to thumbnails, fit, save."""
    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    opened = [open_source(source) for source in sources]
    splits = [(source, split) for source in opened for split in source.splits()]
    thumbnails = np.concatenate(list(executor.map(_make_thumbnails, splits)))
    if not len(thumbnails):
        raise SourceError("no picture of the sources can be used", hint="try python -m dedup.run on one of them")
    console.print(f"fitting to {len(thumbnails):,} pictures")
    save_encoder(file, fit_encoder(thumbnails, PRETRAINING, device=choose_device("auto")))


def is_held_out(key: str) -> bool:
    """Whether a record of that key is left out, as one in five is."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 5 == 0


def _make_thumbnails(piece: tuple[Source, Split]) -> NDArray[np.uint8]:
    """(N, 32, 32, 3) uint8 of a split's usable records that are not held out."""
    source, split = piece
    thumbnails = []
    for record in source.read(split):
        if not is_held_out(record.key):
            try:
                thumbnails.append(make_thumbnail(record.image)[1])
            except ImageRejected:
                continue
    return np.array(thumbnails, np.uint8).reshape(-1, 32, 32, 3)


if __name__ == "__main__":
    run_app(app, "python -m dedup.pretrain")
