"""Autoencoder: thumbnails in, a 3072-128-3072 denoising net fitted to them out, and its 128-bit codes.

Stands at the arrow "thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN". The net is that of Radford, Metz & Chintala 2016, section 4.1.1: one hidden layer of
128 dropout-regularised ReLU units between a corrupted picture and its clean reconstruction; a bit of the code is 1
where the unit's activation is above 0.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from dedup.codes import CODE_BITS, check_thumbnails
from dedup.corruption import add_noise, make_near_duplicates
from dedup.threads import one_torch_thread, run_batches

PIXELS = 32 * 32 * 3
# Added to a picture's standard deviation, pixels in [0, 1], so that a nearly blank one is not blown up into noise.
_STD_FLOOR = 0.02
_ENCODE_ROWS = 512
_BALANCE_BATCHES = 32


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How the autoencoder is fitted. `PAPER` and `DEFAULT` are the two that are used.

    Attributes:
        corruption: "noise" is Gaussian noise and masking; "near_duplicates" is crops, captions, tones and the like.
        masked: share of values that "noise" sets to 0.
        noise_std: of the Gaussian of "noise", pixels in [0, 1].
        dropout: share of code units dropped while fitting.
        normalised: whether each picture is brought to mean 0 and standard deviation 1, or else pixels to [-1, 1].
        contrast: weight of the contrastive term beside the reconstruction error; 0 leaves it out.
        temperature: of the contrastive term; the lower, the more the hardest wrong match of a batch counts.
        balanced: whether each unit's bias is finally set so that half of the pictures switch it on.
        steps: optimiser steps.
        batch_size: pictures a step.
        learning_rate: Adam's, at its peak.
        sample_size: how many thumbnails of a larger set are enough to fit on.
        seed: of everything random; at least 0.
    """

    corruption: Literal["noise", "near_duplicates"]
    masked: float
    noise_std: float
    dropout: float
    normalised: bool
    contrast: float
    temperature: float
    balanced: bool
    steps: int
    batch_size: int
    learning_rate: float
    sample_size: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.corruption not in ("noise", "near_duplicates"):
            raise ValueError(f"corruption must be noise or near_duplicates, not {self.corruption!r}")
        if not (0 <= self.masked < 1 and 0 <= self.dropout < 1):
            raise ValueError("masked and dropout are shares and must be from 0 to below 1")
        if self.noise_std < 0 or self.contrast < 0 or self.temperature <= 0 or self.learning_rate <= 0:
            raise ValueError("noise_std and contrast must not be negative; temperature and learning_rate be positive")
        if min(self.steps, self.batch_size, self.sample_size) < 1 or self.seed < 0:
            raise ValueError("steps, batch_size and sample_size must be at least 1, the seed at least 0")


# The paper gives the layers, "denoising", "dropout-regularised" and "ReLU", and no number; these are customary ones.
PAPER = EncoderConfig(
    corruption="noise",
    masked=0.2,
    noise_std=0.1,
    dropout=0.5,
    normalised=False,
    contrast=0.0,
    temperature=1.0,
    balanced=False,
    steps=1000,
    batch_size=256,
    learning_rate=1e-3,
    sample_size=50_000,
)

# The same net. What the corruption makes of a picture should get the picture's code, and another picture another one:
# the contrastive term says so of the code itself (normalised temperature-scaled cross-entropy, Chen et al. 2020).
DEFAULT = EncoderConfig(
    corruption="near_duplicates",
    masked=0.0,
    noise_std=0.0,
    dropout=0.1,
    normalised=True,
    contrast=0.5,
    temperature=0.07,
    balanced=True,
    steps=500,
    batch_size=256,
    learning_rate=2e-3,
    sample_size=50_000,
)


