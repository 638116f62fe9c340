import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from train.config import ModelConfig, TrainConfig
from train.data import Indices, PackedImages, Pixels, epoch_order
from train.feed import AHEAD, Feed, HostFeed, Residence, ResidentFeed, open_feed

CPU = torch.device("cpu")
FEEDS: Sequence[Callable[[PackedImages, TrainConfig, torch.device], Feed]] = (HostFeed, ResidentFeed)


def numbered(count: int, shards: int = 1, labels: Sequence[str] | None = None) -> PackedImages:
    """Up to 256 images that hold their own number."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2).repeat(3, 3)
    return PackedImages(np.array_split(pixels, shards), 2, "digest", labels)


def config_of(batch_size: int, seed: int = 0, classes: int = 0) -> TrainConfig:
    return TrainConfig(model=ModelConfig(classes=classes), batch_size=batch_size, seed=seed)


def numbers(pixels: torch.Tensor) -> list[int]:
    assert pixels.dtype == torch.uint8
    assert pixels.shape[1:] == (2, 2, 3)
    flat = pixels.flatten(1)
    assert torch.equal(flat, flat[:, :1].expand_as(flat))
    return flat[:, 0].tolist()


@given(st.integers(8, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 99), st.data())
def test_every_feed_yields_the_epochs_order_from_any_start(
    count: int, half: int, shards: int, epoch: int, seed: int, data: st.DataObject
) -> None:
    config = config_of(2 * half, seed)
    images = numbered(count, shards)
    order = epoch_order(seed, epoch, count)
    whole = count // config.batch_size
    start = data.draw(st.integers(0, whole))
    expected = order[: whole * config.batch_size].reshape(whole, config.batch_size)[start:].tolist()
    for make in FEEDS:
        feed = make(images, config, CPU)
        assert [numbers(batch.pixels) for batch in feed.minibatches(epoch, start)] == expected
        of_ranks = [[numbers(batch.pixels) for batch in feed.minibatches(epoch, start, rank, 2)] for rank in range(2)]
        assert [first + second for first, second in zip(*of_ranks, strict=True)] == expected


@pytest.mark.parametrize("make", FEEDS)
def test_labels_stay_with_their_images(make: Callable[..., Feed]) -> None:
    images = numbered(30, labels=[str(number % 3) for number in range(30)])
    for pixels, labels in make(images, config_of(8, classes=3), CPU).minibatches(0):
        assert labels is not None
        assert labels.dtype == torch.int64
        assert labels.tolist() == [number % 3 for number in numbers(pixels)]
    assert all(batch.labels is None for batch in make(images, config_of(8), CPU).minibatches(0))


def test_no_thread_outlives_its_iterator() -> None:
    before = set(threading.enumerate())
    iterator = HostFeed(numbered(60), config_of(2), CPU).minibatches(0)
    next(iterator)
    assert set(threading.enumerate()) > before
    iterator.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before
    for _ in HostFeed(numbered(60), config_of(2), CPU).minibatches(0):
        pass
    assert set(threading.enumerate()) == before


class Unreadable(PackedImages):
    """Images on a disk that fails at one of them."""

    def __init__(self, images: PackedImages, broken: int) -> None:
        self.__dict__.update(images.__dict__)
        self.broken = broken

    def take(self, indices: Indices) -> Pixels:
        if self.broken in indices:
            raise OSError(5, "Input/output error")
        return super().take(indices)


def test_what_goes_wrong_in_the_thread_is_raised_where_the_minibatch_is_asked_for() -> None:
    before = set(threading.enumerate())
    broken = int(epoch_order(0, 0, 60)[25])
    iterator = HostFeed(Unreadable(numbered(60), broken), config_of(10), CPU).minibatches(0)
    assert len([next(iterator), next(iterator)]) == 2
    with pytest.raises(OSError, match="Input/output error"):
        next(iterator)
    assert set(threading.enumerate()) == before


class Counted(PackedImages):
    """Images that know how often they were taken from."""

    takes = 0

    def take(self, indices: Indices) -> Pixels:
        self.takes += 1
        return super().take(indices)


def test_little_is_read_ahead() -> None:
    images = Counted([np.zeros((200, 2, 2, 3), np.uint8)], 2, "digest")
    iterator = HostFeed(images, config_of(2), CPU).minibatches(0)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert 1 <= images.takes <= 1 + AHEAD


def test_ranks_must_share_a_minibatch_evenly() -> None:
    feed = open_feed(numbered(60), config_of(8), CPU)
    with pytest.raises(ConfigError, match="minibatch of 8 does not divide by 3"):
        next(feed.minibatches(0, rank=1, ranks=3))


def test_images_can_be_kept_on_a_gpu_only_where_there_is_one() -> None:
    assert isinstance(open_feed(numbered(8), config_of(4), CPU), HostFeed)
    with pytest.raises(ConfigError, match="training runs on the CPU"):
        open_feed(numbered(8), config_of(4), CPU, Residence.GPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("residence", [Residence.GPU, Residence.HOST])
def test_on_a_gpu_the_same_minibatches_arrive(residence: Residence) -> None:
    images, config, gpu = numbered(200), config_of(8, classes=0), torch.device("cuda")
    expected = [numbers(batch.pixels) for batch in HostFeed(images, config, CPU).minibatches(3, 1)]
    arrived = [batch.pixels for batch in open_feed(images, config, gpu, residence).minibatches(3, 1)]
    assert all(pixels.is_cuda for pixels in arrived)
    assert [numbers(pixels.cpu()) for pixels in arrived] == expected
