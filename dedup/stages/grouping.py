"""Grouping: verified pairs in; who is kept, who is dropped for whom, and what is rejected, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.cluster import Groups, group_pairs
from dedup.codes import compare_codes
from dedup.decisions import Decisions, Links
from dedup.grouped import DROPPED, GROUPED, RULES
from dedup.images import Images, Numbers, equal_bytes, find_bytes, read_usable, save_array
from dedup.keepers import Keeping, rank_images
from dedup.matching.pairs import load_pairs
from dedup.verification.verify import score_numbered
from pipelines.errors import ConfigError
from pipelines.manifest import Manifest
from pipelines.stage import Task, fingerprint_of

DUPLICATES = pa.schema(
    [
        ("key", pa.string()),
        ("kept_key", pa.string()),
        ("group", pa.int64()),
        ("distance", pa.int16()),
        ("score", pa.float32()),
        ("rule", pa.string()),
    ]
)
REJECTED = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)
EXHIBITS = pa.schema([("section", pa.string()), ("place", pa.int32()), ("image", pa.int64()), ("key", pa.string())])
EXHIBITED = {"pair": 24, "group": 12, "split": 12}
EXHIBITED_PER_GROUP = 6
ROW_COLUMNS = ("key", "source", "width", "height", "size_bytes", "sha256")


@dataclass(frozen=True, slots=True)
class GroupStage:
    """Groups and keepers: ``duplicates.parquet``, ``rejected.parquet``, ``exhibits.parquet`` and two arrays.

    ``exhibits`` are the images that the report shows; ``grouped.npy`` (`GROUPED`) and ``dropped.npy`` (`DROPPED`, by
    the kept image) say by number what the tables say by key. ``summary.json`` counts groups, flat pictures, the images
    that were split off their component and the decisions that were honoured, and names the ``population``: the same
    for every run that differs in its decisions alone. Memory follows the images that have duplicates, not all.
    """

    name: ClassVar[str] = "groups"
    version: ClassVar[int] = 4

    threshold: float | None
    keeping: Keeping
    decisions: Decisions = field(default_factory=Decisions)

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the thumbnails', the codes' and the pairs' manifest, and the sharpness' if there is."""
        return [Task("groups", upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Link equal bytes, verified pairs and what people decided, choose keepers, write the tables."""
        thumbnails, codes, pairs, *sharpness = task.payload
        images = Images(thumbnails, codes)
        near = [rows[["a", "b", "score"]] for rows in load_pairs(pairs.paths(".pairs.npy"))]
        same_a, same_b = equal_bytes(images)
        a = np.concatenate([same_a, *(rows["a"] for rows in near)])
        b = np.concatenate([same_b, *(rows["b"] for rows in near)])
        score = np.concatenate([np.full(len(same_a), np.inf, np.float32), *(rows["score"] for rows in near)])
        members = np.unique(np.concatenate([a, b, find_bytes(images, self.decisions.sha256().to_pylist())]))
        rows = images.rows(members, ROW_COLUMNS)
        _require_unique_keys(rows["key"], thumbnails)
        if sharpness:
            rows = rows.append_column("sharpness", pa.array(_sharpness_of(members, images, *sharpness)))
        decided = self.decisions.among(rows["sha256"])
        linked = _Linked(images, members, rows["sha256"], self.threshold, decided)
        rank = rank_images(rows, self.keeping)
        places = np.searchsorted(members, a), np.searchsorted(members, b)
        groups = group_pairs(*decided.apply(*places, score), rank, linked.verify)
        duplicates = linked.describe(groups, rows["key"])
        grouped = np.zeros(len(members), GROUPED)
        grouped["number"], grouped["size"] = members, groups.sizes
        save_array(out / "grouped.npy", grouped[grouped["size"] != 1])
        save_array(out / "dropped.npy", _number_dropped(duplicates, members))
        pq.write_table(duplicates.select(DUPLICATES.names), out / "duplicates.parquet")
        exhibits = _choose_exhibits(duplicates, groups, members, rows["key"], images)
        pq.write_table(exhibits, out / "exhibits.parquet")
        _write_rejected(thumbnails, out / "rejected.parquet")
        summary = {
            "groups": int(np.count_nonzero(groups.sizes > 1)),
            "flat": sum(int(np.count_nonzero(part)) for part in images.flat.parts),
            "split_off": len(groups.split_off),
            "decisions": {"same": decided.same.shape[1], "different": decided.different.shape[1]},
            "population": fingerprint_of(replace(self, decisions=Decisions()), [made.digest for made in task.payload]),
        }
        (out / "summary.json").write_text(json.dumps(summary))
        return int(duplicates.num_rows)


class _Linked:
    """Images that some pair links, by their place among them: how two of them compare."""

    def __init__(
        self, images: Images, members: Numbers, sha256: pa.ChunkedArray, threshold: float | None, decided: Links
    ) -> None:
        self._images, self._members, self._threshold, self._decided = images, members, threshold, decided
        self._bytes = pc.dictionary_encode(sha256.combine_chunks()).indices.to_numpy()
        self._flat = images.flat.take(members) == 1 if len(members) else np.zeros(0, np.bool_)

    def verify(self, a: Numbers, b: Numbers) -> npt.NDArray[np.bool_]:
        """Whether images ``a`` and ``b`` are duplicates, bool (P,)."""
        same = np.asarray(self._bytes[a] == self._bytes[b])
        asked = np.flatnonzero(~same & ~self._flat[a] & ~self._flat[b])
        first, second = self._members[a[asked]], self._members[b[asked]]
        if len(asked):
            distance, mirrored = self._compare(first, second)
            if self._threshold is None:
                same[asked] = distance == 0
            else:
                same[asked] = self._score(first, second, mirrored) >= self._threshold
        return np.asarray(same & ~self._decided.are_different(a, b))

    def _compare(self, a: Numbers, b: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        codes = self._images.codes
        return compare_codes(codes.take(a), codes.take(b), mirrored=True)

    def _score(self, a: Numbers, b: Numbers, mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        take = self._images.thumbnails.take
        return score_numbered(take, take, a, b, mirrored)

    def describe(self, groups: Groups, keys: pa.ChunkedArray) -> pa.Table:
        """Dropped images: columns `DUPLICATES`, and ``dropped`` and ``kept``, their and their keepers' places."""
        dropped = groups.dropped
        kept = groups.keeper[dropped]
        kept_keys = keys.take(pa.array(kept))
        same_bytes = self._bytes[dropped] == self._bytes[kept]
        distance, scores = np.zeros(len(dropped), np.int16), np.full(len(dropped), np.nan, np.float32)
        rule = np.full(len(dropped), "same_bytes", dtype="U16")
        near = np.flatnonzero(~same_bytes)
        if len(near):
            first, second = self._members[dropped[near]], self._members[kept[near]]
            distance[near], mirrored = self._compare(first, second)
            if self._threshold is None:
                rule[near] = np.where(distance[near] == 0, "equal_codes", "reviewed")
            else:
                scores[near] = self._score(first, second, mirrored)
                rule[near] = np.where(mirrored, "near_mirrored", "near")
                rule[near[scores[near] < self._threshold]] = "reviewed"
        columns = {
            "key": keys.take(pa.array(dropped)),
            "kept_key": kept_keys,
            "group": pc.rank(kept_keys, tiebreaker="dense") if len(kept) else pa.array([], pa.int64()),
            "distance": distance,
            "score": pa.array(scores, from_pandas=True),  # null where nothing was scored
            "rule": rule,
        }
        table = pa.table(columns).cast(DUPLICATES)
        return table.append_column("dropped", [dropped]).append_column("kept", [kept]).sort_by("key")


def _number_dropped(duplicates: pa.Table, members: Numbers) -> npt.NDArray[Any]:
    """Dropped images as `DROPPED`, those of one kept image side by side."""
    rows = np.zeros(duplicates.num_rows, DROPPED)
    rows["number"] = members[duplicates["dropped"].to_numpy()]
    rows["kept"] = members[duplicates["kept"].to_numpy()]
    rows["distance"] = duplicates["distance"].to_numpy()
    rows["score"] = duplicates["score"].to_numpy(zero_copy_only=False)
    rows["rule"] = pc.index_in(duplicates["rule"], value_set=pa.array(RULES)).to_numpy()
    return rows[np.lexsort((rows["number"], rows["kept"]))]


def _sharpness_of(members: Numbers, images: Images, manifest: Manifest) -> npt.NDArray[np.float64]:
    """What the sharpness stage measured of these images; 0 where it was not asked."""
    values = np.zeros(len(members))
    for path, start in zip(manifest.paths(".sharpness.npy"), images.ids.starts.tolist(), strict=False):
        measured = np.load(path)
        at = np.searchsorted(members, start + measured["place"])
        values[at] = measured["sharpness"]
    return values


def _require_unique_keys(keys: pa.ChunkedArray, thumbnails: Manifest) -> None:
    """Refuse sources that share a key of an image with duplicates: the tables could not say which one is meant."""
    tables = (read_usable(path, ["key"])["key"] for path in thumbnails.paths(".parquet"))
    found = sum(pc.sum(pc.is_in(column, value_set=keys.combine_chunks())).as_py() or 0 for column in tables)
    if found > len(keys) or len(pc.unique(keys)) < len(keys):
        raise ConfigError(
            "the sources share keys, so that duplicates could not be named",
            hint="give them names, which keys then begin with: --source NAME=URI",
        )


def _write_rejected(thumbnails: Manifest, path: Path) -> None:
    """Gather the rows with a reason, shard by shard."""
    with pq.ParquetWriter(path, REJECTED) as writer:
        for rows in thumbnails.paths(".parquet"):
            rejected = pq.read_table(rows, columns=REJECTED.names, filters=~pc.field("reason").is_null())
            writer.write_table(rejected.cast(REJECTED))


def _choose_exhibits(
    duplicates: pa.Table, groups: Groups, members: Numbers, keys: pa.ChunkedArray, images: Images
) -> pa.Table:
    """Pairs, the largest groups and what was split off a chain, as images, the keeper of each first.

    Pairs are drawn by the hash of the dropped image's bytes: at random, and much the same when a set grows.
    """
    exhibits: list[dict[str, Any]] = []

    def add(section: str, shown: Sequence[Sequence[int]]) -> None:
        for place, group in enumerate(shown[: EXHIBITED[section]]):
            exhibits.extend(
                {"section": section, "place": place, "image": int(members[image]), "key": keys[image].as_py()}
                for image in group
            )

    dropped, kept = duplicates["dropped"].to_numpy(), duplicates["kept"].to_numpy()
    drawn = np.argsort(images.ids.take(members[dropped]), kind="stable")[: EXHIBITED["pair"]]
    add("pair", np.stack([kept[drawn], dropped[drawn]], axis=1).tolist())
    sizes, keepers = np.unique(kept, return_counts=True)[::-1]
    least = np.sort(sizes)[-EXHIBITED["group"] :][:1]
    large = [
        (-size, keys[keeper].as_py(), keeper) for size, keeper in zip(sizes, keepers, strict=True) if size >= least
    ]
    largest = [keeper for *_, keeper in sorted(large)][: EXHIBITED["group"]]
    add("group", [[keeper, *dropped[kept == keeper][: EXHIBITED_PER_GROUP - 1].tolist()] for keeper in largest])
    add(
        "split", sorted(((keeper, image) for image, keeper in groups.split_off), key=lambda pair: keys[pair[1]].as_py())
    )
    return pa.Table.from_pylist(exhibits, EXHIBITS)
