"""The stages of de-duplication in a row: from a source to clean shards."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dedup.autoencoder import choose_device
from dedup.clean import CleanStage
from dedup.profiles import Profile
from dedup.report import Finished
from dedup.stages import CodeStage, EncoderStage, GroupStage, PairStage
from dedup.thumbnails import ThumbnailStage
from pipelines.executors import Executor, LocalExecutor
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.sources import Source
from pipelines.stage import Stage, plan_stages, run_stage

TABLES = ("duplicates.parquet", "rejected.parquet")


@dataclass(frozen=True, slots=True)
class Deduplication:
    """What is to be de-duplicated, and how.

    Attributes:
        source: the images.
        profile: what counts as a duplicate.
        device: auto, cpu or cuda: where the encoder is fitted and runs.
        shard_size: records per shard; None lets the source choose.
    """

    source: Source
    profile: Profile
    device: str = "auto"
    shard_size: int | None = None

    def stages(self) -> list[tuple[Stage, tuple[str, ...]]]:
        """Each stage with the names of the stages whose manifests it reads, in order."""
        encoder, matching = self.profile.encoder, self.profile.matching
        device = choose_device(self.device)
        return [
            (ThumbnailStage(self.source, self.shard_size), ()),
            (EncoderStage(encoder, device), ("thumbnails",)),
            (CodeStage(matching.verified, device), ("thumbnails", "encoder")),
            (PairStage(matching, encoder.seed), ("thumbnails", "codes")),
            (GroupStage(matching, encoder.seed), ("thumbnails", "codes", "pairs")),
            (CleanStage(self.source, self.shard_size), ("thumbnails", "groups")),
        ]

    def run(self, root: Path, executor: Executor, progress: Progress) -> Finished:
        """Run what is not done yet, below ``root``; the caller holds `pipelines.stage.dataset_lock`."""
        done: dict[str, Manifest] = {}
        for stage, names in self.stages():
            # The stages that use torch use every core by themselves.
            runs_on = executor if isinstance(stage, ThumbnailStage | CleanStage) else LocalExecutor(1)
            done[stage.name] = run_stage(stage, [done[name] for name in names], root, runs_on, progress)
        return Finished(**done)

    def plan(self, root: Path) -> Iterator[tuple[str, str]]:
        """Stage by stage, what `run` would do; touches nothing."""
        return plan_stages(self.stages(), root, {})


def publish(finished: Finished, root: Path) -> None:
    """Put the tables where people look for them: beside ``clean/``, each by a rename."""
    for name in TABLES:
        temporary = root / f".tmp-{name}"
        shutil.copyfile(finished.groups.root / name, temporary)
        temporary.replace(root / name)
