"""What each of two processes does that a test starts: trains together with the other, and writes down what came of it.

A module of its own, which a new process can find by its name.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from contents import last_checkpoint

from pipelines.errors import CleanshardsError
from train.checkpoint import find_checkpoints
from train.config import ModelConfig, Precision, TrainConfig
from train.data import PackedImages
from train.loop import Running, train
from train.parallel import ALONE, Ranks, join_ranks, synchronise_norms
from train.state import TrainingState

CPU = torch.device("cpu")
MODEL = ModelConfig(resolution=32, z_size=8, generator_width=4, discriminator_width=4)
CONFIG = TrainConfig(model=MODEL, batch_size=8, epochs=2)
MINIBATCHES = 5  # in an epoch
# Nothing is to leave this machine: gloo takes the loopback interface, and no name of an address is asked for.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "RES_OPTIONS": "attempts:0", "TORCH_CPP_LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Case:
    """A training by two ranks, and by one."""

    config: TrainConfig = CONFIG
    sync_bn: bool = True
    stops: tuple[int, ...] = ()  # after so many minibatches; then resumed


CASES = {
    "synced": Case(),
    "apart": Case(sync_bn=False),
    "one step": Case(stops=(1,)),
    "resumed": Case(stops=(3, 4)),
    "bf16": Case(replace(CONFIG, precision=Precision.BF16)),
    "conditional": Case(replace(CONFIG, model=replace(MODEL, classes=3))),
}


def make_images() -> PackedImages:
    rng = np.random.default_rng(0)
    count = 8 * MINIBATCHES + 3
    pixels = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return PackedImages([pixels], 32, "digest", rng.permutation(np.arange(count) % 3).tolist())


def train_case(case: Case, folder: Path, ranks: Ranks = ALONE) -> TrainingState:
    """Train as a case says, with its stops; "one step" ends at its stop."""
    images = make_images()
    if ranks.is_first:
        (folder / "samples").mkdir(parents=True)
    for minibatches in (*case.stops, None):
        state = TrainingState.begin(case.config, "digest", CPU)
        if find_checkpoints(folder):
            state.restore(last_checkpoint(folder))
        ranks.wait()
        if case.sync_bn and ranks.count > 1:
            synchronise_norms(state.generator)
            synchronise_norms(state.discriminator)
        calls = iter(range(1, 1000))
        train(state, images, folder, Running(CPU), ranks=ranks, should_stop=lambda: next(calls) == minibatches)  # noqa: B023
        ranks.wait()
        if case.stops == (1,):
            break
    return state


def work(rank: int, ports: tuple[int, int], folder: Path) -> None:
    """One of two ranks: trains all cases, then meets a NaN, then the end of the other; writes down what it was told."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0])}
    try:
        with join_ranks(CPU) as ranks:
            for name, case in CASES.items():
                state = train_case(case, folder / name, ranks)
                torch.save(state.pack(), folder / f"{name} of {rank}.pt")
            state = TrainingState.begin(CONFIG, "digest", CPU)
            with torch.no_grad():
                next(state.generator.parameters())[0, 0] = float("nan") if rank == 1 else 0.0
            if ranks.is_first:
                (folder / "nan" / "samples").mkdir(parents=True)
            train(state, make_images(), folder / "nan", Running(CPU), ranks=ranks)
    except CleanshardsError as error:
        (folder / f"nan of {rank}.txt").write_text(error.message)
    except SystemExit as end:
        (folder / f"nan of {rank}.txt").write_text(f"exit code {end.code}")

    os.environ["MASTER_PORT"] = str(ports[1])
    try:
        with join_ranks(CPU) as ranks:
            ranks.wait()
            if rank == 1:
                os._exit(7)
            ranks.agree(True)
    except CleanshardsError as error:
        (folder / "alone.txt").write_text(f"{error.message}; {error.hint}")
