"""How many images a second does the feed give, and packing, with nothing trained; and does memory stay flat?

    python -m benchmarks.loader [--images 20000] [--resolution 64] [--batch-size 128] [--device cuda]

Rendered rooms, cut and lit differently each, are written as JPEGs of 256 px into clean shards (WebDataset tars) and
packed as `python -m train.run` does it: decoded once, to bare pixels. Then epochs are read from the packed files, which
the system has in its cache by then. Beside each, in the same run, what one would write without us: ``webdataset`` with
torch's DataLoader, which decodes (PIL), crops and shrinks in every epoch; numpy's indexing of one mapped file; and
torch's DataLoader over that. Seconds of the processor are those of all processes. Memory is the anonymous memory of
this process (RssAnon: what it has written, not files it maps), sampled every 20 ms: the most in the first half of the
time, and in the second. Linux only.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread

import cv2
import numpy as np
import torch
import webdataset
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.tables import console, print_machine, print_table
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record
from pipelines.rooms import render_room
from pipelines.shards import ShardWriter
from pipelines.stage import run_stage
from pipelines.store import File, LocalFolder, hash_file
from train.config import ModelConfig, TrainConfig
from train.data import PackClean, PackedImages, Pixels, epoch_order
from train.feed import HostFeed, ResidentFeed, slices

ROOMS = 100
SIDE = 256  # pixels, of the JPEGs; LSUN's too
SHARD_IMAGES = 1000
SAMPLE_EVERY_S = 0.02
PROCESSES = 2  # that decode, where several do


@dataclass(slots=True)
class Memory:
    """Anonymous memory over time: (seconds, bytes) of each sample."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def peaks_mb(self) -> tuple[float, float]:
        """The most in the first half of the time, and in the second."""
        middle = (self.samples[0][0] + self.samples[-1][0]) / 2
        first = max(size for at, size in self.samples if at <= middle)
        return first / 1e6, max(size for at, size in self.samples if at >= middle) / 1e6


@contextmanager
def sample_memory() -> Iterator[Memory]:
    """Sample this process's memory while the block runs."""
    memory, done = Memory(), Event()

    def note() -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
        memory.samples.append((time.perf_counter(), kilobytes * 1024))

    def watch() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            note()

    note()
    thread = Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
        note()


def write_clean(folder: Path, count: int) -> Manifest:
    """Clean shards of ``count`` JPEGs, as de-duplication leaves them."""
    folder.mkdir(parents=True)
    rooms = [render_room(seed=0, index=index).image for index in range(ROOMS)]
    shards = []
    for first in range(0, count, SHARD_IMAGES):
        name = f"{first // SHARD_IMAGES:05d}"
        with ShardWriter(folder, name) as writer:
            for index in range(first, min(first + SHARD_IMAGES, count)):
                rng = np.random.default_rng(index)
                room = cv2.resize(rooms[index % ROOMS], (SIDE + 32, SIDE + 32), interpolation=cv2.INTER_AREA)
                top, left = rng.integers(0, 32, 2)
                view = room[top : top + SIDE, left : left + SIDE, ::-1]
                _, encoded = cv2.imencode(".jpg", cv2.convertScaleAbs(view, alpha=rng.uniform(0.7, 1.3)))
                writer.add(Record(f"{index:08d}", encoded.tobytes()))
        files = tuple(
            File(path.name, path.stat().st_size, hash_file(path)) for path in sorted(folder.glob(f"{name}.*"))
        )
        shards.append(Shard(name, writer.records, files))
    manifest = Manifest(LocalFolder(folder), "clean", "benchmark", tuple(shards))
    manifest.save()
    return manifest


def take_epoch(images: PackedImages, config: TrainConfig, epoch: int) -> Iterator[Pixels]:
    """An epoch's minibatches, without a feed."""
    order = epoch_order(config.seed, epoch, len(images))
    return (images.take(order[rows]) for rows in slices(len(order), config.batch_size))


def decode_epoch(clean: Manifest, side: int, batch_size: int, epoch: int) -> Iterator[Tensor]:
    """An epoch's minibatches from the shards by ``webdataset`` and torch's DataLoader: decoded anew, in their order."""

    def shrink(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)))

    urls = [str(path) for path in clean.paths(".tar")]
    samples = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg").map_tuple(shrink)
    minibatches = samples.batched(batch_size, partial=False)
    return (pixels for (pixels,) in DataLoader(minibatches, batch_size=None, num_workers=PROCESSES))


