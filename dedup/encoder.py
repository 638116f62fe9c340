"""Encoder: thumbnails in, their 128-bit codes out; how an encoder is configured, and its file.

Stands at the arrow "thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN". `dedup.autoencoder` fits what is used here.

An encoder is whole numbers: pixels, filters and biases. Every sum of a code is then exact in float64 in whatever order
it is taken, so that a picture has one code on every processor, with any number of threads and in any batch.
"""

import json
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from dedup.codes import CODE_BITS, check_thumbnails
from dedup.threads import run_batches

PIXELS = 32 * 32 * 3
SHIPPED_NAME = "encoder.safetensors"

# A pixel is normalised by the square of so many pixels around it, as far as that lies in the picture.
WINDOW = 23
# Added to a standard deviation, in levels, so that sky and walls are not blown up into noise.
STD_FLOOR = 7.5
# How far from its surroundings a pixel can count, in deviations: captions and frames are far from theirs.
CLIP_STD = 1.5
STEPS_PER_STD = 64  # a normalised pixel is a whole number of such steps

_PER_COLOUR = 3**-0.5
_ENCODE_ROWS = 256


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How the autoencoder is fitted. `PAPER` and `DEFAULT` are the two that runs use.

    Attributes:
        corruption: "noise" is Gaussian noise and masking; "near_duplicates" is crops, captions, tones and the like.
        masked: share of values that "noise" sets to 0.
        noise_std: of the Gaussian of "noise", pixels in [0, 1].
        dropout: share of code units dropped while fitting.
        normalised: whether each picture is brought to mean 0 and standard deviation 1, or else pixels to [-1, 1].
        mirrored: whether 64 of the 128 units are the left-right mirror images of the other 64, so that a mirrored
            picture's code is its code with the halves swapped (`dedup.codes.mirror_codes`).
        pretrained: whether the fit starts from the shipped encoder, or else from smooth random filters.
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
    mirrored: bool
    pretrained: bool
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
    mirrored=False,
    pretrained=False,
    contrast=0.0,
    temperature=1.0,
    balanced=False,
    steps=1000,
    batch_size=256,
    learning_rate=1e-3,
    sample_size=50_000,
)

# The same net. What the corruption makes of a picture should get the picture's code, and another picture another one:
# the contrastive term says so of the code itself (normalised temperature-scaled cross-entropy, Chen et al. 2020). A fit
# goes on from the shipped encoder: from random filters, as many steps end well below it at every size that was tried.
DEFAULT = EncoderConfig(
    corruption="near_duplicates",
    masked=0.0,
    noise_std=0.0,
    dropout=0.1,
    normalised=True,
    mirrored=True,
    pretrained=True,
    contrast=1.0,
    temperature=0.025,
    balanced=True,
    steps=200,
    batch_size=512,
    learning_rate=3e-4,
    sample_size=50_000,
)

# How the encoder that the package ships was fitted.
PRETRAINING = replace(DEFAULT, pretrained=False, steps=1500, learning_rate=2e-3)


