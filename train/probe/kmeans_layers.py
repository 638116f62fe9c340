"""Three layers of K-means: unlabelled images in, features of Coates & Ng out.

Stands beside the last word of "clean shards → DCGAN": the baseline of the paper's table 1 with 82.0% on CIFAR-10. The
method is of Coates & Ng 2011, "Selecting Receptive Fields in Deep Networks" (NIPS): upon the layer of
`train.probe.kmeans` come two more, which see small windows of the layer below, pooled. A map of theirs does not see all
maps below but a receptive field: one map drawn at random and those most similar to it, where similar means that their
*squares* are correlated once the two were whitened as a pair, as of two edges that come together with either sign. Each
field has its own whitening and centroids. The classifier is given the features of all layers.

What is not as in that paper: its sizes (`FieldSizes` are ours, far fewer); how maps are pooled between layers (means of
9×9 and 5×5 cells, of images of any size); and the triangle activation is kept in all layers.

Upon 400 maps, two layers of 16 fields with 50 maps each tell 68.0% of CIFAR-10 as JPEG after 10,000 training images,
where those 400 maps alone tell 64.1% (of 5,000 test images, the best of three C for each).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from pipelines.errors import ConfigError
from train.probe.data import Features, Pixels
from train.probe.kmeans import (
    ITERATIONS,
    PATCHES,
    STANDARD_IMAGES,
    WHITENING,
    Codebook,
    answer_patches,
    check_size,
    choose_block,
    digest_tensors,
    fit_codebook,
    fit_patches,
    gather_features,
    measure_scale,
    pool_quadrants,
)
from train.randomness import Stream

SMALLEST_SIDE = 16
WINDOW_SIDE = 2
WINDOWS = 20_000
WINDOWS_PER_IMAGE = 4
GRIDS = (9, 5)  # cells across, that the maps below the second and third layer are pooled to
BLOCK = 8  # images at once, at least: the upper layers' products are small


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSizes:
    """How large a layer above the first is.

    Attributes:
        fields: how many receptive fields.
        inputs: maps below that each of them sees.
        maps: centroids of each.
    """

    fields: int = 32
    inputs: int = 64
    maps: int = 50


@dataclass(frozen=True, slots=True, eq=False)
class FieldLayer:
    """A layer above the first.

    Attributes:
        grid: cells across and down that the maps below are pooled to.
        inputs: int64 (fields, inputs): maps below that each field sees.
        codebooks: of each field's windows.
    """

    grid: int
    inputs: Tensor
    codebooks: tuple[Codebook, ...]

    def answer(self, below: Tensor) -> Tensor:
        """Of the answers below, float32 (N, P, P, K): (N, grid - 1, grid - 1, fields x maps)."""
        windows = cut_windows(below, self.grid)
        answers = [
            codebook.answer(windows[..., inputs, :, :].flatten(3).flatten(0, 2))
            for inputs, codebook in zip(self.inputs, self.codebooks, strict=True)
        ]
        return torch.cat(answers, 1).view(*windows.shape[:3], -1)


@dataclass(frozen=True, slots=True, eq=False)
class LayeredFeatures:
    """Some layers of K-means, fitted: a `train.probe.data.FeatureMap`.

    Attributes:
        name: as a table says it, with the sizes.
        digest: SHA-256 (hex) of the numbers below.
        resolution: the side of its images, in pixels.
        first: the layer that sees patches.
        upper: the layers that see windows.
        mean: float32 (dimensions,): of each feature.
        scale: float32 (dimensions,): one by its standard deviation.
    """

    name: str
    digest: str
    resolution: int
    first: Codebook
    upper: tuple[FieldLayer, ...]
    mean: Tensor
    scale: Tensor

    @property
    def dimensions(self) -> int:
        """Four quadrants of each map of each layer."""
        return len(self.mean)

    def features(self, pixels: Pixels) -> Features:
        """Features of each image, whatever the others are.

        Args:
            pixels: uint8 RGB (N, R, R, 3).

        Returns:
            float32 (N, dimensions): quadrants as of one layer, the first layer's before the second's, standardised.

        Raises:
            ConfigError: the images are not of the size that it was fitted to.
        """
        check_size(self.name, self.resolution, pixels)
        return gather_features(pool_layers(self.first, self.upper, pixels), len(pixels), self.mean, self.scale)


def fit_kmeans_layers(
    pixels: Pixels,
    *,
    maps: int = 1600,
    upper: tuple[FieldSizes, ...] = (FieldSizes(), FieldSizes()),
    seed: int = 0,
    device: torch.device | None = None,
    patches: int = PATCHES,
    iterations: int = ITERATIONS,
    windows: int = WINDOWS,
    standard_images: int = STANDARD_IMAGES,
) -> LayeredFeatures:
    """Fit layer upon layer to images.

    Args:
        pixels: uint8 RGB (N, R, R, 3), of 16 px at least.
        maps: centroids of the first layer.
        upper: sizes of the layers above it, two at most.
        seed: decides patches, fields, windows, K-means and the images that features are standardised by.
        device: where features are computed; the CPU if None. K-means itself always runs on the CPU.
        patches: that the first layer's centroids are fitted to.
        iterations: of K-means.
        windows: that the other layers' are fitted to.
        standard_images: how many of the images features are standardised by.

    Returns:
        A feature map of 4 x (maps + fields x maps of each layer above) dimensions for images of this size.

    Raises:
        ConfigError: the images are too small, a field is to see more maps than there are below, or there are more maps
            than patches or windows.
    """
    resolution = pixels.shape[1]
    if resolution < SMALLEST_SIDE:
        raise ConfigError(
            f"images of {resolution} px are too small for layers of K-means", hint=f"give {SMALLEST_SIDE} px or more"
        )
    device = torch.device("cpu") if device is None else device
    rng = np.random.default_rng([seed, Stream.K_MEANS])
    first = fit_patches(pixels, maps, rng, patches=patches, iterations=iterations, device=device)
    layers: tuple[FieldLayer, ...] = ()
    for grid, sizes in zip(GRIDS[: len(upper)], upper, strict=True):
        drawn = draw_windows(first, layers, pixels, grid, windows, rng)
        layers = (*layers, fit_fields(drawn, grid, sizes, rng, iterations=iterations, device=device))
    chosen = np.sort(rng.permutation(len(pixels))[:standard_images])
    mean, scale = measure_scale(pool_layers(first, layers, pixels[chosen]))
    sizes_named = "".join(f" + {sizes.fields}×{sizes.maps}" for sizes in upper)
    numbers = chain.from_iterable((layer.inputs, *chain(*(c.tensors for c in layer.codebooks))) for layer in layers)
    return LayeredFeatures(
        name=f"K-means, {1 + len(upper)} layers, {maps:,}{sizes_named} maps",
        digest=digest_tensors("layers", (*first.tensors, *numbers, mean, scale)),
        resolution=resolution,
        first=first,
        upper=layers,
        mean=mean,
        scale=scale,
    )


def run_layers(first: Codebook, upper: tuple[FieldLayer, ...], pixels: Pixels) -> Iterator[list[Tensor]]:
    """Answers of each layer, block by block of images: float32 (images of the block, P, P, maps), P of the layer."""
    block = max(BLOCK, choose_block(first, pixels.shape[1]))
    for answers in answer_patches(first, pixels, block):
        of_layers = [answers]
        for layer in upper:
            of_layers.append(layer.answer(of_layers[-1]))
        yield of_layers


def pool_layers(first: Codebook, upper: tuple[FieldLayer, ...], pixels: Pixels) -> Iterator[Tensor]:
    """Sums over quadrants of all layers' answers, block by block: float32 (images of the block, 4 x all maps)."""
    for of_layers in run_layers(first, upper, pixels):
        yield torch.cat([pool_quadrants(answers) for answers in of_layers], 1)


