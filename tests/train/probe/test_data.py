import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import torchvision.datasets.cifar
import torchvision.datasets.svhn

from pipelines.errors import ConfigError, SourceError
from pipelines.sources import open_source
from train.probe.data import LabelledImages, hold_out, read_source, read_sources
from train.probe.loading import Wanted, load_data

Draw = Callable[[int, int], LabelledImages]
Write = Callable[..., str]


def test_a_source_with_labels_is_read_in_its_order(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    images = draw_images(20, 0)
    found, rejected = read_source(open_source(write_parquet(tmp_path / "train.parquet", images)), "quadrants")
    np.testing.assert_array_equal(found.pixels, images.pixels)
    np.testing.assert_array_equal(found.labels, images.labels)
    assert found.classes == images.classes
    assert found.digest == images.digest
    assert not rejected
    assert found.choose(np.array([3, 1])).labels.tolist() == images.labels[[3, 1]].tolist()
    assert found.choose(np.arange(19)).digest != found.digest


def test_any_column_can_be_the_class(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    images = draw_images(12, 0)
    columns = {"smile": [i % 3 == 0 for i in range(12)], "age": [9 + i % 3 for i in range(12)]}
    uri = write_parquet(tmp_path / "a.parquet", images, **columns)
    smiles, _ = read_source(open_source(uri), "a", label_column="smile")
    assert [smiles.classes[label] for label in smiles.labels] == ["True" if i % 3 == 0 else "False" for i in range(12)]
    ages, _ = read_source(open_source(uri), "a", label_column="age")
    assert ages.classes == ("9", "10", "11"), "numbers are in their own order"
    with pytest.raises(SourceError, match="has no 'male'"):
        read_source(open_source(uri), "a", label_column="male")


def test_what_cannot_be_decoded_is_counted(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    path = tmp_path / "a.parquet"
    uri = write_parquet(path, draw_images(12, 0))
    rows = pq.read_table(path).to_pylist()
    rows[4]["image"]["bytes"] = b"no image"
    pq.write_table(pa.Table.from_pylist(rows), path)
    found, rejected = read_source(open_source(uri), "a")
    assert len(found) == 11
    assert sum(rejected.values()) == 1
    _, _, lost = read_sources(open_source(uri), open_source(uri), "a")
    assert sum(lost.values()) == 2


def test_images_are_cut_to_one_size(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    images = draw_images(8, 0)
    uri = write_parquet(tmp_path / "a.parquet", images)
    wide = LabelledImages("wide", images.pixels.repeat(2, axis=2), images.labels, images.classes)
    wide_uri = write_parquet(tmp_path / "wide.parquet", wide)
    with pytest.raises(SourceError, match="not squares of one size"):
        read_source(open_source(wide_uri), "wide")
    found, _ = read_source(open_source(wide_uri), "wide", side=16)
    assert found.pixels.shape == (8, 16, 16, 3)
    large = LabelledImages("large", images.pixels.repeat(2, axis=2).repeat(2, axis=1), images.labels, images.classes)
    with pytest.raises(SourceError, match="not of the size"):
        read_sources(open_source(uri), open_source(write_parquet(tmp_path / "large.parquet", large)), "a")


def test_sets_of_other_classes_do_not_go_together(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    images = draw_images(8, 0)
    fewer = images.choose(np.flatnonzero(images.labels < 3))
    uris = [write_parquet(tmp_path / f"{i}.parquet", each) for i, each in enumerate((images, fewer))]
    with pytest.raises(SourceError, match="are not those of"):
        read_sources(*map(open_source, uris), "a")


def test_a_test_set_is_made_by_chance(draw_images: Draw) -> None:
    images = draw_images(40, 0)
    train, test = hold_out(images, 0.25, 3)
    assert (len(train), len(test)) == (30, 10)
    both = np.concatenate([train.pixels, test.pixels])
    assert sorted(map(bytes, both)) == sorted(map(bytes, images.pixels))
    assert hold_out(images, 0.25, 3)[1].digest == test.digest != hold_out(images, 0.25, 4)[1].digest
    with pytest.raises(ConfigError, match="--hold-out"):
        hold_out(images, 1.0, 0)


def test_cifar10_is_read_as_its_publisher_packs_it(
    tmp_path: Path, draw_images: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)  # its files are 170 MB
    folder = tmp_path / "cifar10" / "raw" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = draw_images(24, 0)
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = images.choose(np.arange(4 * i, 4 * i + 4))
        rows = part.pixels.transpose(0, 3, 1, 2).reshape(4, -1)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": part.labels.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(images.classes)}))
    data = load_data(Wanted("cifar10"), tmp_path, 0)
    np.testing.assert_array_equal(data.train.pixels, images.pixels[:20])
    np.testing.assert_array_equal(data.test.labels, images.labels[20:])
    assert data.train.classes == images.classes


def test_svhn_is_read_as_its_publisher_packs_it(
    tmp_path: Path, draw_images: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
    folder = tmp_path / "svhn" / "raw"
    folder.mkdir(parents=True)
    images = draw_images(8, 0)
    for split in ("train", "test"):
        digits = np.where(images.labels == 0, 10, images.labels)[:, None]  # where 10 stands for the digit 0
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": images.pixels.transpose(1, 2, 3, 0), "y": digits})
    data = load_data(Wanted("svhn"), tmp_path, 0)
    np.testing.assert_array_equal(data.train.pixels, images.pixels)
    np.testing.assert_array_equal(data.test.labels, images.labels)
    assert data.test.classes == tuple("0123456789")


def test_the_registrys_cifar10_finds_its_test_set_beside(
    tmp_path: Path, draw_images: Draw, write_parquet: Write
) -> None:
    raw = tmp_path / "cifar10" / "raw"
    write_parquet(raw / "train-0.parquet", draw_images(12, 0))
    write_parquet(raw / "test-0.parquet", draw_images(8, 1))
    data = load_data(Wanted("cifar10"), tmp_path, 0)
    assert (len(data.train), len(data.test)) == (12, 8)
    assert data.rejected == {}
    assert data.differs == ()
    made = load_data(Wanted("cifar10", hold_out=0.25), tmp_path, 0)
    assert (len(made.train), len(made.test)) == (9, 3)


def test_a_published_set_as_jpeg_is_said_to_be_so(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    train, test = draw_images(12, 0), draw_images(8, 1)
    write_parquet(tmp_path / "cifar10" / "raw" / "train-0.parquet", train, ".jpg")
    write_parquet(tmp_path / "cifar10" / "raw" / "test-0.parquet", test)
    assert load_data(Wanted("cifar10"), tmp_path, 0).differs == ("cifar10 as JPEG in place of exact pixels",)
    uri = write_parquet(tmp_path / "mine.parquet", train, ".jpg")
    assert load_data(Wanted("mine", train=uri, hold_out=0.25), tmp_path, 0).differs == ()


def test_refusals_say_what_to_try(tmp_path: Path, draw_images: Draw, write_parquet: Write) -> None:
    uri = write_parquet(tmp_path / "a.parquet", draw_images(8, 0))
    for wanted, hint in (
        (Wanted("svhn"), "--download fetches it"),
        (Wanted("rooms", train=uri), "--hold-out"),
        (Wanted("rooms", train=uri, test=uri, hold_out=0.1), "give one of them"),
        (Wanted("rooms", train=uri, download=True), "pipelines.run download"),
    ):
        with pytest.raises((ConfigError, SourceError)) as refused:
            load_data(wanted, tmp_path, 0)
        assert hint in refused.value.hint
