"""Encoding: thumbnails in; the encoder of this data set, and every picture's 128-bit code, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from dedup.autoencoder import fit_encoder
from dedup.codes import flat_mask
from dedup.encoder import EncoderConfig, choose_device, load_encoder, load_shipped_encoder, save_encoder
from dedup.images import ArrayShards, save_array
from pipelines.errors import ConfigError, SourceError
from pipelines.manifest import Manifest, digest_of
from pipelines.stage import Task

# Fewer pictures do not fit an encoder as good as the one that ships; see docs/BENCHMARKS.md.
SHIPPED_BELOW = 100_000

Origin = Literal["auto", "shipped", "fitted"]


def choose_origin(origin: str, profile: str) -> Origin:
    """What ``--encoder`` says, for a profile: the paper's net is always fitted.

    Raises:
        ConfigError: no such origin, or none of that profile.
    """
    if origin not in get_args(Origin):
        raise ConfigError(f"--encoder is {origin!r}", hint=f"give one of: {', '.join(get_args(Origin))}")
    if profile == "paper" and origin == "shipped":
        raise ConfigError("no encoder of profile paper ships", hint="leave --encoder out, or take --profile default")
    return "fitted" if profile == "paper" else cast(Origin, origin)


@dataclass(frozen=True, slots=True)
class EncoderStage:
    """The encoder, shipped or fitted to a seeded sample: ``encoder.safetensors``; ``encoder.json`` says which it is.

    It is frozen by the first run: what the source gains later is encoded with it, so that all codes are of one kind.
    """

    name: ClassVar[str] = "encoder"
    version: ClassVar[int] = 2

    config: EncoderConfig
    origin: Origin
    device: str

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the thumbnails' manifest, whose content is not among the task's inputs."""
        return [Task("encoder", upstream, "frozen")]

    def run(self, task: Task, out: Path) -> int:
        """Take what ships; or draw the sample, fit, save."""
        (manifest,) = task.payload
        thumbnails = ArrayShards(manifest, ".thumbnails.npy")
        if not len(thumbnails):
            raise SourceError(
                "no image of the source can be used", hint=f"each has its reason in {manifest.folder}/*.parquet"
            )
        origin, sample_size = self.origin, 0
        if origin == "auto":
            origin = "shipped" if len(thumbnails) < SHIPPED_BELOW else "fitted"
        if origin == "shipped":
            encoder = load_shipped_encoder()
        else:
            sample_size = min(self.config.sample_size, len(thumbnails))
            generator = np.random.default_rng([self.config.seed, len(thumbnails)])
            sample = thumbnails.take(np.sort(generator.choice(len(thumbnails), sample_size, replace=False)))
            encoder = fit_encoder(sample, self.config, device=choose_device(self.device))
        save_encoder(out / "encoder.safetensors", encoder)
        (out / "encoder.json").write_text(json.dumps({"origin": origin, "fitted_to": sample_size}))
        return sample_size


@dataclass(frozen=True, slots=True)
class CodeStage:
    """Encodes thumbnails: ``NNNNN.codes.npy``, uint8 (n, 16), and ``NNNNN.flat.npy``, uint8 (n,).

    ``flat`` is 1 for pictures of one colour, whose codes mean nothing.
    """

    name: ClassVar[str] = "codes"
    version: ClassVar[int] = 2

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard; ``upstream`` is the thumbnails' and the encoder's manifest."""
        thumbnails, encoder = upstream
        parts = [thumbnails.part(shard.name) for shard in thumbnails.shards]
        return [
            Task(shard.name, (part, encoder), digest_of([part.digest, encoder.digest]))
            for shard, part in zip(thumbnails.shards, parts, strict=True)
        ]

    def run(self, task: Task, out: Path) -> int:
        """Encode one shard."""
        part, encoder = task.payload
        thumbnails = np.load(part.path(f"{task.name}.thumbnails.npy"), mmap_mode="r")
        codes = load_encoder(encoder.path("encoder.safetensors")).codes(thumbnails)
        save_array(out / f"{task.name}.codes.npy", codes)
        save_array(out / f"{task.name}.flat.npy", flat_mask(thumbnails).astype(np.uint8))
        return len(thumbnails)
