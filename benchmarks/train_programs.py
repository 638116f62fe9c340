"""Programs that `benchmarks.train_speed` times: the networks of a model, trained with some techniques for speed.

On a CPU each has a process of its own, whose memory the C library manages as the technique says and nobody else's; on a
GPU all are in one process. Networks of a model begin with the same weights, whatever the technique.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

from benchmarks.plain_dcgan import ExampleDiscriminator, ExampleGenerator, step_plainly, use_torchs_layers
from pipelines.images import centre_square
from pipelines.rooms import render_room
from train.config import Precision, TrainConfig
from train.data import PackedImages
from train.dcgan import Discriminator, Generator, from_pixels, initialise
from train.feed import Minibatch, open_feed
from train.memory import keep_freed_memory
from train.state import TrainingState
from train.step import Stepper

PICTURES = 64  # rendered; minibatches are drawn from as many copies as one needs
PAPER, EXAMPLE = "paper, 5×5", "example, 4×4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """What a program does for speed."""

    name: str
    precision: Precision = Precision.FP32
    channels_last: bool = False
    stepper: bool = False  # our step and feed: images come as bytes, nothing waits, D is frozen
    fused: bool = False  # Adam in one kernel
    products: bool = False  # some gradients as matrix products; on a CPU
    keeps_memory: bool = False  # on a CPU
    compiled: bool = False


PLAIN = Technique(name="plain loop")


def begin(model: str, technique: Technique, config: TrainConfig, device: torch.device) -> TrainingState:
    """Networks and optimisers of a program, the same weights for all that train the same model."""
    seed = torch.Generator().manual_seed(0)
    size = config.model
    if model == PAPER:
        networks: tuple[nn.Module, nn.Module] = Generator(size), Discriminator(size)
    else:
        width = max(size.generator_width // 2, 1)
        networks = ExampleGenerator(size.z_size, width), ExampleDiscriminator(width)
    layout = torch.channels_last if technique.channels_last else torch.contiguous_format
    for network in networks:
        initialise(network, size, seed)
        network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        if not technique.products:
            use_torchs_layers(network)
    generator, discriminator = networks
    adams = [
        Adam(network.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=technique.fused)
        for network in networks
    ]
    return TrainingState(
        config=replace(config, precision=technique.precision),
        data_digest="",
        generator=cast(Generator, generator),
        discriminator=cast(Discriminator, discriminator),
        generator_optimiser=adams[0],
        discriminator_optimiser=adams[1],
        noise=torch.Generator().manual_seed(1),
    )


def make_pictures(config: TrainConfig) -> PackedImages:
    """Rendered rooms, at least two minibatches of them."""
    side = config.model.resolution
    rooms = [centre_square(render_room(seed=0, index=index).image, side) for index in range(PICTURES)]
    copies = -(-2 * config.batch_size // PICTURES)
    return PackedImages([np.stack(rooms * copies)], side, "digest")


def repeat(images: PackedImages, config: TrainConfig, device: torch.device) -> Iterator[Minibatch]:
    """Minibatches without end, by our feed."""
    feed = open_feed(images, config, device)
    epoch = 0
    while True:
        yield from feed.minibatches(epoch)
        epoch += 1


def make_program(
    model: str, technique: Technique, config: TrainConfig, images: PackedImages, device: torch.device
) -> Callable[[], object]:
    """A function that takes one step."""
    state = begin(model, technique, config, device)
    if technique.stepper:
        stepper = Stepper(state, device, compiled=technique.compiled)
        feed = repeat(images, config, device)
        return lambda: stepper.step(*next(feed), trains_d=True, trains_g=True)
    size = config.batch_size
    layout = torch.channels_last if technique.channels_last else torch.contiguous_format
    ready = [
        from_pixels(torch.from_numpy(images.take(np.arange(first, first + size)))).contiguous(memory_format=layout)
        for first in (0, size)
    ]
    turn = 0

    def step() -> None:
        nonlocal turn
        turn += 1
        # As the example sets it; torch's own default would be TF32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=technique.precision is Precision.TF32):
            step_plainly(state, ready[turn % 2].to(device))

    return step


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def choose_clock(device: torch.device) -> Callable[[], float]:
    """What seconds are read from: of the processor, where one thread of it does the work; else the wall's."""
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a program trains, and with what."""

    model: str
    technique: Technique
    config: TrainConfig
    device: torch.device
    threads: int  # of the CPU


class Program:
    """A task that is ready to take steps.

    Attributes:
        memory_gb: of the GPU, that it takes at most; 0 on a CPU.
    """

    def __init__(self, task: Task) -> None:
        self.memory_gb = 0.0
        self._task = task
        device = task.device
        before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        self._step = make_program(task.model, task.technique, task.config, make_pictures(task.config), device)
        self.run(1)
        if device.type == "cuda":
            self.memory_gb = (torch.cuda.max_memory_allocated(device) - before) / 1e9

    def run(self, steps: int) -> float:
        """Take a step, then so many; the seconds that these took."""
        device = self._task.device
        clock = choose_clock(device)
        self._step()
        wait_for(device)
        started = clock()
        for _ in range(steps):
            self._step()
        wait_for(device)
        return clock() - started


class ProgramApart:
    """The same on a CPU, in a process of its own; ends with this one."""

    memory_gb = 0.0

    def __init__(self, task: Task) -> None:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        context.Process(target=serve, args=(task, other), daemon=True).start()

    def run(self, steps: int) -> float:
        """Take a step, then so many; the seconds that these took."""
        self._connection.send(steps)
        seconds: float = self._connection.recv()
        return seconds

    def close(self) -> None:
        """Let it end."""
        self._connection.send(0)


def serve(task: Task, connection: Connection) -> None:
    """What the process of a program does: takes as many steps as it is sent, until that is none."""
    torch.set_num_threads(task.threads)
    if task.technique.keeps_memory:
        keep_freed_memory()
    program = Program(task)
    while steps := connection.recv():
        connection.send(program.run(steps))


def measure_rates(tasks: list[Task], steps: int, rounds: int) -> tuple[list[float], list[float]]:
    """Images a second of each task, in turn; and GB of GPU memory that each takes at most."""
    programs = [Program(task) if task.device.type == "cuda" else ProgramApart(task) for task in tasks]
    best_s = [float("inf")] * len(programs)
    for _ in range(rounds):
        for index, program in enumerate(programs):
            best_s[index] = min(best_s[index], program.run(steps))
    for program in programs:
        if isinstance(program, ProgramApart):
            program.close()
    rates = [steps * task.config.batch_size / seconds for task, seconds in zip(tasks, best_s, strict=True)]
    return rates, [program.memory_gb for program in programs]
