"""The training loop: packed images and a state in; trained networks, samples, statistics and checkpoints out.

The last arrow of "clean shards → DCGAN", to be read from top to bottom.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pipelines.errors import DiskFull, disk_full, is_disk_full
from train import checkpoint
from train.checkpoint import SAMPLES_STREAM, TrainingState, seeded_generator
from train.config import TrainConfig, Updates
from train.data import PackedImages, Pixels, count_minibatches, epoch_order, minibatches
from train.dcgan import draw_z, from_pixels
from train.losses import discriminator_loss, generator_loss, value
from train.samples import GRID_IMAGES, draw, lay_out, save_png
from train.stats import Row, StatsLog

MINIBATCHES_PER_ROW = 50
CHECKPOINT_EVERY_S = 600.0  # within an epoch; its end always has one


def train(
    state: TrainingState,
    images: PackedImages,
    run_folder: Path,
    *,
    device: torch.device,
    watch: Callable[[int, Row | None], None] = lambda images_seen, row: None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train until all epochs are done or ``should_stop``, which is asked after each minibatch.

    Args:
        state: where to go on from; changed in place.
        images: what D calls real.
        run_folder: where samples, statistics and checkpoints go.
        device: where the networks are.
        watch: called after each minibatch with the images seen so far, and with a row of statistics where one is due.
        should_stop: whether to save a checkpoint and return.
        clock: seconds, for rates and for checkpoints within an epoch.

    Returns:
        Whether all epochs are done.

    Raises:
        TrainingError: a loss or a weight is no longer finite.
        DiskFull: no space was left below ``run_folder``.
    """
    try:
        with StatsLog(run_folder, state.images_seen) as stats:
            return _train(
                state, images, run_folder, stats, device=device, watch=watch, should_stop=should_stop, clock=clock
            )
    except OSError as error:
        if is_disk_full(error):
            message = disk_full(run_folder).message
            raise DiskFull(message, hint="free some space; the same command with --resume then goes on") from error
        raise


def _train(
    state: TrainingState,
    images: PackedImages,
    run_folder: Path,
    stats: StatsLog,
    *,
    device: torch.device,
    watch: Callable[[int, Row | None], None],
    should_stop: Callable[[], bool],
    clock: Callable[[], float],
) -> bool:
    # What does not change: the z of the samples, the length of an epoch.
    config = state.config
    samples_z = draw_z(GRID_IMAGES, config.model, seeded_generator(config.seed, SAMPLES_STREAM)).to(device)
    minibatches_per_epoch = count_minibatches(images, config.batch_size)
    row_at = saved_at = clock()
    row_images = state.images_seen

    while state.epoch < config.epochs:
        # An epoch's images in an order of its own, from where the state stands in it.
        order = epoch_order(config.seed, state.epoch, len(images))
        for batch in minibatches(images, order, config.batch_size, start=state.minibatch):
            # Whose turn it is.
            turn = state.epoch * minibatches_per_epoch + state.minibatch
            trains_discriminator, trains_generator = take_turns(turn, config)
            measured: dict[str, Tensor] = {}
            if trains_discriminator:
                measured |= step_discriminator(state, from_pixels(upload(batch, device)))
            if trains_generator:
                measured |= step_generator(state, device)

            # Count.
            state.minibatch += 1
            state.images_seen += config.batch_size
            state.measures.add(state.images_seen, measured)
            ends_epoch = state.minibatch == minibatches_per_epoch

            # Statistics: the only place that waits for the device.
            row = None
            if (turn + 1) % MINIBATCHES_PER_ROW == 0 or ends_epoch:
                means = state.measures.summarise()
                now = clock()
                rate = (state.images_seen - row_images) / max(now - row_at, 1e-9)
                row_at, row_images = now, state.images_seen
                row = {"images": state.images_seen, "epoch": state.epoch + 1, **means, "images_per_s": round(rate, 1)}
                stats.write(row)

            # The end of an epoch: what G draws now of the same z.
            if ends_epoch:
                state.epoch, state.minibatch = state.epoch + 1, 0
                grid = lay_out(draw(state.generator, samples_z))
                save_png(run_folder / "samples" / f"epoch_{state.epoch:04d}.png", grid)
                save_png(run_folder / "samples.png", grid)
                stats.show("samples", grid, state.images_seen)
            watch(state.images_seen, row)

            # A checkpoint comes last: what it vouches for is on disk.
            stops = should_stop()
            if ends_epoch or stops or clock() - saved_at > CHECKPOINT_EVERY_S:
                checkpoint.save(state, run_folder)
                saved_at = clock()
            if stops and state.epoch < config.epochs:
                return False
    return True


def take_turns(minibatch: int, config: TrainConfig) -> tuple[bool, bool]:
    """Whether D, and whether G, is trained on a minibatch (from 0, through all epochs)."""
    k = config.discriminator_steps
    if config.updates is Updates.ALTERNATE:
        is_generators = minibatch % (k + 1) == 0
        return not is_generators, is_generators
    return True, minibatch % k == k - 1


def step_discriminator(state: TrainingState, real: Tensor) -> dict[str, Tensor]:
    """One step of D up V(D, G): on ``real``, (B, 3, R, R) in [-1, 1], and on as many drawn images."""
    with torch.no_grad():
        fake = state.generator(_draw_noise(state, real.device))
    # Apart, so that batch norm sees each with its own statistics.
    real_logits, fake_logits = state.discriminator(real), state.discriminator(fake)
    state.discriminator_optimiser.zero_grad()
    torch.autograd.backward(discriminator_loss(real_logits, fake_logits))
    state.discriminator_optimiser.step()
    return {
        "value": value(real_logits.detach(), fake_logits.detach()),
        "d_real": real_logits.detach().sigmoid().mean(),
        "d_fake": fake_logits.detach().sigmoid().mean(),
    }


def step_generator(state: TrainingState, device: torch.device) -> dict[str, Tensor]:
    """One step of G on a minibatch of fresh z, as Algorithm 1 has it."""
    loss = generator_loss(state.discriminator(state.generator(_draw_noise(state, device))), state.config.loss)
    state.generator_optimiser.zero_grad()
    # D's own gradients are not asked for: they would be computed for nothing.
    torch.autograd.backward(loss, inputs=list(state.generator.parameters()))
    state.generator_optimiser.step()
    return {"generator_loss": loss.detach()}


def _draw_noise(state: TrainingState, device: torch.device) -> Tensor:
    return _to_device(draw_z(state.config.batch_size, state.config.model, state.noise), device)


def upload(batch: Pixels, device: torch.device) -> Tensor:
    """A minibatch to the device, still uint8 (B, R, R, 3), without waiting for it."""
    return _to_device(torch.from_numpy(batch), device)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
