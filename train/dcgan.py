"""DCGAN: z in, images out (G); images in, logits out (D). Radford et al. 2016, sections 3 and 4, figure 1.

At 64 px and width 128 that is G: z → 1024×4×4 → 512 → 256 → 128 → 3 and D: 3 → 128 → 256 → 512 → 1024×4×4 → 1. The
paper gives no other resolution: here 32 px leaves out the layers of 1024 maps, and 128 px has a layer more, of 1024
maps too. Kernels are 5×5 with stride 2, and no layer has a bias but batch norm's, as in the authors' code.

`Critic.SIX_CONV` is the other D, of the paper's experiments on 32×32 pictures: six convolutions, every second of which
halves the side. With ``classes``, both networks are told each image's class: its one-hot code is joined to what every
layer takes in, to z and flat features as numbers and to maps as maps of zeros and ones (Mirza & Osindero 2014,
arXiv 1411.1784; in every layer, as the authors' MNIST model has it).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from train.config import Critic, ModelConfig, NormStatistics, Prior
from train.convolutions import Convolution, Upsampling, choose_layout

SEED_SIDE = 4  # pixels; the side of the maps that z is projected to, and that D ends with
MAX_WIDENING = 8  # the widest layer has this many times the maps of the narrowest
SIX_CONV_LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2))  # (maps as times the width, stride)
INIT_STD = 0.02
LEAK = 0.2


class Generator(nn.Module):
    """G: z of shape (B, z_size) → images of shape (B, 3, R, R) in [-1, 1], RGB."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.classes = config.classes
        widths = layer_widths(config.resolution, config.generator_width)[::-1]
        self.seed_shape = (widths[0], SEED_SIDE, SEED_SIDE)
        # A matrix product: batch norm treats each of its outputs apart, as the authors' code does.
        self.project = nn.Sequential(
            nn.Linear(config.z_size + self.classes, math.prod(self.seed_shape), bias=False),
            _norm(nn.BatchNorm1d, math.prod(self.seed_shape), config),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    _upsample(maps + self.classes, wider), _norm(nn.BatchNorm2d, wider, config), nn.ReLU(inplace=True)
                )
                for maps, wider in pairwise(widths)
            ),
            nn.Sequential(_upsample(widths[-1] + self.classes, 3), nn.Tanh()),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Draw one image for each row of ``z``, of the class in ``labels``: int64 (B,), exactly where there are any."""
        codes = _encode(labels, self.classes)
        maps = self.project(_join(z, codes)).unflatten(1, self.seed_shape)
        for layer in self.layers:
            maps = layer(_join(maps, codes))
        images: Tensor = maps
        return images


class Discriminator(nn.Module):
    """D: images of shape (B, 3, R, R) in [-1, 1] → logits of shape (B,); sigmoid(logit) = P(the image is real)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.classes = config.classes
        plan = critic_layers(config)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    _convolve(maps + self.classes, wider, stride),
                    *([_norm(nn.BatchNorm2d, wider, config)] if index else []),
                    nn.LeakyReLU(LEAK, inplace=True),
                )
                for index, ((maps, _), (wider, stride)) in enumerate(pairwise([(3, 1), *plan]))
            ),
        )
        self.classify = nn.Linear(plan[-1][0] * SEED_SIDE**2 + self.classes, 1, bias=False)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge each image, as one of the class in ``labels``: int64 (B,), exactly where there are any.

        In training, batch norm ties a minibatch together: pass real and fake ones apart. Logits are float32, whatever
        autocast makes of the layers.
        """
        last = self.features(images, labels)[-1].flatten(1)
        with torch.autocast(last.device.type, enabled=False):
            logits: Tensor = self.classify(_join(last.float(), _encode(labels, self.classes)))
        return logits.squeeze(1)

    def features(self, images: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """What each convolution's layer gives out (after batch norm and LeakyReLU): (B, maps, side, side) of each."""
        codes = _encode(labels, self.classes)
        activations: list[Tensor] = []
        for layer in self.layers:
            images = layer(_join(images, codes))
            activations.append(images)
        return activations


def critic_layers(config: ModelConfig) -> list[tuple[int, int]]:
    """Feature maps and stride of each of D's convolutions, from the image inwards."""
    if config.critic is Critic.SIX_CONV:
        return [(config.discriminator_width * times, stride) for times, stride in SIX_CONV_LAYERS]
    return [(maps, 2) for maps in layer_widths(config.resolution, config.discriminator_width)]


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
    """Images as stored to images as trained on: uint8 (B, R, R, 3) → float32 (B, 3, R, R) in [-1, 1]."""
    images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=choose_layout(pixels.device))
    return images.div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Tensor:
    """The nearest stored image: float (B, 3, R, R) in [-1, 1] → uint8 (B, 3, R, R)."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _norm(kind: type[nn.BatchNorm1d | nn.BatchNorm2d], features: int, config: ModelConfig) -> nn.Module:
    keeps_running = config.norm_statistics is NormStatistics.RUNNING
    return kind(features, eps=config.norm_eps, track_running_stats=keeps_running)


def _upsample(maps: int, wider: int) -> Upsampling:
    """Twice the side."""
    return Upsampling(maps, wider, 5, stride=2, padding=2, output_padding=1, bias=False)


def _convolve(maps: int, wider: int, stride: int) -> Convolution:
    """The side divided by ``stride``."""
    return Convolution(maps, wider, 5, stride=stride, padding=2, bias=False)


def _encode(labels: Tensor | None, classes: int) -> Tensor | None:
    """The one-hot codes of labels, float32 (B, classes); None of none. Raises ValueError where they do not belong."""
    if (labels is not None) != (classes > 0):
        raise ValueError(f"a network of {classes} classes was called {'without' if labels is None else 'with'} labels")
    return None if labels is None else one_hot(labels, classes).float()


def _join(features: Tensor, codes: Tensor | None) -> Tensor:
    """Join codes (B, classes) to features (B, n), or as constant maps to maps (B, n, side, side)."""
    if codes is None:
        return features
    codes = codes.to(features.dtype)
    if features.ndim == 4:
        codes = codes[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat((features, codes), dim=1)
