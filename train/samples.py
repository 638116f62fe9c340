"""Samples: G and what it draws from in, pictures and grids of them as PNGs out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from pipelines.store import write_atomically
from train.config import ModelConfig, Prior
from train.dcgan import Generator, draw_z, to_pixels

Pixels = npt.NDArray[np.uint8]
Inputs = tuple[Tensor, ...]  # what G is called with: z, and labels where it is conditional

GRID_COLUMNS = 8
GRID_IMAGES = GRID_COLUMNS**2
SMALLEST_TILE = 64  # pixels; smaller images are enlarged by a whole factor, so that a person sees them
LARGEST_SIDE = 1_000_000  # pixels; libpng writes none that is larger
EMPTY = 255
LOSSLESS = 101  # of a WebP's quality


def stream_inputs(
    model: ModelConfig,
    batch_size: int,
    noise: torch.Generator,
    *,
    limit: float = math.inf,
    labels: Sequence[int] = (),
    device: torch.device | None = None,
) -> Iterator[Inputs]:
    """Yield what G draws minibatch after minibatch from, without end; the same from ``noise`` on every device.

    Args:
        model: decides the size and prior of z, and whether there are labels.
        batch_size: rows in a minibatch.
        noise: a generator on the CPU.
        limit: see `truncate`.
        labels: classes dealt to the rows of a conditional G in turn; all of them where none are given.
        device: where to put them; the CPU if None.

    Yields:
        z, float32 of shape (batch_size, z_size); and for a conditional G labels, int64 of shape (batch_size,).
    """
    dealt = cycle(labels or range(model.classes))
    while True:
        z = truncate(draw_z(batch_size, model, noise), limit, model.z_prior, noise).to(device)
        if model.classes:
            yield z, torch.tensor(list(islice(dealt, batch_size)), device=device)
        else:
            yield (z,)


def truncate(z: Tensor, limit: float, prior: Prior, noise: torch.Generator) -> Tensor:
    """Draw the components of z that lie outside [-limit, limit] anew from the prior's part inside it.

    The truncation trick of Brock et al. (2019, section 3.1): fewer kinds of images, each nearer to the typical. Of a
    uniform prior it makes a uniform one on [-limit, limit], and a limit of 1 or more changes nothing. Components inside
    stay, so that the same z remain recognisable under different limits.
    """
    if limit == math.inf:
        return z
    share = torch.empty(z.shape, dtype=torch.float64).uniform_(-1, 1, generator=noise)
    if prior is Prior.UNIFORM:
        inside = share * min(limit, 1.0)
    else:  # by the inverse of the normal distribution's function, which never needs a second try
        inside = (share * math.erf(limit / math.sqrt(2))).erfinv() * math.sqrt(2)
    return torch.where(z.abs() > limit, inside.clamp(-limit, limit).to(z), z)


@torch.inference_mode()
def draw(generator: Generator, z: Tensor, labels: Tensor | None = None) -> Pixels:
    """Draw an image for each row of ``z`` with G as it would be used: uint8 RGB (B, R, R, 3); G's state stays."""
    was_training = generator.training
    generator.eval()
    images = generator(z) if labels is None else generator(z, labels)
    generator.train(was_training)
    drawn: Pixels = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
    return drawn


def draw_many(
    generator: Generator, inputs: Iterable[Inputs], count: int, *, keeps_companions: bool = False
) -> Iterator[Pixels]:
    """Draw ``count`` images, minibatch by minibatch: each uint8 RGB (at most B, R, R, 3).

    Args:
        generator: G, see `train.statistics.prepare`.
        inputs: at least ``count`` rows, as from `stream_inputs`.
        count: images in all.
        keeps_companions: whether to draw the last minibatch whole, images that are not asked for included, because
            G draws with the statistics of the minibatch.
    """
    for minibatch in inputs:
        wanted = min(count, len(minibatch[0]))
        rows = minibatch if keeps_companions else tuple(tensor[:wanted] for tensor in minibatch)
        yield draw(generator, *rows)[:wanted]
        count -= wanted
        if count == 0:
            return


def lay_out(images: Pixels, columns: int = GRID_COLUMNS) -> Pixels:
    """Lay images out in rows: uint8 (N, R, R, 3) → uint8 (rows · S, columns · S, 3), as `plan_grid` says.

    Places that are left over in the last row are white.

    Raises:
        ConfigError: no PNG can be that large.
    """
    resolution = images.shape[1]
    rows, columns, factor = plan_grid(len(images), columns, resolution)
    side = resolution * factor
    grid: Pixels = np.full((rows * columns, resolution, resolution, 3), EMPTY, np.uint8)
    grid[: len(images)] = images
    tiles = grid.repeat(factor, axis=1).repeat(factor, axis=2).reshape(rows, columns, side, side, 3)
    return tiles.swapaxes(1, 2).reshape(rows * side, columns * side, 3)


def plan_grid(count: int, columns: int, resolution: int) -> tuple[int, int, int]:
    """Rows, columns (no more than there are images) and the factor by which images are enlarged.

    Raises:
        ConfigError: no PNG can be that large.
    """
    factor = -(-SMALLEST_TILE // resolution)
    columns = min(columns, count)
    rows = -(-count // columns)
    if max(rows, columns) * resolution * factor > LARGEST_SIDE:
        raise ConfigError(
            f"a grid of {rows:,} rows and {columns:,} columns is larger than a PNG can be",
            hint="write single images with --each, or give other --columns",
        )
    return rows, columns, factor


def save_png(path: Path, image: Pixels) -> None:
    """Write uint8 RGB (H, W, 3) as a PNG, atomically."""
    write_atomically(path, encode_png(image))


def encode_png(image: Pixels) -> bytes:
    """The bytes of a PNG of uint8 RGB (H, W, 3)."""
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    return encoded.tobytes()


def encode_webp(
    frames: Sequence[Pixels], frame_ms: int, *, last_ms: int | None = None, quality: int = LOSSLESS
) -> bytes:
    """The bytes of an animated WebP of uint8 RGB (H, W, 3), which begins again without end.

    Args:
        frames: all of one size.
        frame_ms: how long each is seen.
        last_ms: likewise the last one, if longer.
        quality: up to 100; above that nothing is lost.
    """
    animation = cv2.Animation()
    animation.frames = [frame[..., ::-1] for frame in frames]
    animation.durations = [frame_ms] * (len(frames) - 1) + [last_ms or frame_ms]
    _, encoded = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return encoded.tobytes()
