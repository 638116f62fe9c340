"""Finished data sets: a data set's folder in; the manifests of its thumbnails, encoder and codes out.

Stands at "thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN", for whatever reads what a run has left. Imports no torch: a page that shows a data set opens at
once.
"""

from dataclasses import dataclass
from pathlib import Path

from dedup.images import Images
from pipelines.errors import SourceError
from pipelines.manifest import Manifest
from pipelines.store import Folder, open_root

ENCODER = "encoder.safetensors"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The manifests of a data set whose codes are there; codes are of that encoder and those thumbnails."""

    thumbnails: Manifest
    encoder: Manifest
    codes: Manifest

    @property
    def encoder_sha256(self) -> str:
        """SHA-256 (hex) of the encoder's file."""
        return next(file.sha256 for shard in self.encoder.shards for file in shard.files if file.name == ENCODER)

    def images(self) -> Images:
        """All usable images, by number."""
        return Images(self.thumbnails, self.codes)


def load_encoded(root: Folder | Path) -> Encoded:
    """What a finished run left in a data set's folder; nothing is read from its source.

    Raises:
        SourceError: thumbnails, encoder or codes are missing, or of different runs; the hint says what makes them.
        IntegrityError: a manifest is damaged.
    """
    folder = open_root(root)
    hint = f"run: python -m dedup.run {folder.name} (with the --source and --data-root of this data set)"
    try:
        thumbnails, encoder, codes = (Manifest.load(folder / stage) for stage in ("thumbnails", "encoder", "codes"))
    except FileNotFoundError:
        raise SourceError(f"{folder} holds no finished codes", hint=hint) from None
    if codes.lineage != {**codes.lineage, "thumbnails": thumbnails.digest, "encoder": encoder.digest}:
        raise SourceError(f"the codes in {folder} are of other thumbnails or of another encoder", hint=hint)
    return Encoded(thumbnails, encoder, codes)