@dataclass(frozen=True, slots=True)
class Encoder:
    """The fitted lower half of the net in whole numbers; the upper half has served once it is fitted.

    A unit's scale says nothing about the sign of its activation, so each has its own: its largest weight is 32,767.

    Attributes:
        weight: (U, 3072) int16 on the device it runs on; a row is a unit's filter over (32, 32, 3) RGB pixels. U is
            128, or 64 where the other 64 are mirror images of these.
        bias: (U,) int64, in units of weight x pixel as `codes` sees pixels.
        config: how it was fitted.
    """

    weight: Tensor
    bias: Tensor
    config: EncoderConfig

    def codes(self, thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode pictures, in batches of bounded memory. A code depends on its picture and the encoder alone.

        Args:
            thumbnails: (N, 32, 32, 3) uint8 RGB; may be mapped from a file.

        Returns:
            (N, 16) uint8: 128 bits, each 1 where relu(weight x + bias) > 0, the first unit in the highest bit.
        """
        check_thumbnails(thumbnails)
        weight, bias = all_units(self.weight.double(), self.bias.double(), self.config.mirrored)
        codes = np.empty((len(thumbnails), CODE_BITS // 8), np.uint8)

        def work(batch: slice) -> None:
            rows = torch.from_numpy(np.array(thumbnails[batch])).to(self.weight.device)
            pixels = whole_pixels(rows, self.config.normalised)
            codes[batch] = np.packbits((pixels @ weight.T + bias > 0).cpu().numpy(), axis=1)

        run_batches(work, len(thumbnails), _ENCODE_ROWS)
        return codes


def choose_device(name: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; other names pass."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder as safetensors, its configuration in the metadata: equal encoders make equal bytes."""
    tensors = {"weight": encoder.weight.cpu().contiguous(), "bias": encoder.bias.cpu().contiguous()}
    path.write_bytes(save(tensors, metadata={"config": json.dumps(asdict(encoder.config), sort_keys=True)}))


def load_encoder(path: Path, device: str = "cpu") -> Encoder:
    """Read what `save_encoder` wrote onto a device.

    Raises:
        safetensors.SafetensorError, KeyError, TypeError, ValueError: the file is none of ours, or of an older format.
    """
    with safe_open(path, framework="pt", device=device) as file:
        config = EncoderConfig(**json.loads(file.metadata()["config"]))
        encoder = Encoder(file.get_tensor("weight"), file.get_tensor("bias"), config)
    shape = (CODE_BITS // 2 if config.mirrored else CODE_BITS, PIXELS)
    if encoder.weight.shape != shape or encoder.weight.dtype != torch.int16 or encoder.bias.dtype != torch.int64:
        raise ValueError(f"{path} is no encoder of this version: weight {encoder.weight.dtype} {encoder.weight.shape}")
    return encoder


def load_shipped_encoder(device: str = "cpu") -> Encoder:
    """The encoder that comes with the package; `dedup.pretrain` fitted it to photographs of many kinds."""
    with resources.as_file(resources.files("dedup") / SHIPPED_NAME) as path:
        return load_encoder(path, device)


def all_units(weight: Tensor, bias: Tensor, mirrored: bool) -> tuple[Tensor, Tensor]:
    """The weight (128, 3072) and bias (128,) of all units: where ``mirrored``, those given and their mirror images."""
    if not mirrored:
        return weight, bias
    images = weight.view(-1, 32, 32, 3).flip(2).reshape(-1, PIXELS)
    return torch.cat([weight, images]), torch.cat([bias, bias])


def whole_pixels(thumbnails: Tensor, normalised: bool) -> Tensor:
    """What an encoder sees of (B, 32, 32, 3) uint8: (B, 3072) whole numbers as float64, the same on every device.

    Pixels in 127.5ths from -255 to 255; or, normalised, in 64ths of the standard deviation of their surroundings (that
    of the three colours together) from the mean of their surroundings in their colour, cut off at 1.5 deviations. Every
    step is exact, or works on each number by itself with an operation that IEEE 754 rounds in one way. (Division by a
    constant is none: a GPU multiplies by the reciprocal.)
    """
    if not normalised:
        return thumbnails.reshape(-1, PIXELS).double() * 2 - 255
    pixels = thumbnails.permute(0, 3, 1, 2).contiguous().float().sub_(128)
    band, count = surroundings(pixels)
    total = band @ pixels @ band  # below 2**24, so exact in float32; the sums of squares are not
    band = band.double()
    squares = band @ pixels.square().sum(dim=1, keepdim=True).double() @ band
    variance = count * squares - total.double().square_().sum(dim=1, keepdim=True)  # of 3 colours, times count squared
    gain = (variance.sqrt_().mul_(_PER_COLOUR) + count * STD_FLOOR).reciprocal_().mul_(STEPS_PER_STD).float()
    limit = CLIP_STD * STEPS_PER_STD
    seen = pixels.mul_(count).sub_(total).mul_(gain).round_().clamp_(-limit, limit)
    return seen.permute(0, 2, 3, 1).reshape(-1, PIXELS).double()


def surroundings(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """For (B, 3, 32, 32) pictures: the (32, 32) band that sums over windows, rows then columns, and the windows' sizes.

    Of the device and the type of the pictures; ``band @ pictures @ band`` are the sums.
    """
    place = torch.arange(32, device=pictures.device)
    band = ((place[:, None] - place).abs() <= WINDOW // 2).to(pictures.dtype)
    inside = band.sum(dim=1)
    return band, inside[:, None] * inside
