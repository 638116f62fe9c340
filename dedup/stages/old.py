"""The stages between thumbnails and clean shards: encoder, codes, pairs and groups.

Each reads finished manifests, calls pure functions, and writes arrays and tables. Images are numbered by their place
among all usable ones, in the source's order; keys come back in when groups are written.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.autoencoder import EncoderConfig, fit_encoder, load_encoder, save_encoder
from dedup.cluster import Groups, group_pairs
from dedup.codes import flat_mask, hamming_distance
from dedup.match import Pairs, choose_radius, equal_code_pairs, find_pairs
from dedup.profiles import Matching
from dedup.thumbnails import ArrayShards, read_rows, save_array
from dedup.verify import THRESHOLD, score_pairs
from pipelines.errors import SourceError
from pipelines.manifest import Manifest
from pipelines.stage import Task

Indices = npt.NDArray[np.int64]

BLOCK = 8_192  # pairs verified at a time: two thumbnails each, 50 MB

DUPLICATES = pa.schema(
    [
        ("key", pa.string()),
        ("kept_key", pa.string()),
        ("group", pa.int64()),
        ("distance", pa.int16()),
        ("rule", pa.string()),
    ]
)
REJECTED = pa.schema(
    [("key", pa.string()), ("reason", pa.string()), ("size_bytes", pa.int64()), ("sha256", pa.string())]
)
EXHIBITS = pa.schema([("section", pa.string()), ("number", pa.int32()), ("key", pa.string())])
EXHIBITED_PAIRS, EXHIBITED_GROUPS, EXHIBITED_PER_GROUP = 24, 12, 6


@dataclass(frozen=True, slots=True)
class EncoderStage:
    """Fits the autoencoder on a seeded sample of the thumbnails: ``encoder.safetensors``."""

    name: ClassVar[str] = "encoder"
    version: ClassVar[int] = 1

    config: EncoderConfig
    device: str

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the thumbnails' manifest."""
        return [Task("encoder", upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Draw the sample, fit, save."""
        (manifest,) = task.payload
        thumbnails = ArrayShards(manifest)
        if not len(thumbnails):
            raise SourceError(
                "no image of the source can be used", hint=f"each has its reason in {manifest.root}/*.parquet"
            )
        generator = np.random.default_rng([self.config.seed, len(thumbnails)])
        size = min(self.config.sample_size, len(thumbnails))
        sample = thumbnails.take(np.sort(generator.choice(len(thumbnails), size, replace=False)))
        encoder = fit_encoder(sample, self.config, device=self.device)
        save_encoder(out / "encoder.safetensors", encoder)
        return size


@dataclass(frozen=True, slots=True)
class CodeStage:
    """Encodes thumbnails: ``NNNNN.codes.npy`` and, if asked, ``NNNNN.mirrored.npy``, uint8 (n, 16); ``NNNNN.flat.npy``.

    ``mirrored`` holds the codes of the thumbnails flipped left to right; ``flat``, uint8 (n,), is 1 for pictures of one
    colour, whose codes mean nothing.
    """

    name: ClassVar[str] = "codes"
    version: ClassVar[int] = 1

    mirrored: bool
    device: str

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard; ``upstream`` is the thumbnails' and the encoder's manifest."""
        thumbnails, encoder = upstream
        (weights,) = encoder.paths(".safetensors")
        pairs = zip(thumbnails.shards, thumbnails.paths(".npy"), strict=True)
        return [Task(shard.name, (path, weights)) for shard, path in pairs]

    def run(self, task: Task, out: Path) -> int:
        """Encode one shard."""
        path, weights = task.payload
        thumbnails = np.load(path, mmap_mode="r")
        encoder = load_encoder(weights, self.device)
        save_array(out / f"{task.name}.codes.npy", encoder.codes(thumbnails))
        if self.mirrored:
            save_array(out / f"{task.name}.mirrored.npy", encoder.codes(thumbnails[:, :, ::-1]))
        save_array(out / f"{task.name}.flat.npy", flat_mask(thumbnails).astype(np.uint8))
        return len(thumbnails)


@dataclass(frozen=True, slots=True)
class PairStage:
    """Finds duplicates by code: ``pairs.npy``, int64 (P, 2), each pair verified as the profile asks.

    ``search.json`` says the radius that was searched and how many candidates it brought.
    """

    name: ClassVar[str] = "pairs"
    version: ClassVar[int] = 1

    matching: Matching
    seed: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the thumbnails' and the codes' manifest."""
        return [Task("pairs", upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Search, then verify block by block."""
        images = Images(*task.payload)
        textured = np.flatnonzero(~images.flat)
        radius = self._choose_radius(images.codes[textured])
        pairs = images.candidates(textured, replace(self.matching, radius=radius), self.seed)
        a, b = textured[pairs.a], textured[pairs.b]
        if self.matching.verified:
            passed = images.verify(a, b)
            a, b = a[passed], b[passed]
        save_array(out / "pairs.npy", np.stack([a, b], axis=1))
        (out / "search.json").write_text(json.dumps({"radius": radius, "candidates": len(pairs)}))
        return len(a)

    def _choose_radius(self, codes: npt.NDArray[np.uint8]) -> int:
        chance_pairs, most = self.matching.chance_pairs, self.matching.radius
        return most if chance_pairs is None else choose_radius(codes, chance_pairs, most=most, seed=self.seed)


@dataclass(frozen=True, slots=True)
class GroupStage:
    """Groups and keepers: ``duplicates.parquet``, ``rejected.parquet``, ``group_sizes.npy``, ``exhibits.parquet``.

    ``group_sizes``, int32 (N,), is 0 for a dropped image, 1 for one without duplicates, and the size of its group for
    a keeper. ``exhibits`` are the keys that the report shows. ``summary.json`` counts groups, flat pictures and the
    images that were split off their component.
    """

    name: ClassVar[str] = "groups"
    version: ClassVar[int] = 1

    matching: Matching
    seed: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the thumbnails', the codes' and the pairs' manifest."""
        return [Task("groups", upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Link equal bytes and verified pairs, choose keepers, write the tables."""
        thumbnails, codes, pairs = task.payload
        images = Images(thumbnails, codes)
        rows = read_rows(thumbnails)
        usable, rejected = rows.filter(pc.is_null(rows["reason"])), rows.filter(pc.is_valid(rows["reason"]))
        same_a, same_b, copy_of = _equal_bytes(usable["sha256"])
        near = np.load(pairs.paths("pairs.npy")[0])

        def verify(a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
            same = np.asarray(copy_of[a] == copy_of[b])
            undecided = np.flatnonzero(~same & ~images.flat[a] & ~images.flat[b])
            same[undecided] = images.decide(a[undecided], b[undecided], self.matching)
            return same

        groups = group_pairs(
            np.concatenate([same_a, near[:, 0]]), np.concatenate([same_b, near[:, 1]]), _keeper_rank(usable), verify
        )
        duplicates = self._describe(groups, images, copy_of, usable["key"])
        pq.write_table(duplicates, out / "duplicates.parquet")
        pq.write_table(rejected.select(REJECTED.names).cast(REJECTED), out / "rejected.parquet")
        pq.write_table(_choose_exhibits(duplicates, self.seed), out / "exhibits.parquet")
        save_array(out / "group_sizes.npy", groups.sizes)
        summary = {
            "groups": int(np.count_nonzero(groups.sizes > 1)),
            "flat": int(np.count_nonzero(images.flat)),
            "split_off": groups.split_off,
        }
        (out / "summary.json").write_text(json.dumps(summary))
        return int(duplicates.num_rows)

    def _describe(self, groups: Groups, images: "Images", copy_of: Indices, keys: pa.ChunkedArray) -> pa.Table:
        """The table of dropped images, by key."""
        dropped = groups.dropped
        kept = groups.keeper[dropped]
        distance, mirrored = images.distance(dropped, kept)
        same_bytes = copy_of[dropped] == copy_of[kept]
        by_code = (
            np.where(mirrored, "near_mirrored", "near") if self.matching.verified else np.full(len(kept), "equal_codes")
        )
        kept_keys = keys.take(pa.array(kept))
        table = pa.table(
            [
                keys.take(pa.array(dropped)),
                kept_keys,
                pc.rank(kept_keys, tiebreaker="dense") if len(kept) else pa.array([], pa.int64()),
                pa.array(np.where(same_bytes, 0, distance).astype(np.int16)),
                pa.array(np.where(same_bytes, "same_bytes", by_code)),
            ],
            names=DUPLICATES.names,
        )
        return table.cast(DUPLICATES).sort_by("key")


class Images:
    """Thumbnails and codes of all usable images, by number: what pairs are decided on."""

    def __init__(self, thumbnails: Manifest, codes: Manifest) -> None:
        self.thumbnails = ArrayShards(thumbnails)
        self.codes = ArrayShards(codes, ".codes.npy").load()
        self.mirrored = ArrayShards(codes, ".mirrored.npy").load() if codes.paths(".mirrored.npy") else None
        self.flat = ArrayShards(codes, ".flat.npy").load().astype(np.bool_)

    def candidates(self, chosen: Indices, matching: Matching, seed: int) -> Pairs:
        """Pairs of ``chosen`` images, as positions in it, whose codes agree as ``matching`` asks."""
        if not matching.verified:
            return equal_code_pairs(self.codes[chosen])
        mirrored = None if self.mirrored is None else self.mirrored[chosen]
        return find_pairs(self.codes[chosen], matching.radius, mirrored=mirrored, seed=seed)

    def decide(self, a: Indices, b: Indices, matching: Matching) -> npt.NDArray[np.bool_]:
        """Whether images ``a`` and ``b`` are duplicates, bool (P,)."""
        if matching.verified:
            return self.verify(a, b)
        return np.asarray((self.codes[a] == self.codes[b]).all(axis=1))

    def verify(self, a: Indices, b: Indices) -> npt.NDArray[np.bool_]:
        """Whether the thumbnails of images ``a`` and ``b`` show one picture, bool (P,); block by block."""
        passed = np.zeros(len(a), np.bool_)
        for start in range(0, len(a), BLOCK):
            block = slice(start, start + BLOCK)
            _, mirrored = self.distance(a[block], b[block])
            first, second = self.thumbnails.take(a[block]), self.thumbnails.take(b[block])
            second[mirrored] = second[mirrored][:, :, ::-1]
            passed[block] = score_pairs(first, second) >= THRESHOLD
        return passed

    def distance(self, a: Indices, b: Indices) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Bits between the codes of images ``a`` and ``b``, and whether mirroring one of them brings them nearer."""
        plain = hamming_distance(self.codes[a], self.codes[b])
        if self.mirrored is None:
            return plain, np.zeros(len(plain), np.bool_)
        flipped = np.minimum(
            hamming_distance(self.mirrored[a], self.codes[b]), hamming_distance(self.codes[a], self.mirrored[b])
        )
        return np.minimum(plain, flipped), flipped < plain


def _equal_bytes(sha256: pa.ChunkedArray) -> tuple[Indices, Indices, Indices]:
    """Pairs (first, copy) of images with equal bytes, and for each image a number that equal bytes share."""
    copy_of: Indices = sha256.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    _, first = np.unique(copy_of, return_index=True)
    firsts = first[copy_of]
    copies = np.flatnonzero(firsts != np.arange(len(firsts)))
    return firsts[copies], copies, copy_of


def _keeper_rank(usable: pa.Table) -> Indices:
    """The total order of keepers: most pixels, then most bytes, then smallest key."""
    pixels = pc.multiply(usable["width"].cast(pa.int64()), usable["height"].cast(pa.int64()))
    order = pc.sort_indices(
        pa.table({"pixels": pixels, "size_bytes": usable["size_bytes"], "key": usable["key"]}),
        [("pixels", "descending"), ("size_bytes", "descending"), ("key", "ascending")],
    ).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _choose_exhibits(duplicates: pa.Table, seed: int) -> pa.Table:
    """Random pairs and the largest groups, as keys, the keeper of each first."""
    exhibits: list[dict[str, Any]] = []

    def add(section: str, number: int, keys: Sequence[str]) -> None:
        exhibits.extend({"section": section, "number": number, "key": key} for key in keys)

    count = duplicates.num_rows
    drawn = np.random.default_rng(seed).choice(count, min(EXHIBITED_PAIRS, count), replace=False)
    for number, row in enumerate(duplicates.take(pa.array(drawn)).to_pylist()):
        add("pair", number, [row["kept_key"], row["key"]])
    sizes = duplicates.group_by("kept_key").aggregate([("key", "count")])
    largest = sizes.sort_by([("key_count", "descending"), ("kept_key", "ascending")])["kept_key"]
    for number, kept in enumerate(largest[:EXHIBITED_GROUPS].to_pylist()):
        members = duplicates.filter(pc.equal(duplicates["kept_key"], kept))["key"]
        add("group", number, [kept, *members[: EXHIBITED_PER_GROUP - 1].to_pylist()])
    return pa.Table.from_pylist(exhibits, EXHIBITS)
