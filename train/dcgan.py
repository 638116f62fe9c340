"""DCGAN: z in, images out (G); images in, logits out (D). Radford et al. 2016, sections 3 and 4, figure 1.

At 64 px and width 128 that is G: z → 1024×4×4 → 512 → 256 → 128 → 3 and D: 3 → 128 → 256 → 512 → 1024×4×4 → 1. The
paper gives no other resolution: here 32 px leaves out the layers of 1024 maps, and 128 px has a layer more, of 1024
maps too. Kernels are 5×5 with stride 2, and no layer has a bias but batch norm's, as in the authors' code.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from train.config import ModelConfig, NormStatistics, Prior

SEED_SIDE = 4  # pixels; the side of the maps that z is projected to, and that D ends with
MAX_WIDENING = 8  # the widest layer has this many times the maps of the narrowest
INIT_STD = 0.02
LEAK = 0.2


class Generator(nn.Module):
    """G: z of shape (B, z_size) → images of shape (B, 3, R, R) in [-1, 1], RGB."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = layer_widths(config.resolution, config.generator_width)[::-1]
        self.seed_shape = (widths[0], SEED_SIDE, SEED_SIDE)
        # A matrix product: batch norm treats each of its outputs apart, as the authors' code does.
        self.project = nn.Sequential(
            nn.Linear(config.z_size, math.prod(self.seed_shape), bias=False),
            _norm(nn.BatchNorm1d, math.prod(self.seed_shape), config),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.Sequential(
            *(
                nn.Sequential(_upsample(maps, wider), _norm(nn.BatchNorm2d, wider, config), nn.ReLU(inplace=True))
                for maps, wider in pairwise(widths)
            ),
            nn.Sequential(_upsample(widths[-1], 3), nn.Tanh()),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Draw one image for each row of ``z``."""
        images: Tensor = self.layers(self.project(z).unflatten(1, self.seed_shape))
        return images


class Discriminator(nn.Module):
    """D: images of shape (B, 3, R, R) in [-1, 1] → logits of shape (B,); sigmoid(logit) = P(the image is real)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = layer_widths(config.resolution, config.discriminator_width)
        self.layers = nn.Sequential(
            nn.Sequential(_downsample(3, widths[0]), nn.LeakyReLU(LEAK, inplace=True)),
            *(
                nn.Sequential(
                    _downsample(maps, wider), _norm(nn.BatchNorm2d, wider, config), nn.LeakyReLU(LEAK, inplace=True)
                )
                for maps, wider in pairwise(widths)
            ),
        )
        self.classify = nn.Linear(widths[-1] * SEED_SIDE**2, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Judge each image. In training, batch norm ties a minibatch together: pass real and fake ones apart."""
        logits: Tensor = self.classify(self.layers(images).flatten(1))
        return logits.squeeze(1)


def layer_widths(resolution: int, width: int) -> list[int]:
    """Feature maps per layer from the image inwards, doubling up to `MAX_WIDENING` times ``width``."""
    layers = int(math.log2(resolution // SEED_SIDE))
    return [width * min(2**layer, MAX_WIDENING) for layer in range(layers)]


def initialise(network: nn.Module, config: ModelConfig, generator: torch.Generator) -> None:
    """Draw weights from N(0, 0.02), batch norm's gains from N(1, ``norm_gain_std``); zero its biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, INIT_STD, generator=generator)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, config.norm_gain_std, generator=generator)
            nn.init.zeros_(module.bias)


def draw_z(count: int, config: ModelConfig, generator: torch.Generator) -> Tensor:
    """Draw ``count`` rows of z: float32 of shape (count, z_size), on the generator's device."""
    z = torch.empty(count, config.z_size, device=generator.device)
    if config.z_prior is Prior.NORMAL:
        return z.normal_(generator=generator)
    return z.uniform_(-1, 1, generator=generator)


def from_pixels(pixels: Tensor) -> Tensor:
    """Images as stored to images as trained on: uint8 (B, R, R, 3) → float32 (B, 3, R, R) in [-1, 1], channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Tensor:
    """The nearest stored image: float (B, 3, R, R) in [-1, 1] → uint8 (B, 3, R, R)."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _norm(kind: type[nn.BatchNorm1d | nn.BatchNorm2d], features: int, config: ModelConfig) -> nn.Module:
    keeps_running = config.norm_statistics is NormStatistics.RUNNING
    return kind(features, eps=config.norm_eps, track_running_stats=keeps_running)


def _upsample(maps: int, wider: int) -> nn.ConvTranspose2d:
    """Twice the side: the paper's fractionally-strided convolution."""
    return nn.ConvTranspose2d(maps, wider, 5, stride=2, padding=2, output_padding=1, bias=False)


def _downsample(maps: int, wider: int) -> nn.Conv2d:
    """Half the side."""
    return nn.Conv2d(maps, wider, 5, stride=2, padding=2, bias=False)
