"""Searching: codes in; the radius of this data set, and all pairs of images within it, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dedup.calibration.figures import calibration_summary, measure
from dedup.calibration.figures import choose_radius as choose_calibrated_radius
from dedup.images import ArrayShards, save_array
from dedup.matching.match import choose_radius, plan_search, search_part
from dedup.matching.pairs import pair_rows
from dedup.profiles import Matching
from pipelines.manifest import Manifest
from pipelines.stage import Task


@dataclass(frozen=True, slots=True)
class SearchStage:
    """Chooses the radius: ``search.json`` says it and how many images are searched.

    It is as wide as the profile allows while chance does not bring more candidates than are worth verifying, and while
    no more than ``false_rate`` of what is dropped is expected to be false, where a calibration has measured that; then
    ``calibration.json`` holds its figures.
    """

    name: ClassVar[str] = "search"
    version: ClassVar[int] = 1

    matching: Matching
    false_rate: float | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the codes' manifest, and the calibration's and chance's if there are."""
        return [Task("search", upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Look at the distances of unrelated images."""
        manifest, *calibrated = task.payload
        codes, usable = ArrayShards(manifest, ".codes.npy").parts, _textured(manifest)
        searched = sum(int(np.count_nonzero(part)) for part in usable)
        most, chance_pairs, verified = self.matching.radius, self.matching.chance_pairs, self.matching.verified
        radius = most
        if chance_pairs is not None:
            chance_pairs = max(chance_pairs, self.matching.chance_pairs_in_all / max(1, searched))
            radius = choose_radius(codes, usable, chance_pairs, most=most, mirrored=verified)
        if self.false_rate is not None:
            calibration, chance = calibrated
            measured = measure(manifest, calibration, chance, threshold=self.matching.threshold)
            if chance_pairs is not None:
                radius = choose_calibrated_radius(
                    measured, self.false_rate, candidates_per_image=chance_pairs, most=most
                )
            summary = {"false_rate": self.false_rate, **calibration_summary(measured, radius)}
            (out / "calibration.json").write_text(json.dumps(summary))
        (out / "search.json").write_text(json.dumps({"radius": radius, "searched": searched}))
        return 1


@dataclass(frozen=True, slots=True)
class CandidateStage:
    """Finds the pairs of images whose codes lie within the radius.

    ``NNNNN.pairs.npy``, columns `dedup.matching.pairs.PAIR`.
    """

    name: ClassVar[str] = "candidates"
    version: ClassVar[int] = 1

    mirrored: bool

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per part of the search; ``upstream`` is the codes' and the search's manifest."""
        codes, search = upstream
        chosen = json.loads(search.path("search.json").read_bytes())
        plan = plan_search(chosen["searched"], chosen["radius"], mirrored=self.mirrored)
        return [Task(f"{index:05d}", (codes, plan, part)) for index, part in enumerate(plan.parts)]

    def run(self, task: Task, out: Path) -> int:
        """Search one part."""
        manifest, plan, part = task.payload
        pairs = search_part(ArrayShards(manifest, ".codes.npy").parts, _textured(manifest), plan, part)
        save_array(out / f"{task.name}.pairs.npy", pair_rows(pairs))
        return len(pairs)


def _textured(codes: Manifest) -> list[npt.NDArray[np.bool_]]:
    """Shard by shard, which images are not flat, and so have a code that means something."""
    return [flat == 0 for flat in ArrayShards(codes, ".flat.npy").parts]
