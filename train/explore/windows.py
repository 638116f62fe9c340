"""Windows: rooms whose windows are known in; a finder of windows in pictures of rooms, and its file, out.

Stands beside the last word of "clean shards → DCGAN". A small network with a way down and a way up (Ronneberger et al.
2015, "U-Net") is fitted to rendered rooms, which are blurred, relit and laid under noise, as G's pictures are. It
stands in for the person who drew 52 boxes for section 6.3.1 of Radford et al. 2016, and says which windows are gone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, pad

from pipelines.errors import ConfigError
from train.data import Pixels
from train.dcgan import from_pixels
from train.explore.boxes import Box, Mask, box_spots
from train.explore.rooms import Rooms, Shares
from train.weights import digest_weights, load_network, save_network

KIND = "finder of windows"
MAPS = (16, 32, 64)  # of the whole, the half and the quarter side
STEPS = 600
MINIBATCH = 64
LEARNING_RATE = 4e-3
HELD_OUT = 10  # one in so many rooms judges the finder
LARGEST_BLUR = 1.2  # pixels; the standard deviation
LARGEST_NOISE = 0.1  # of a range of 2; the standard deviation
LIGHT = 0.3  # brightness, contrast and each colour change by up to so much
SURE = 0.5  # the probability from which a pixel is of a window
BLOCK = 256  # pictures that go through the network at a time
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Note:
    """What a finder was fitted to, and how well it finds the windows of rooms that it was not.

    Attributes:
        data: name of the rooms' source.
        data_digest: of its content.
        resolution: of the pictures, in pixels.
        rooms: how many it was fitted to.
        steps: minibatches.
        seed: decides weights, order, changes of the pictures, and which rooms are held out.
        held_out: rooms that it is judged by, as they are.
        overlap: pixels of both the windows found and the true ones over those of either (IoU).
        precision: the share of what was found that is true.
        recall: the share of what is true that was found.
    """

    data: str
    data_digest: str
    resolution: int
    rooms: int
    steps: int
    seed: int
    held_out: int
    overlap: float
    precision: float
    recall: float


class WindowNetwork(nn.Module):
    """Pictures (B, 3, R, R) in [-1, 1] → logits (B, R, R) that a pixel is of a window; 4 divides R."""

    def __init__(self) -> None:
        super().__init__()
        whole, half, quarter = MAPS
        self.first = _convolve(3, whole)
        self.down = nn.Sequential(_convolve(whole, half, stride=2), _convolve(half, half))
        self.bottom = nn.Sequential(_convolve(half, quarter, stride=2), _convolve(quarter, quarter, dilation=2))
        self.up = nn.Conv2d(quarter, half, 1)
        self.middle = _convolve(half, half)
        self.out = nn.Conv2d(half, whole, 1)
        self.last = nn.Sequential(_convolve(whole, whole), nn.Conv2d(whole, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        whole = self.first(images)
        half = self.down(whole)
        quarter = self.up(self.bottom(half))
        half = self.out(self.middle(half + interpolate(quarter, scale_factor=2)))
        logits: Tensor = self.last(whole + interpolate(half, scale_factor=2))
        return logits.squeeze(1)


class WindowFinder:
    """A `WindowNetwork` that was fitted to rooms; see `fit` and `open`."""

    def __init__(self, network: WindowNetwork, note: Note, device: torch.device = CPU) -> None:
        self.note = note
        self.sha256 = digest_weights(network)
        self._network = network.requires_grad_(False).eval().to(device)
        self._network.to(memory_format=torch.channels_last)
        self._device = device

    @classmethod
    def fit(cls, rooms: Rooms, *, seed: int = 0, steps: int = STEPS, device: torch.device = CPU) -> Self:
        """Train on minibatches of nine tenths of the rooms, each changed by chance; judge by the last tenth.

        Args:
            rooms: see `read_rooms`.
            seed: see `Note`; on one kind of machine the weights are the same each time.
            steps: minibatches of up to 64 pictures.
            device: where to train.

        Raises:
            ConfigError: there are fewer than 20 rooms, or none of them has a window.
        """
        if len(rooms) < 2 * HELD_OUT or not rooms.windows.any():
            raise ConfigError(
                f"{len(rooms)} rooms of {rooms.name} are too few to fit a finder of windows to, or show none",
                hint=f"give {2 * HELD_OUT} or more rooms with windows",
            )
        rng = np.random.default_rng(seed)
        held_out, training = np.split(rng.permutation(len(rooms)), [len(rooms) // HELD_OUT])
        chance = torch.Generator().manual_seed(seed)
        network = WindowNetwork()
        _initialise(network, chance)
        network.to(device).to(memory_format=torch.channels_last)
        optimiser = torch.optim.Adam(network.parameters())
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            chosen = rng.choice(training, min(MINIBATCH, len(training)), replace=False)
            images, windows = (
                from_pixels(torch.from_numpy(rooms.pixels[chosen])),
                torch.from_numpy(rooms.windows[chosen]),
            )
            images, windows = change(images, windows, chance)
            loss = binary_cross_entropy_with_logits(network(images.to(device)), windows.to(device))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            pace.step()
        origin = (rooms.name, rooms.digest, rooms.pixels.shape[1], len(training), steps, seed)
        fitted = cls(network, Note(*origin, len(held_out), 0, 0, 0), device)
        found = fitted.find(rooms.pixels[held_out]) >= SURE
        fitted.note = Note(*origin, len(held_out), *compare(found, rooms.windows[held_out] >= SURE))
        return fitted

    @classmethod
    def open(cls, path: Path, device: torch.device = CPU) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: there is no such file.
            IntegrityError: it is damaged, or no such file.
        """
        network = WindowNetwork()
        hint = "python -m train.explore windows makes one"
        return cls(network, Note(**load_network(path, network, KIND, hint=hint)), device)

    def save(self, path: Path) -> None:
        """Write weights, note and digest, as a safetensors file."""
        save_network(path, self._network, KIND, asdict(self.note))

    def describe(self) -> dict[str, Any]:
        """What tells it from others, and how good it is."""
        return {"sha256": self.sha256, **asdict(self.note)}

    def find(self, pixels: Pixels) -> Shares:
        """The probability that a pixel is of a window: uint8 RGB (N, R, R, 3) → float32 (N, R, R).

        Raises:
            ConfigError: the pictures are not of the resolution that it was fitted to.
        """
        resolution = self.note.resolution
        if pixels.shape[1] != resolution:
            raise ConfigError(
                f"the finder of windows is for pictures of {resolution} px, and these have {pixels.shape[1]}",
                hint=f"fit one with --resolution {pixels.shape[1]}",
            )
        found = np.empty(pixels.shape[:3], np.float32)
        with torch.inference_mode():
            for start in range(0, len(pixels), BLOCK):
                images = from_pixels(torch.from_numpy(pixels[start : start + BLOCK]).to(self._device))
                found[start : start + BLOCK] = self._network(images).sigmoid().cpu().numpy()
        return found

    def boxes(self, pixels: Pixels) -> list[Box]:
        """Boxes around the windows of each picture: uint8 RGB (N, R, R, 3); raises as `find`."""
        return [box for image, found in enumerate(self.find(pixels)) for box in box_spots(image, found >= SURE)]


