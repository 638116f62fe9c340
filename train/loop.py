"""The training loop: packed images and a state in; trained networks, samples, statistics and checkpoints out.

The last arrow of "clean shards → DCGAN", to be read from top to bottom.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.errors import DiskFull, disk_full, is_disk_full
from train import checkpoint
from train.checkpoint import Saver
from train.config import TrainConfig, Updates
from train.data import PackedImages, count_minibatches
from train.evaluation.judge import Judge
from train.feed import Residence, open_feed
from train.parallel import ALONE, Ranks
from train.randomness import Stream, seeded_generator
from train.rollback import go_back
from train.samples import GRID_IMAGES, Inputs, draw, lay_out, save_png, stream_inputs
from train.state import TrainingState
from train.statistics import prepare, usual_statistics
from train.stats import Row, StatsLog
from train.step import Stepper
from train.watch import OnCollapse, Watcher, measure_diversity

MINIBATCHES_PER_ROW = 50
NEAREST_NAME = "nearest.png"  # samples above the training images that they come nearest to


@dataclass(frozen=True, slots=True)
class Running:
    """How training runs; decides nothing of what comes out, but for rounding and for what follows a collapse.

    Attributes:
        device: where the networks are.
        compiled: whether steps are compiled, and on a GPU recorded.
        residence: where the images are.
        kept: checkpoints kept, the last ones.
        checkpoint_every_s: between checkpoints within an epoch, in seconds; its end always has one.
        on_collapse: what to do where training comes apart.
    """

    device: torch.device
    compiled: bool = False
    residence: Residence = Residence.AUTO
    kept: int = checkpoint.KEPT_CHECKPOINTS
    checkpoint_every_s: float = 600.0
    on_collapse: OnCollapse = OnCollapse.WARN


def train(
    state: TrainingState,
    images: PackedImages,
    run_folder: Path,
    running: Running,
    *,
    ranks: Ranks = ALONE,
    watch: Callable[[int, Row | None], None] = lambda images_seen, row: None,
    should_stop: Callable[[], bool] = lambda: False,
    judge: Judge | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train until all epochs are done or ``should_stop``, which is asked after each minibatch.

    Args:
        state: where to go on from; changed in place.
        images: what D calls real.
        run_folder: where samples, statistics and checkpoints go; the first rank writes them.
        running: how.
        ranks: the processes that train together.
        watch: called after each minibatch with the images seen so far, and with a row of statistics where one is due.
        should_stop: whether to save a checkpoint and return.
        judge: what measures G's images, on the first rank; None: nothing does.
        clock: seconds, for rates and for checkpoints within an epoch.

    Returns:
        Whether all epochs are done.

    Raises:
        TrainingError: a loss or a weight is no longer finite, or training came apart and was to stop then.
        DiskFull: no space was left below ``run_folder``.
    """
    try:
        with (
            StatsLog(run_folder if ranks.is_first else None, state.images_seen) as stats,
            Saver(run_folder if ranks.is_first else None, running.kept) as saver,
        ):
            return _train(state, images, run_folder, running, ranks, stats, saver, watch, should_stop, judge, clock)
    except OSError as error:
        if is_disk_full(error):
            message = disk_full(run_folder).message
            hint = "free some space; the same command with --resume auto then goes on"
            raise DiskFull(message, hint=hint) from error
        raise


def _train(
    state: TrainingState,
    images: PackedImages,
    run_folder: Path,
    running: Running,
    ranks: Ranks,
    stats: StatsLog,
    saver: Saver,
    watch: Callable[[int, Row | None], None],
    should_stop: Callable[[], bool],
    judge: Judge | None,
    clock: Callable[[], float],
) -> bool:
    # What does not change: the z of the samples, the length of an epoch.
    config = state.config
    noise = seeded_generator(config.seed, Stream.SAMPLES)
    inputs = next(stream_inputs(config.model, GRID_IMAGES, noise, device=running.device))
    minibatches_per_epoch = count_minibatches(images, config.batch_size)
    feed = open_feed(images, config, running.device, running.residence)
    stepper = Stepper(state, running.device, compiled=running.compiled, ranks=ranks)
    if state.watcher is None:
        some = np.random.default_rng(config.seed).choice(len(images), min(GRID_IMAGES, len(images)), replace=False)
        state.watcher = Watcher(measure_diversity(images.take(some)))
    row_at = saved_at = clock()
    row_images = state.images_seen

    while state.epoch < config.epochs:
        # An epoch's images in an order of its own, from where the state stands in it.
        stepper.set_learning_rate(learning_rate(config, state.epoch))
        goes_back = False
        for minibatch in feed.minibatches(state.epoch, state.minibatch, ranks.rank, ranks.count):
            # Whose turn it is.
            turn = state.epoch * minibatches_per_epoch + state.minibatch
            trains_discriminator, trains_generator = take_turns(turn, config)
            measured = stepper.step(minibatch.pixels, minibatch.labels, trains_discriminator, trains_generator)
            if trains_generator and state.average is not None:
                state.average.update(state.generator)

            # Count.
            state.minibatch += 1
            state.images_seen += config.batch_size
            state.measures.add(state.images_seen, measured)
            ends_epoch = state.minibatch == minibatches_per_epoch

            # Statistics: the only place that waits for the device.
            row: Row | None = None
            if (turn + 1) % MINIBATCHES_PER_ROW == 0 or ends_epoch:
                rate = (state.images_seen - row_images) / max(clock() - row_at, 1e-9)
                row = _summarise(state, state.measures.summarise(), inputs, rate, running.device)
                stats.write(row)
                row_at, row_images = clock(), state.images_seen
                if running.on_collapse is not OnCollapse.WARN:
                    goes_back = ranks.agree(ranks.is_first and "signs" in row)

            # The end of an epoch: what G draws now of the same z.
            if ends_epoch:
                state.epoch, state.minibatch = state.epoch + 1, 0
                if ranks.is_first:
                    _show_samples(state, inputs, run_folder, stats)
            watch(state.images_seen, row)
            if goes_back:
                break

            # Metrics, every so many images and at the end.
            is_last = state.epoch == config.epochs
            evaluates = judge is not None and (is_last or judge.is_due(state.images_seen, config.batch_size))
            is_best = False
            if judge is not None and evaluates:
                for found in _evaluate(state, judge, run_folder, is_last):
                    stats.write(found)
                    watch(state.images_seen, found)
                row_at, row_images = clock(), state.images_seen
                is_best = state.best is not None and state.best["images"] == state.images_seen

            # A checkpoint comes last: what it vouches for is on disk.
            stops = ranks.agree(should_stop())
            if ends_epoch or stops or ranks.agree(evaluates or clock() - saved_at > running.checkpoint_every_s):
                saver.save(state, is_best=is_best)
                saved_at = clock()
            if stops and state.epoch < config.epochs:
                return False

        # Where training came apart: from an earlier checkpoint on, with another z.
        if goes_back:
            saver.wait()
            ranks.wait()
            came_apart_at = state.images_seen
            go_back(state, run_folder, running.on_collapse)
            ranks.wait()
            stats.forget_after(state.images_seen, f"went back from image {came_apart_at:,}, where training came apart")
            saver.save(state)
            stepper = Stepper(state, running.device, compiled=running.compiled, ranks=ranks)
    return True


