"""The stages of de-duplication in a row: from a source to clean shards."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dedup.calibration.stages import Calibration, CalibrationStage, ChanceStage
from dedup.clean import CleanStage
from dedup.decisions import Decisions
from dedup.keepers import Keeping
from dedup.profiles import Profile
from dedup.stages import (
    CandidateStage,
    CodeStage,
    EncoderStage,
    GroupStage,
    Origin,
    PairStage,
    SearchStage,
    SharpnessStage,
)
from dedup.thumbnails import ThumbnailStage
from pipelines.executors import Executor, LocalExecutor
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.sources import Source
from pipelines.stage import Stage, plan_stages, run_stage
from pipelines.store import Folder, open_root

TABLES = ("duplicates.parquet", "rejected.parquet")
# The others use every core by themselves.
ON_ALL_WORKERS = ("thumbnails", "calibration", "sharpness", "clean")


@dataclass(frozen=True, slots=True)
class Deduplication:
    """What is to be de-duplicated, and how.

    Attributes:
        source: the images.
        profile: what counts as a duplicate.
        keeping: which image of a group is kept.
        origin: of the encoder: "shipped", "fitted" to these images, or "auto": fitted where there are enough of them.
        device: auto, cpu or cuda: where the encoder is fitted.
        shard_size: records per shard; None lets the source choose.
        calibration: near-duplicates are planted into a sample, and the radius is chosen by what of them is found.
        decisions: what people said of pairs, which holds whatever their scores.
    """

    source: Source
    profile: Profile
    keeping: Keeping = field(default_factory=Keeping)
    origin: Origin = "auto"
    device: str = "auto"
    shard_size: int | None = None
    calibration: Calibration | None = None
    decisions: Decisions = field(default_factory=Decisions)

    def stages(self, root: Folder) -> list[tuple[Stage, tuple[str, ...]]]:
        """Each stage with the names of the stages whose manifests it reads, in order."""
        encoder, matching = self.profile.encoder, self.profile.matching
        verified, seed = matching.verified, encoder.seed
        stages: list[tuple[Stage, tuple[str, ...]]] = [
            (ThumbnailStage(self.source, self.shard_size), ()),
            (EncoderStage(encoder, self.origin, self.device), ("thumbnails",)),
            (CodeStage(), ("thumbnails", "encoder")),
        ]
        calibrated: tuple[str, ...] = ()
        if self.calibration:
            calibrated = ("calibration", "chance")
            plant = CalibrationStage(self.source, self.shard_size, self.calibration.sample, seed, verified)
            stages += [
                (plant, ("thumbnails", "encoder", "codes")),
                (ChanceStage(seed, verified), ("thumbnails", "codes", "calibration")),
            ]
        false_rate = self.calibration.false_rate if self.calibration else None
        stages += [
            (SearchStage(matching, false_rate), ("codes", *calibrated)),
            (CandidateStage(mirrored=verified), ("codes", "search")),
            (PairStage(matching.threshold, root / "verdicts"), ("thumbnails", "codes", "candidates")),
        ]
        sharpened: tuple[str, ...] = ()
        if self.keeping.policy == "sharpest":
            sharpened = ("sharpness",)
            stages.append((SharpnessStage(self.source, self.shard_size), ("thumbnails", "pairs")))
        stages += [
            (
                GroupStage(matching.threshold, self.keeping, self.decisions),
                ("thumbnails", "codes", "pairs", *sharpened),
            ),
            (CleanStage(self.source, self.shard_size), ("thumbnails", "groups")),
        ]
        return stages

    def run(
        self, root: Folder | Path, executor: Executor, progress: Progress, until: str = "clean"
    ) -> dict[str, Manifest]:
        """Run what is not done yet, up to a stage; the caller holds `pipelines.stage.dataset_lock`.

        Returns:
            Stage name → manifest.
        """
        folder = open_root(root)
        done: dict[str, Manifest] = {}
        for stage, names in self.stages(folder):
            spread = stage.name in ON_ALL_WORKERS or not isinstance(executor, LocalExecutor)
            runs_on = executor if spread else LocalExecutor(1)
            done[stage.name] = run_stage(stage, [done[name] for name in names], folder, runs_on, progress)
            if stage.name == until:
                break
        return done

    def plan(self, root: Folder | Path) -> Iterator[tuple[str, str]]:
        """Stage by stage, what `run` would do; touches nothing."""
        folder = open_root(root)
        return plan_stages(self.stages(folder), folder, {})


def publish(finished: Mapping[str, Manifest], root: Folder | Path) -> None:
    """Put the tables where people look for them: beside ``clean/``."""
    for name in TABLES:
        open_root(root).write(name, finished["groups"].path(name).read_bytes())