def cut_windows(answers: Tensor, grid: int) -> Tensor:
    """Means over the cells of a grid, then its windows: (N, P, P, K) in, (N, grid - 1, grid - 1, K, 2, 2) out."""
    cells = adaptive_avg_pool2d(answers.permute(0, 3, 1, 2), grid).permute(0, 2, 3, 1)
    return cells.unfold(1, WINDOW_SIDE, 1).unfold(2, WINDOW_SIDE, 1)


def draw_windows(
    first: Codebook,
    upper: tuple[FieldLayer, ...],
    pixels: Pixels,
    grid: int,
    count: int,
    rng: np.random.Generator,
) -> Tensor:
    """Windows of the last layer's answers at random places of random images, some of each: (about count, K, 2, 2)."""
    images = np.sort(rng.integers(len(pixels), size=max(1, count // WINDOWS_PER_IMAGE)))
    drawn = []
    for of_layers in run_layers(first, upper, pixels[images]):
        windows = cut_windows(of_layers[-1], grid)
        which = np.arange(len(windows))[:, None]
        tops, lefts = rng.integers(grid - WINDOW_SIDE + 1, size=(2, len(windows), WINDOWS_PER_IMAGE))
        drawn.append(windows[which, tops, lefts].flatten(0, 1).cpu())
    return torch.cat(drawn)


def fit_fields(
    windows: Tensor,
    grid: int,
    sizes: FieldSizes,
    rng: np.random.Generator,
    *,
    iterations: int = ITERATIONS,
    device: torch.device,
) -> FieldLayer:
    """Choose receptive fields, and a codebook for each.

    Args:
        windows: float32 (N, K, 2, 2) of the maps below, on the CPU.
        grid: that they are of.
        sizes: of the layer.
        rng: decides the first map of each field, and where K-means begins.
        iterations: of K-means.
        device: of the layer.

    Raises:
        ConfigError: see `choose_fields` and `fit_codebook`.
    """
    inputs = choose_fields(windows[..., 0, 0], sizes.fields, sizes.inputs, rng)
    codebooks = []
    for field in inputs:
        vectors = windows[:, field].flatten(1)
        # The paper's 0.1 is of patches whose variance is 1; answers are smaller, and their scale has no meaning.
        added = max(WHITENING * float(vectors.var(0).mean()), torch.finfo(torch.float32).tiny)
        codebooks.append(fit_codebook(vectors, sizes.maps, rng, iterations=iterations, added=added, device=device))
    return FieldLayer(grid, inputs.to(device), tuple(codebooks))


def choose_fields(values: Tensor, fields: int, inputs: int, rng: np.random.Generator) -> Tensor:
    """Group maps that are alike around maps drawn at random.

    Args:
        values: float32 (N, K): answers of K maps, of places that tell nothing of each other.
        fields: how many groups; no two around the same map.
        inputs: maps in each, which may be in others too.

    Returns:
        int64 (fields, inputs): places of maps, the drawn one first, then by falling similarity.

    Raises:
        ConfigError: there are fewer maps than ``fields`` or ``inputs``.
    """
    count = values.shape[1]
    if max(fields, inputs) > count:
        raise ConfigError(
            f"there cannot be {fields} receptive fields of {inputs} out of {count} maps",
            hint="ask for more maps in the layer below",
        )
    drawn = rng.permutation(count)[:fields]
    deviation, mean = torch.std_mean(values, 0)
    standard = (values - mean) / deviation.clamp(min=torch.finfo(torch.float32).tiny)
    rows = [
        rate_similarity(standard, int(centre)).sort(descending=True, stable=True).indices[:inputs] for centre in drawn
    ]
    return torch.stack(rows)


def rate_similarity(values: Tensor, centre: int) -> Tensor:
    """How similar each map is to one of them: the correlation of squares after whitening the two as a pair.

    Args:
        values: float32 (N, K), of mean 0 and variance 1.
        centre: the map that others are compared with.

    Returns:
        float32 (K,), at most 1; infinity of the map itself.
    """
    one = values[:, centre : centre + 1]
    correlation = (one * values).mean(0).clamp(-0.9999, 0.9999)
    # The inverse root of [[1, r], [r, 1]] is [[a, b], [b, a]].
    of_sum, of_difference = (1 + correlation).rsqrt(), (1 - correlation).rsqrt()
    a, b = (of_sum + of_difference) / 2, (of_sum - of_difference) / 2
    left, right = (a * one + b * values).square(), (b * one + a * values).square()
    left, right = left - left.mean(0), right - right.mean(0)
    powers = (left.square().mean(0) * right.square().mean(0)).sqrt()
    similarity = (left * right).mean(0) / powers.clamp(min=torch.finfo(torch.float32).tiny)
    similarity[centre] = torch.inf
    return similarity
