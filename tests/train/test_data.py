from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError, IntegrityError
from pipelines.executors import LocalExecutor
from pipelines.images import centre_square, decode
from pipelines.manifest import Manifest
from pipelines.record import Record
from pipelines.shards import ShardWriter
from pipelines.sources import open_source
from pipelines.stage import run_stage
from pipelines.store import LocalFolder, local_path
from train.data import PackClean, PackedImages, PackRaw, count_minibatches, epoch_order

MakePng = Callable[[int], bytes]


def in_memory(*counts: int, resolution: int = 2) -> PackedImages:
    """Images that hold their own number."""
    numbers = np.arange(sum(counts), dtype=np.uint8).repeat(resolution * resolution * 3)
    images = numbers.reshape(-1, resolution, resolution, 3)
    return PackedImages(np.split(images, np.cumsum(counts)[:-1]), resolution, "digest")


def test_packed_images_are_the_clean_ones_in_order(tmp_path: Path, clean: Manifest, make_png: MakePng) -> None:
    manifest = run_stage(PackClean(32), [clean], tmp_path, LocalExecutor(1))
    images = PackedImages.open(manifest, 32)
    seeds = [1000 * i + j for i, shard in enumerate(clean.shards) for j in range(shard.records)]
    assert len(images) == len(seeds) == clean.records
    expected = [centre_square(decode(make_png(seed)), 32) for seed in seeds]
    np.testing.assert_array_equal(images.take(np.arange(len(images))), expected)


def test_packing_again_does_nothing(tmp_path: Path, clean: Manifest) -> None:
    first = run_stage(PackClean(32), [clean], tmp_path, LocalExecutor(1))
    stamps = {path: path.stat().st_mtime_ns for path in first.paths(".rgb")}
    assert run_stage(PackClean(32), [clean], tmp_path, LocalExecutor(1)).digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in first.paths(".rgb")} == stamps


def test_a_damaged_clean_image_is_named(tmp_path: Path, clean: Manifest, make_png: MakePng) -> None:
    with ShardWriter(local_path(clean.folder), "00000") as writer:
        writer.add(Record("good", make_png(0)))
        writer.add(Record("bad", make_png(1)[:100]))
    with pytest.raises(IntegrityError, match=r"image bad of .*00000\.tar"):
        run_stage(PackClean(32), [clean], tmp_path, LocalExecutor(1))


def test_raw_packing_keeps_duplicates_and_leaves_out_what_cannot_be_decoded(tmp_path: Path, make_png: MakePng) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, content in enumerate([make_png(5), make_png(5), b"<html>", make_png(6)]):
        (folder / f"{i}.png").write_bytes(content)
    manifest = run_stage(PackRaw(open_source(f"folder:{folder}"), 32), [], tmp_path, LocalExecutor(1))
    images = PackedImages.open(manifest, 32)
    assert len(images) == manifest.records == 3
    same, copy, other = images.take(np.arange(3))
    assert np.array_equal(same, copy)
    assert not np.array_equal(same, other)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_images_are_taken_by_position_across_shards(counts: list[int]) -> None:
    images = in_memory(*counts)
    order = epoch_order(0, 0, len(images))
    assert images.take(order)[:, 0, 0, 0].tolist() == order.tolist()


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 500))
def test_epoch_order_is_a_permutation_that_its_arguments_decide(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert sorted(order.tolist()) == list(range(count))
    assert np.array_equal(order, epoch_order(seed, epoch, count))


def test_each_epoch_and_seed_has_an_order_of_its_own() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_too_few_images_say_which_batch_size_would_do() -> None:
    with pytest.raises(ConfigError, match="5 images cannot fill a minibatch of 8") as error:
        count_minibatches(in_memory(5), 8)
    assert "--batch-size 5" in error.value.hint


def test_an_empty_set_is_no_crash(tmp_path: Path) -> None:
    manifest = run_stage(PackClean(32), [Manifest(LocalFolder(tmp_path), "clean", "f", ())], tmp_path, LocalExecutor(1))
    with pytest.raises(ConfigError, match="0 images"):
        count_minibatches(PackedImages.open(manifest, 32), 8)


def test_a_jpeg_is_packed_in_its_own_colours(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    red = np.full((300, 400, 3), (0, 0, 255), np.uint8)  # OpenCV's order is BGR
    cv2.imwrite(str(folder / "red.jpg"), red)
    manifest = run_stage(PackRaw(open_source(f"folder:{folder}"), 32), [], tmp_path, LocalExecutor(1))
    image = PackedImages.open(manifest, 32).take(np.array([0]))[0]
    assert image.reshape(-1, 3).min(axis=0)[0] > 250
    assert image[..., 1:].max() < 5