class MappedImages(Dataset[Tensor]):
    """One mapped file of pixels, as a dataset of torch's."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.pixels[index].copy())


def index_epoch(pixels: Pixels, config: TrainConfig, epoch: int) -> Iterator[Tensor]:
    """An epoch's minibatches by numpy's indexing, one after the other."""
    order = epoch_order(config.seed, epoch, len(pixels))
    return (torch.from_numpy(pixels[order[rows]]) for rows in slices(len(order), config.batch_size))


def load_epoch(pixels: Pixels, batch_size: int, epoch: int) -> Iterator[Tensor]:
    """An epoch's minibatches by torch's DataLoader."""
    order = torch.Generator().manual_seed(epoch)
    images = MappedImages(pixels)
    return iter(DataLoader(images, batch_size, shuffle=True, drop_last=True, num_workers=PROCESSES, generator=order))


def read_epochs(read: Callable[[int], Iterator[object]], epochs: int, batch_size: int) -> int:
    """Read them all, and wait for the device; returns the images in them."""
    count = 0
    for epoch in range(epochs):
        for _ in read(epoch):
            count += batch_size
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count


def measure(kind: str, work: Callable[[], int], side: int) -> tuple[str, ...]:
    """A row of the table: ``work`` returns how many images it went through."""
    with sample_memory() as memory:
        started, cpu_started = time.perf_counter(), sum(os.times()[:4])
        count = work()
        seconds, cpu_s = time.perf_counter() - started, sum(os.times()[:4]) - cpu_started
    peaks = memory.peaks_mb()
    rate = count / seconds
    return (
        kind,
        f"{rate:,.0f}",
        f"{count / cpu_s:,.0f}",
        f"{rate * side**2 * 3 / 1e9:.2f}",
        *(f"{peak:,.0f}" for peak in peaks),
    )


def main() -> None:
    """Make the images, pack them, read them, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--resolution", type=int, default=64, help="pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    device = torch.device(options.device)
    config = TrainConfig(model=ModelConfig(resolution=options.resolution), batch_size=options.batch_size)
    print_machine("torch", "numpy", "opencv-python-headless", "webdataset", "pillow")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean = write_clean(folder / "clean", options.images)
        shards_bytes = sum(path.stat().st_size for path in clean.paths(".tar"))
        side = options.resolution
        stage, packed = PackClean(side), folder / "packed"
        decoders: dict[str, Callable[[], int]] = {
            "shards, packed, one process: once": lambda: (
                run_stage(stage, [clean], folder / "packed_by_one", LocalExecutor(1)).records
            ),
            f"shards, packed, {PROCESSES} processes: once": lambda: (
                run_stage(stage, [clean], packed, LocalExecutor(PROCESSES)).records
            ),
            f"shards, webdataset, DataLoader, {PROCESSES} processes: each epoch": lambda: read_epochs(
                partial(decode_epoch, clean, side, config.batch_size), 1, config.batch_size
            ),
        }
        rows = [measure(kind, work, side) for kind, work in decoders.items()]

        manifest = run_stage(stage, [clean], packed, LocalExecutor(1))
        images = PackedImages.open(manifest, side)
        pixels_bytes = sum(path.stat().st_size for path in manifest.paths(".rgb"))
        with (folder / "all.rgb").open("wb") as file:
            for path in manifest.paths(".rgb"):
                file.write(path.read_bytes())
        mapped = np.memmap(folder / "all.rgb", np.uint8, mode="r").reshape(-1, side, side, 3)
        readers: dict[str, Callable[[int], Iterator[object]]] = {
            "packed, as asked for": partial(take_epoch, images, config),
            f"packed, our feed: read ahead, to the {device}": HostFeed(images, config, device).minibatches,
            "one mapped file, numpy's indexing": partial(index_epoch, mapped, config),
            f"one mapped file, DataLoader, {PROCESSES} processes": partial(load_epoch, mapped, config.batch_size),
        }
        if device.type == "cuda":
            readers["all on the GPU, our feed"] = ResidentFeed(images, config, device).minibatches
        for kind, read in readers.items():
            read_epochs(read, 1, config.batch_size)  # from the disk to the system's cache
            rows.append(measure(kind, partial(read_epochs, read, options.epochs, config.batch_size), side))
    title = f"{options.images:,} images: {shards_bytes / 1e6:,.0f} MB of JPEGs, {pixels_bytes / 1e6:,.0f} MB of pixels"
    columns = ("from", "images/s", "images/CPU s", "GB/s of pixels", "MB in the first half", "MB in the second half")
    print_table(title, columns, rows)
    console.print(f"{side} px, minibatches of {config.batch_size}, {options.epochs} epochs")


if __name__ == "__main__":
    main()