def compare(found: Mask, true: Mask) -> tuple[float, float, float]:
    """Overlap (IoU), precision and recall of a mask by pixels; 0 where there is nothing to divide by."""
    both, either, all_found, all_true = (int(mask.sum()) for mask in (found & true, found | true, found, true))
    return both / max(either, 1), both / max(all_found, 1), both / max(all_true, 1)


def change(images: Tensor, windows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, blur and relight each picture by chance, and lay noise over it, as G's pictures are blurred and noisy.

    Args:
        images: float32 (B, 3, R, R) in [-1, 1].
        windows: float32 (B, R, R), which are mirrored alike.
        generator: on the CPU, where the pictures are too.
    """
    count = len(images)

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    mirrored = draw(1, 1) < 0.5
    windows = torch.where(mirrored, windows.flip(2), windows)
    images = torch.where(mirrored[:, None], images.flip(3), images)
    images = _blur(images, LARGEST_BLUR * draw())
    contrast, brightness = LIGHT * (2 * draw(3, 1, 1) - 1), LIGHT * (2 * draw(1, 1, 1) - 1)
    noise = torch.randn(images.shape, generator=generator) * (LARGEST_NOISE * draw(1, 1, 1))
    return (images * (1 + contrast) + brightness + noise).clamp(-1, 1), windows


def _blur(images: Tensor, widths: Tensor) -> Tensor:
    """Convolve each picture with a normal distribution of its own width, in pixels, cut at three."""
    offsets = torch.arange(-3, 4).float()
    kernels = torch.exp(-0.5 * (offsets / widths.clamp(min=0.05)[:, None]) ** 2)
    kernels = kernels / kernels.sum(1, keepdim=True)
    for dimension, border in ((2, (0, 0, 3, 3)), (3, (3, 3, 0, 0))):
        windows = pad(images, border, mode="replicate").unfold(dimension, 7, 1)
        images = torch.einsum("bchwk,bk->bchw", windows, kernels)
    return images


def _convolve(maps: int, wider: int, **options: Any) -> nn.Sequential:
    padding = options.get("dilation", 1)
    convolution = nn.Conv2d(maps, wider, 3, padding=padding, bias=False, **options)
    return nn.Sequential(convolution, nn.BatchNorm2d(wider), nn.ReLU(inplace=True))


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw weights as He et al. 2015, "Delving Deep into Rectifiers", do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