def take_turns(minibatch: int, config: TrainConfig) -> tuple[bool, bool]:
    """Whether D, and whether G, is trained on a minibatch (from 0, through all epochs)."""
    k = config.discriminator_steps
    if config.updates is Updates.ALTERNATE:
        is_generators = minibatch % (k + 1) == 0
        return not is_generators, is_generators
    return True, minibatch % k == k - 1


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Adam's in an epoch (from 0): as configured, then in ``decay_epochs`` equal steps towards 0."""
    left = config.epochs - epoch
    return config.learning_rate * min(1.0, left / (config.decay_epochs + 1))


def _summarise(
    state: TrainingState, means: dict[str, float], inputs: Inputs, rate: float, device: torch.device
) -> dict[str, Any]:
    """A row of statistics, with what looks wrong in it."""
    assert state.watcher is not None
    drawn = draw(prepare(state.generator, state.config.model, usual_statistics(state.config)), *inputs)
    diversity = measure_diversity(drawn)
    signs = state.watcher.look(means.get("d_real", 0.5), means.get("d_fake", 0.5), diversity)
    return {
        "images": state.images_seen,
        "epoch": state.epoch + 1,
        **means,
        "spread": round(diversity.spread, 3),
        "code_distance": round(diversity.code_distance, 3),
        "images_per_s": round(rate, 1),
        **_measure_memory(device),
        **({"signs": signs} if signs else {}),
    }


def _evaluate(state: TrainingState, judge: Judge, run_folder: Path, is_last: bool) -> list[dict[str, Any]]:
    """Measure what `train.sample` would draw, note the best so far, and at the end what is by heart; rows of that."""
    statistics = usual_statistics(state.config)
    generator, weights = (state.generator, "raw") if state.average is None else (state.average.generator, "ema")
    samples = judge.draw(generator, state.config, statistics)
    rows: list[dict[str, Any]] = [
        {"images": state.images_seen, "epoch": state.epoch + (state.minibatch > 0), "evaluation": each.to_json()}
        for each in judge.compare(samples, weights, statistics)
    ]
    name, value = next(iter(rows[0]["evaluation"]["metrics"].items()))
    if state.best is None or state.best["name"] != name or value < state.best["value"]:
        state.best = {"name": name, "value": value, "images": state.images_seen}
    if is_last:
        found = judge.find_memorised(samples)
        save_png(run_folder / NEAREST_NAME, judge.picture(samples, found))
        rows[0]["memorisation"] = found.to_json()
    return rows


def _show_samples(state: TrainingState, inputs: Inputs, run_folder: Path, stats: StatsLog) -> None:
    """Draw the grid of the fixed z, and that of the moving average."""
    model, statistics = state.config.model, usual_statistics(state.config)
    grid = lay_out(draw(prepare(state.generator, model, statistics), *inputs))
    save_png(run_folder / "samples" / f"epoch_{state.epoch:04d}.png", grid)
    save_png(run_folder / "samples.png", grid)
    stats.show("samples", grid, state.images_seen)
    if state.average is not None:
        grid = lay_out(draw(prepare(state.average.generator, model, statistics), *inputs))
        save_png(run_folder / "samples_ema.png", grid)
        stats.show("samples_ema", grid, state.images_seen)


def _measure_memory(device: torch.device) -> dict[str, float]:
    """The most memory that tensors have taken on a GPU, in MB."""
    return {"gpu_mb": round(torch.cuda.max_memory_allocated(device) / 2**20)} if device.type == "cuda" else {}
