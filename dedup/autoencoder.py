"""Autoencoder: thumbnails in, a 3072-128-3072 denoising net fitted to them, and its lower half, the encoder, out.

Stands at the arrow "thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN". The net is that of Radford, Metz & Chintala 2016, section 4.1.1: one hidden layer of
128 dropout-regularised ReLU units between a corrupted picture and its clean reconstruction; a bit of the code is 1
where the unit's activation is above 0. What is fitted in floating point is kept in whole numbers (`dedup.encoder`).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dedup.codes import CODE_BITS, check_thumbnails
from dedup.corruption import add_noise, make_near_duplicates
from dedup.encoder import (
    CLIP_STD,
    DEFAULT,
    PAPER,
    PIXELS,
    PRETRAINING,
    STD_FLOOR,
    STEPS_PER_STD,
    Encoder,
    EncoderConfig,
    all_units,
    choose_device,
    load_encoder,
    load_shipped_encoder,
    save_encoder,
    surroundings,
    whole_pixels,
)
from dedup.threads import one_torch_thread

__all__ = [
    "DEFAULT",
    "PAPER",
    "PRETRAINING",
    "Encoder",
    "EncoderConfig",
    "choose_device",
    "fit_encoder",
    "load_encoder",
    "load_shipped_encoder",
    "save_encoder",
]

Net = tuple[Tensor, Tensor, Tensor, Tensor]

_WEIGHT_MAX = 32_767
_BALANCE_ROWS, _BALANCE_BATCH = 8192, 512


def fit_encoder(
    thumbnails: NDArray[np.uint8],
    config: EncoderConfig,
    *,
    device: str = "cpu",
) -> Encoder:
    """Fit the autoencoder. The same arguments give the same weights, bit for bit, on CPUs of one kind.

    Args:
        thumbnails: (N, 32, 32, 3) uint8 RGB, N at least 1; may be mapped from a file, batches are drawn from it.
        config: how to fit.
        device: "cpu" or "cuda".

    Returns:
        The encoder, on that device.

    Raises:
        ValueError: no thumbnails, or of another shape or type.
        FloatingPointError: the fit diverged.
    """
    check_thumbnails(thumbnails)
    if not len(thumbnails):
        raise ValueError("an autoencoder cannot be fitted to no thumbnails")
    # Sums split over threads round differently, so one thread is what makes weights the same on any number of cores.
    with one_torch_thread():
        generator = torch.Generator(device).manual_seed(config.seed)
        draw = np.random.default_rng(config.seed)
        net = _initial_net(config, generator, device)
        optimiser = torch.optim.Adam(net, lr=config.learning_rate)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config.steps)
            loss = _loss(net, _draw_batch(thumbnails, config.batch_size, draw, device), config, generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        weight, bias = net[0].detach().double(), net[1].detach().double()
        if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise FloatingPointError(f"the autoencoder diverged at a learning rate of {config.learning_rate}")
        scale = _WEIGHT_MAX / weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
        weight = (weight * scale).round()
        if config.balanced:
            sample = thumbnails[np.sort(draw.integers(len(thumbnails), size=_BALANCE_ROWS))]
            bias = _balanced_bias(weight, sample, config)
        else:
            bias = bias * scale.flatten() * (STEPS_PER_STD if config.normalised else 255)
    return Encoder(weight.to(torch.int16), bias.round().to(torch.int64), config)


def _flatten(pictures: Tensor, normalised: bool) -> Tensor:
    """Turn (B, 3, 32, 32) in [0, 1] into what the net sees, (B, 3072) float32, channels last as thumbnails are.

    What `whole_pixels` says of whole pixels and in steps, here for any and in standard deviations.
    """
    if normalised:
        band, count = surroundings(pictures)
        mean = band @ pictures @ band / count
        variance = band @ pictures.square().mean(dim=1, keepdim=True) @ band / count - mean.square().mean(
            1, keepdim=True
        )
        seen = (pictures - mean) / (variance.clamp(min=0).sqrt() + STD_FLOOR / 255)
        pictures = seen.clamp(-CLIP_STD, CLIP_STD)
    else:
        pictures = pictures * 2 - 1
    return pictures.permute(0, 2, 3, 1).reshape(len(pictures), PIXELS)


def _draw_batch(thumbnails: NDArray[np.uint8], size: int, draw: np.random.Generator, device: str) -> Tensor:
    """Draw pictures with replacement: (size, 3, 32, 32) in [0, 1]."""
    rows = thumbnails[np.sort(draw.integers(len(thumbnails), size=size))]
    return torch.from_numpy(rows).to(device).permute(0, 3, 1, 2).float() / 255


def _initial_net(config: EncoderConfig, generator: torch.Generator, device: str) -> Net:
    """Encoder weight and bias, decoder weight and bias. Filters begin smooth, as what survives corruption is."""
    if config.pretrained:
        shipped = load_shipped_encoder(device)
        weight = shipped.weight.float()
        bias = shipped.bias.float() / (STEPS_PER_STD * weight.norm(dim=1))
    else:
        units = CODE_BITS // 2 if config.mirrored else CODE_BITS
        coarse = torch.randn(units, 1, 6, 6, generator=generator, device=device)
        smooth = functional.interpolate(coarse, (32, 32), mode="bicubic", align_corners=False).flatten(1)
        weight, bias = smooth.repeat_interleave(3, dim=1), torch.zeros(units, device=device)
    weight = weight / weight.norm(dim=1, keepdim=True) * 0.15
    decoder = torch.randn(PIXELS, CODE_BITS, generator=generator, device=device) * 0.01
    net = (weight, bias * 0.15, decoder, torch.zeros(PIXELS, device=device))
    for tensor in net:
        tensor.requires_grad_()
    return net


def _schedule(step: int, steps: int) -> float:
    """A short rise, then half a cosine down to 0: the factor of the learning rate."""
    return min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(net: Net, pictures: Tensor, config: EncoderConfig, generator: torch.Generator) -> Tensor:
    """Mean squared error of the clean picture rebuilt from its corruption's code, and the contrastive term."""
    weight, bias = all_units(net[0], net[1], config.mirrored)
    if config.corruption == "noise":
        corrupted = add_noise(pictures, config.masked, config.noise_std, generator)
    else:
        corrupted = make_near_duplicates(pictures, generator)
    clean = _flatten(pictures, config.normalised)
    hidden = _flatten(corrupted, config.normalised) @ weight.T + bias
    kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= config.dropout
    code = functional.relu(hidden) * kept / (1 - config.dropout)
    loss = functional.mse_loss(code @ net[2].T + net[3], clean)
    if config.contrast:
        loss = loss + config.contrast * _contrastive_loss(hidden, clean @ weight.T + bias, config)
    return loss


