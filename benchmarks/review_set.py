"""A synthetic data set's tables for the review: a number of images in; what a finished run of as many leaves out.

Rows, codes, pairs and groups are as a large set has them, and are written at once. Thumbnails are sparse files, black
but for those of one picture and its near-duplicates, so that a million of them take no room on a disk.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.encoder import load_shipped_encoder, save_encoder
from dedup.grouped import DROPPED, RULES
from dedup.images import Numbers, save_array
from dedup.matching.pairs import PAIR
from dedup.stages.grouping import DUPLICATES, REJECTED
from dedup.thumbnails import ROWS, SHAPE
from pipelines.images import make_thumbnail
from pipelines.manifest import Manifest, Shard
from pipelines.store import File, LocalFolder

SHARD = 10_000
SOURCES = ("rooms", "web", "phones")
COPIES = 64  # of the picture that is asked for
DROPPED_SHARE, NEAR_MISS_SHARE, REJECTED_SHARE = 0.2, 0.02, 0.01
LARGEST_GROUP = 400
THRESHOLD = 1.0


@dataclass(frozen=True, slots=True)
class Made:
    """A set that was made: what the benchmark asks of it.

    Attributes:
        picture: an encoded picture of which the set has near-duplicates.
        key: of some image.
        images: that can be used.
        groups: how many there are.
    """

    picture: bytes
    key: str
    images: int
    groups: int


def make_set(root: Path, images: int) -> Made:
    """Write the folder of a finished data set of ``images`` usable images and a hundredth as many rejected ones."""
    rng = np.random.default_rng(0)
    picture = _make_picture(rng)
    thumbnail = make_thumbnail(picture)[1]
    encoder = load_shipped_encoder()
    (root / "encoder").mkdir(parents=True)
    save_encoder(root / "encoder" / "encoder.safetensors", encoder)
    (root / "encoder" / "encoder.json").write_text(json.dumps({"origin": "shipped", "fitted_to": 0}))
    copies = np.sort(rng.choice(images, min(COPIES, images // 2), replace=False))
    thumbnails, codes = root / "thumbnails", root / "codes"
    code = encoder.codes(thumbnail[None])[0]
    for index, start in enumerate(range(0, images, SHARD)):
        count = min(SHARD, images - start)
        here = copies[(copies >= start) & (copies < start + count)] - start
        _write_shard(thumbnails, codes, f"{index:05d}", start, count, here, thumbnail, code)
    made = {
        "thumbnails": _publish(thumbnails, records=images),
        "encoder": _publish(root / "encoder", records=1),
    }
    made["codes"] = _publish(codes, made, records=images)
    dropped = _draw_groups(images, rng)
    _write_pairs(root / "pairs", dropped, images, rng)
    _publish(root / "pairs", records=len(dropped))
    groups = len(np.unique(dropped["kept"]))
    _write_groups(root / "groups", dropped, groups)
    _publish(root / "groups", records=len(dropped))
    _write_report(root, images, len(dropped), groups)
    return Made(picture, _key(images // 2), images, groups)


def _make_picture(rng: np.random.Generator) -> bytes:
    coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.imencode(".png", cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def _key(number: int) -> str:
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _write_shard(
    thumbnails: Path,
    codes: Path,
    name: str,
    start: int,
    count: int,
    copies: Numbers,
    thumbnail: npt.NDArray[np.uint8],
    code: npt.NDArray[np.uint8],
) -> None:
    """Rows, ids, thumbnails, codes and flat marks of one shard; at ``copies`` stand near-duplicates of one picture."""
    rng = np.random.default_rng([1, start])
    for folder in (thumbnails, codes):
        folder.mkdir(parents=True, exist_ok=True)
    sha256 = [_sha256(number) for number in range(start, start + count)]
    source = SOURCES[0 if start % (4 * SHARD) < 2 * SHARD else 1 if start % (4 * SHARD) < 3 * SHARD else 2]
    rejected = int(count * REJECTED_SHARE)
    rows = {
        "key": [_key(number) for number in range(start, start + count)]
        + [f"broken/{start + n}" for n in range(rejected)],
        "source": [source] * (count + rejected),
        "format": ["jpeg"] * count + [None] * rejected,
        "width": [341] * count + [None] * rejected,
        "height": [256] * count + [None] * rejected,
        "size_bytes": rng.integers(9_000, 40_000, count + rejected).tolist(),
        "sha256": sha256 + ["0" * 64] * rejected,
        "reason": [None] * count + ["truncated"] * rejected,
    }
    pq.write_table(pa.table(rows, ROWS), thumbnails / f"{name}.parquet")
    ids = np.array([int(digest[:16], 16) for digest in sha256], np.uint64)
    save_array(thumbnails / f"{name}.ids.npy", ids)
    shown = np.lib.format.open_memmap(thumbnails / f"{name}.thumbnails.npy", "w+", np.uint8, (count, *SHAPE))
    noise = rng.integers(-4, 5, (len(copies), *SHAPE))
    shown[copies] = np.clip(thumbnail.astype(np.int64) + noise, 0, 255)
    shown.flush()
    bits = rng.integers(0, 256, (count, 16), np.uint8)
    bits[copies] = code
    save_array(codes / f"{name}.codes.npy", bits)
    save_array(codes / f"{name}.flat.npy", np.zeros(count, np.uint8))


def _draw_groups(images: int, rng: np.random.Generator) -> npt.NDArray[np.void]:
    """Dropped images and those kept for them: most groups are pairs, a few have hundreds of members."""
    wanted = int(images * DROPPED_SHARE)
    sizes = np.minimum(rng.zipf(2.2, wanted), LARGEST_GROUP)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), wanted)) + 1]
    sizes[-1] -= max(0, int(sizes.sum()) - wanted)
    chosen = rng.permutation(images)[: len(sizes) + wanted]
    dropped = np.zeros(wanted, DROPPED)
    dropped["number"], dropped["kept"] = chosen[len(sizes) :], np.repeat(chosen[: len(sizes)], sizes)[:wanted]
    dropped["rule"] = rng.choice([RULES.index(rule) for rule in ("same_bytes", "near", "near_mirrored")], wanted)
    same = dropped["rule"] == RULES.index("same_bytes")
    dropped["distance"] = np.where(same, 0, rng.geometric(0.15, wanted) % 44)
    dropped["score"] = np.where(same, np.nan, rng.uniform(THRESHOLD, 18, wanted))
    return dropped[np.lexsort((dropped["number"], dropped["kept"]))]


def _write_pairs(folder: Path, dropped: npt.NDArray[np.void], images: int, rng: np.random.Generator) -> None:
    folder.mkdir()
    near = np.zeros(int(images * NEAR_MISS_SHARE), PAIR)
    ends = np.sort(rng.choice(images, (len(near), 2)), axis=1)
    near["a"], near["b"] = ends.T
    near["distance"], near["score"] = 30, rng.uniform(-10, THRESHOLD, len(near))
    pairs = np.zeros(len(dropped), PAIR)
    pairs["a"], pairs["b"] = np.sort(np.stack([dropped["number"], dropped["kept"]]), axis=0)
    pairs["distance"], pairs["score"] = dropped["distance"], np.nan_to_num(dropped["score"], nan=18)
    save_array(folder / "00000.pairs.npy", pairs)
    save_array(folder / "00000.near_misses.npy", near[near["a"] != near["b"]])


def _write_groups(folder: Path, dropped: npt.NDArray[np.void], groups: int) -> None:
    folder.mkdir()
    save_array(folder / "dropped.npy", dropped)
    pq.write_table(DUPLICATES.empty_table(), folder / "duplicates.parquet")
    with pq.ParquetWriter(folder / "rejected.parquet", REJECTED) as writer:
        for path in sorted((folder.parent / "thumbnails").glob("*.parquet")):
            rows = pq.read_table(path, columns=REJECTED.names, filters=[("reason", "==", "truncated")])
            writer.write_table(rows.cast(REJECTED))
    summary = {"groups": groups, "flat": 0, "split_off": 0, "decisions": {"same": 0, "different": 0}, "population": "0"}
    (folder / "summary.json").write_text(json.dumps(summary))


def _write_report(root: Path, images: int, dropped: int, groups: int) -> None:
    rejected = sum(int(min(SHARD, images - start) * REJECTED_SHARE) for start in range(0, images, SHARD))
    report = {
        "dataset": root.name,
        "sources": [{"name": name, "uri": None, "images": images // len(SOURCES)} for name in SOURCES],
        "profile": "default",
        "threshold": THRESHOLD,
        "radius": 43,
        "read": images + rejected,
        "kept": images - dropped,
        "dropped": dropped,
        "rejected": rejected,
        "groups": groups,
        "decisions": {"same": 0, "different": 0},
        "population": "0",
        "rejected_by_reason": {"truncated": rejected},
        "review": None,
    }
    (root / "report.json").write_text(json.dumps(report))


def _publish(folder: Path, upstream: Mapping[str, Manifest] | None = None, *, records: int) -> Manifest:
    """The manifest over a folder's files; their hashes are of their names, for nothing here reads them again."""
    by_shard: dict[str, list[File]] = {}
    for path in sorted(folder.iterdir()):
        sha256 = hashlib.sha256(path.name.encode()).hexdigest()
        by_shard.setdefault(path.name.partition(".")[0], []).append(File(path.name, path.stat().st_size, sha256))
    shards = tuple(Shard(name, records // len(by_shard), tuple(files)) for name, files in by_shard.items())
    lineage = {name: made.digest for name, made in (upstream or {}).items()}
    manifest = Manifest(LocalFolder(folder), folder.name, "0", shards, lineage)
    manifest.save()
    return manifest
