"""Feeds: packed images in, minibatches on the device out, ready before they are asked for.

Stands at the arrow of "clean shards → DCGAN", behind `train.data`. All images lie on the GPU where they fit, and a
minibatch is then picked there; otherwise a thread reads some minibatches ahead, and on a GPU copies them from pinned
memory beside the training. Images and their order are the same either way: `epoch_order` decides them.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from train.config import TrainConfig
from train.data import Indices, PackedImages, epoch_order
from train.parallel import Ranks

RESIDENT_SHARE = 0.5  # of free GPU memory that images may take; the networks and their maps need the rest
AHEAD = 4  # minibatches that are read before they are asked for
CHUNK_IMAGES = 8192  # sent to the GPU at a time


class Residence(StrEnum):
    """Where all images are while they are trained on."""

    AUTO = "auto"  # on the GPU, where they fit
    GPU = "gpu"
    HOST = "host"


class Minibatch(NamedTuple):
    """Images and their classes, on the device.

    Attributes:
        pixels: uint8 RGB, (B, R, R, 3).
        labels: int64 (B,), where the configuration has classes.
    """

    pixels: Tensor
    labels: Tensor | None


class Feed(Protocol):
    """Where minibatches come from."""

    def minibatches(self, epoch: int, start: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Minibatch]:
        """Yield an epoch's whole minibatches from the ``start``-th on, or one rank's slice of each."""
        ...


def open_feed(
    images: PackedImages, config: TrainConfig, device: torch.device, residence: Residence = Residence.AUTO
) -> Feed:
    """A feed of ``images`` in minibatches of ``config.batch_size``, in the orders of ``config.seed``.

    Raises:
        ConfigError: ``residence`` is gpu, and there is none or it is too small; images lack the labels asked for.
    """
    if residence is Residence.GPU and device.type != "cuda":
        raise ConfigError("--data-on-gpu is gpu, and training runs on the CPU", hint="give --data-on-gpu auto")
    if device.type == "cuda" and residence is not Residence.HOST:
        free_bytes, _ = torch.cuda.mem_get_info(device)
        size_bytes = len(images) * images.resolution**2 * 3
        if size_bytes <= RESIDENT_SHARE * free_bytes:
            return ResidentFeed(images, config, device)
        if residence is Residence.GPU:
            raise ConfigError(
                f"the images take {size_bytes / 1e9:.1f} GB, more than half of the {free_bytes / 1e9:.1f} GB that are "
                "free on the GPU",
                hint="give --data-on-gpu auto: they are then read ahead from the disk",
            )
    return HostFeed(images, config, device)


class ResidentFeed:
    """All images on the device; a minibatch is picked there, and nothing is sent but an epoch's order."""

    def __init__(self, images: PackedImages, config: TrainConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._pixels = torch.empty(
            (len(images), images.resolution, images.resolution, 3), dtype=torch.uint8, device=device
        )
        for first in range(0, len(images), CHUNK_IMAGES):
            chunk = np.arange(first, min(first + CHUNK_IMAGES, len(images)))
            self._pixels[first : first + len(chunk)] = torch.from_numpy(images.take(chunk))
        labels = _number_labels(images, config)
        self._labels = None if labels is None else labels.to(device)

    def minibatches(self, epoch: int, start: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Minibatch]:
        """Yield an epoch's whole minibatches from the ``start``-th on, or one rank's slice of each."""
        config = self._config
        order = torch.from_numpy(epoch_order(config.seed, epoch, len(self._pixels))).to(self._device)
        for rows in slices(len(order), config.batch_size, start, rank, ranks):
            chosen = order[rows]
            labels = None if self._labels is None else self._labels.index_select(0, chosen)
            yield Minibatch(self._pixels.index_select(0, chosen), labels)


class _Fetched(NamedTuple):
    """A minibatch that may still be on its way to the GPU, and what says that it has come."""

    minibatch: Minibatch
    sent: torch.cuda.Event | None


class HostFeed:
    """Images stay where they are packed; a thread takes the next `AHEAD` minibatches from there.

    The thread ends with the iterator; what goes wrong in it is raised where the minibatch is asked for.
    """

    def __init__(self, images: PackedImages, config: TrainConfig, device: torch.device) -> None:
        self._images = images
        self._config = config
        self._device = device
        self._labels = _number_labels(images, config)
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def minibatches(self, epoch: int, start: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Minibatch]:
        """Yield an epoch's whole minibatches from the ``start``-th on, or one rank's slice of each."""
        config = self._config
        order = epoch_order(config.seed, epoch, len(self._images))
        pending: deque[Future[_Fetched]] = deque()
        thread = ThreadPoolExecutor(1, "feed")
        try:
            for rows in slices(len(order), config.batch_size, start, rank, ranks):
                pending.append(thread.submit(self._fetch, order[rows]))
                if len(pending) > AHEAD:
                    yield self._receive(pending.popleft())
            while pending:
                yield self._receive(pending.popleft())
        finally:
            thread.shutdown(cancel_futures=True)

    def _fetch(self, indices: Indices) -> _Fetched:
        """Take a minibatch and begin to send it; runs in the thread."""
        pixels = torch.from_numpy(self._images.take(indices))
        labels = None if self._labels is None else self._labels[torch.from_numpy(indices)]
        if self._copies is None:
            return _Fetched(Minibatch(pixels, labels), None)
        with torch.cuda.stream(self._copies):
            sent = Minibatch(self._send(pixels), None if labels is None else self._send(labels))
            return _Fetched(sent, self._copies.record_event())

    def _send(self, tensor: Tensor) -> Tensor:
        # torch reuses pinned memory, but not before the copy from it is done.
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _receive(self, future: Future[_Fetched]) -> Minibatch:
        minibatch, sent = future.result()
        if sent is not None:
            training = torch.cuda.current_stream(self._device)
            training.wait_event(sent)
            for tensor in minibatch:
                if tensor is not None:
                    tensor.record_stream(training)  # or the next copy could take its memory before it is trained on
        return minibatch


def slices(count: int, batch_size: int, start: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[slice]:
    """Yield where, in an order of ``count`` images, a rank's share of each whole minibatch lies, from ``start`` on.

    Raises:
        ConfigError: the ranks cannot share a minibatch evenly.
    """
    share = Ranks(rank, ranks).share(batch_size)
    for first in range(start * batch_size, count - batch_size + 1, batch_size):
        yield slice(first + share.start, first + share.stop)


def _number_labels(images: PackedImages, config: TrainConfig) -> Tensor | None:
    classes = config.model.classes
    return torch.from_numpy(images.number_labels(classes)) if classes else None