@dataclass(frozen=True, slots=True)
class Encoder:
    """The fitted lower half of the net; the upper half has served once it is fitted.

    Attributes:
        weight: (128, 3072) float32 on the device it runs on; a row is a unit's filter over (32, 32, 3) RGB pixels.
        bias: (128,) float32.
        config: how it was fitted.
    """

    weight: Tensor
    bias: Tensor
    config: EncoderConfig

    def codes(self, thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode pictures, in batches of bounded memory.

        A code depends on its picture alone, not on the batch: sums of pixels are whole numbers and the product is
        taken in float64, whose rounding stays some nine orders of magnitude below a unit's spread.

        Args:
            thumbnails: (N, 32, 32, 3) uint8 RGB; may be mapped from a file.

        Returns:
            (N, 16) uint8: 128 bits, each 1 where relu(weight x + bias) > 0, the first unit in the highest bit.
        """
        check_thumbnails(thumbnails)
        weight, bias = self.weight.double(), self.bias.double()
        codes = np.empty((len(thumbnails), CODE_BITS // 8), np.uint8)

        def work(batch: slice) -> None:
            rows = np.array(thumbnails[batch]).reshape(-1, PIXELS)
            pixels = torch.from_numpy(rows).to(weight.device)
            activation = functional.relu(_prepare(pixels, self.config.normalised) @ weight.T + bias)
            codes[batch] = np.packbits((activation > 0).cpu().numpy(), axis=1)

        run_batches(work, len(thumbnails), _ENCODE_ROWS)
        return codes


def choose_device(name: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; other names pass."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


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
    """
    check_thumbnails(thumbnails)
    if not len(thumbnails):
        raise ValueError("an autoencoder cannot be fitted to no thumbnails")
    # Sums split over threads round differently, so one thread is what makes weights the same on any number of cores.
    with one_torch_thread():
        generator = torch.Generator(device).manual_seed(config.seed)
        draw = np.random.default_rng(config.seed)
        net = _initial_net(generator, device)
        optimiser = torch.optim.Adam(net, lr=config.learning_rate)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config.steps)
            loss = _loss(net, _draw_batch(thumbnails, config.batch_size, draw, device), config, generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        weight, bias = net[0].detach(), net[1].detach()
        if config.balanced:
            bias = _balanced_bias(weight, thumbnails, config, draw, device)
    if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise FloatingPointError(f"the autoencoder diverged at a learning rate of {config.learning_rate}")
    return Encoder(weight, bias, config)


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder as safetensors, its configuration in the metadata: equal encoders make equal bytes."""
    path.write_bytes(_encoder_bytes(encoder))


def load_encoder(path: Path, device: str = "cpu") -> Encoder:
    """Read what `save_encoder` wrote onto a device.

    Raises:
        safetensors.SafetensorError, KeyError, TypeError, ValueError: the file is none of ours.
    """
    with safe_open(path, framework="pt", device=device) as file:
        config = EncoderConfig(**json.loads(file.metadata()["config"]))
        return Encoder(file.get_tensor("weight"), file.get_tensor("bias"), config)


def encoder_sha256(encoder: Encoder) -> str:
    """The SHA-256, in hex, of the bytes that `save_encoder` writes."""
    return hashlib.sha256(_encoder_bytes(encoder)).hexdigest()


def _encoder_bytes(encoder: Encoder) -> bytes:
    tensors = {"weight": encoder.weight.cpu().contiguous(), "bias": encoder.bias.cpu().contiguous()}
    return save(tensors, metadata={"config": json.dumps(asdict(encoder.config), sort_keys=True)})


def _prepare(pixels: Tensor, normalised: bool) -> Tensor:
    """Turn (B, 3072) uint8 into what the net sees, float64: normalised per picture, or scaled to [-1, 1]."""
    if not normalised:
        return pixels.double() / 127.5 - 1
    total = pixels.sum(dim=1, keepdim=True, dtype=torch.int64)
    squares = pixels.int().square().sum(dim=1, keepdim=True)
    mean = total.double() / PIXELS
    std = (squares.double() / PIXELS - mean.square()).clamp(min=0).sqrt()
    return (pixels.double() - mean) / (std + 255 * _STD_FLOOR)


def _flatten(pictures: Tensor, normalised: bool) -> Tensor:
    """Turn (B, 3, 32, 32) in [0, 1] into what the net sees, (B, 3072) float32, channels last as thumbnails are."""
    rows = pictures.permute(0, 2, 3, 1).reshape(len(pictures), PIXELS)
    if not normalised:
        return rows * 2 - 1
    std, mean = torch.std_mean(rows, dim=1, keepdim=True, correction=0)
    return (rows - mean) / (std + _STD_FLOOR)


def _draw_batch(thumbnails: NDArray[np.uint8], size: int, draw: np.random.Generator, device: str) -> Tensor:
    """Draw pictures with replacement: (size, 3, 32, 32) in [0, 1]."""
    rows = thumbnails[np.sort(draw.integers(len(thumbnails), size=size))]
    return torch.from_numpy(rows).to(device).permute(0, 3, 1, 2).float() / 255


def _initial_net(generator: torch.Generator, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Encoder weight and bias, decoder weight and bias. Filters begin smooth, as what survives corruption is."""
    coarse = torch.randn(CODE_BITS, 1, 6, 6, generator=generator, device=device)
    smooth = functional.interpolate(coarse, (32, 32), mode="bicubic", align_corners=False).flatten(1)
    filters = smooth.repeat_interleave(3, dim=1)
    weight = filters / filters.norm(dim=1, keepdim=True) * 0.15
    decoder = torch.randn(PIXELS, CODE_BITS, generator=generator, device=device) * 0.01
    net = (weight, torch.zeros(CODE_BITS, device=device), decoder, torch.zeros(PIXELS, device=device))
    for tensor in net:
        tensor.requires_grad_()
    return net


def _schedule(step: int, steps: int) -> float:
    """A short rise, then half a cosine down to 0: the factor of the learning rate."""
    return min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(
    net: tuple[Tensor, Tensor, Tensor, Tensor], pictures: Tensor, config: EncoderConfig, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the clean picture rebuilt from its corruption's code, and the contrastive term."""
    weight, bias, decoder, decoder_bias = net
    if config.corruption == "noise":
        corrupted = add_noise(pictures, config.masked, config.noise_std, generator)
    else:
        corrupted = make_near_duplicates(pictures, generator)
    clean = _flatten(pictures, config.normalised)
    hidden = _flatten(corrupted, config.normalised) @ weight.T + bias
    kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= config.dropout
    code = functional.relu(hidden) * kept / (1 - config.dropout)
    loss = functional.mse_loss(code @ decoder.T + decoder_bias, clean)
    if config.contrast:
        loss = loss + config.contrast * _contrastive_loss(hidden, clean @ weight.T + bias, config.temperature)
    return loss


def _contrastive_loss(corrupted: Tensor, clean: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each picture's other version in the batch by its softened code.

    tanh of twice the standard score stands for the bit, so the similarity of two codes is 1 - 2 x distance / 128.
    """
    both = torch.cat([corrupted, clean])
    std = both.std(dim=0, correction=0).detach() + 1e-6
    bits = torch.tanh(2 * (both - both.mean(dim=0)) / std)
    similarity = bits @ bits.T / (CODE_BITS * temperature)
    similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    other = torch.arange(len(both), device=both.device).roll(len(clean))
    return functional.cross_entropy(similarity, other)


def _balanced_bias(
    weight: Tensor, thumbnails: NDArray[np.uint8], config: EncoderConfig, draw: np.random.Generator, device: str
) -> Tensor:
    """The bias that puts each unit's median over a sample of clean pictures at 0."""
    sums = [
        _flatten(_draw_batch(thumbnails, config.batch_size, draw, device), config.normalised) @ weight.T
        for _ in range(_BALANCE_BATCHES)
    ]
    return -torch.cat(sums).quantile(0.5, dim=0)