def _contrastive_loss(corrupted: Tensor, clean: Tensor, config: EncoderConfig) -> Tensor:
    """Cross-entropy of finding each picture's other version in the batch by its softened code.

    tanh of twice the standard score stands for the bit, so the similarity of two codes is 1 - 2 x distance / 128. Where
    units come in mirrored halves, the mirror images of all other pictures are wrong answers too.
    """
    both = torch.cat([corrupted, clean])
    std = both.std(dim=0, correction=0).detach() + 1e-6
    bits = torch.tanh(2 * (both - both.mean(dim=0)) / std)
    same = torch.eye(len(both), dtype=torch.bool, device=both.device)
    similarity = (bits @ bits.T).masked_fill(same, -torch.inf)
    if config.mirrored:
        images = bits.roll(CODE_BITS // 2, dims=1)
        similarity = torch.cat(
            [similarity, (bits @ images.T).masked_fill(same | same.roll(len(clean), dims=0), -torch.inf)], dim=1
        )
    other = torch.arange(len(both), device=both.device).roll(len(clean))
    return functional.cross_entropy(similarity / (CODE_BITS * config.temperature), other)


def _balanced_bias(weight: Tensor, thumbnails: NDArray[np.uint8], config: EncoderConfig) -> Tensor:
    """The bias that puts each unit's median over pictures, and over their mirror images where it has one, at 0."""
    units, _ = all_units(weight, weight.new_zeros(len(weight)), config.mirrored)
    parts = (thumbnails[start : start + _BALANCE_BATCH] for start in range(0, len(thumbnails), _BALANCE_BATCH))
    pixels = (whole_pixels(torch.from_numpy(part).to(weight.device), config.normalised) for part in parts)
    sums = torch.cat([batch @ units.T for batch in pixels])
    halves = torch.cat([sums[:, : len(weight)], sums[:, len(weight) :]]) if config.mirrored else sums
    return -halves.quantile(0.5, dim=0)
