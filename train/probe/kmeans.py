"""One layer of K-means: unlabelled images in, features of Coates, Lee & Ng out.

Stands beside the last word of "clean shards → DCGAN": the baseline that the paper's table 1 compares D's features with
(80.6% on CIFAR-10 with 4,800 maps). The method is of Coates, Lee & Ng 2011, "An Analysis of Single-Layer Networks in
Unsupervised Feature Learning", section 3:

1. patches of 6×6 pixels at random places, each less its mean and divided by sqrt(variance + 10);
2. ZCA whitening of the patches, with 0.1 added to the variances;
3. K-means: a centroid is a map;
4. of an image, each patch (stride 1) answers to a map by max(0, mean of its distances to all maps − its distance to
   this one), the "triangle" activation;
5. sums of the answers over the four quadrants of the image: 4 × maps numbers, standardised for the classifier.

Constants and the number of patches are of the code that the authors published with the paper. K-means begins with
patches, where theirs begins with noise, and a centroid that lost all its patches is moved beside a large one.

All is float32. The large product in bfloat16 makes features 1.3 times as fast on a CPU that has it, moves them by 0.013
of their standard deviation, and the accuracy of 400 maps by 0.1 points, up or down; but then nothing agrees to 1e-4.

On CIFAR-10 as JPEG of quality 75, with halved colour, 1,600 maps give 73.6% and 4,800 maps 73.1%; the published
figures, of exact pixels, are about 78% and 80%. What JPEG costs can be told where its artefacts are averaged away: of
CIFAR-10 halved to 16 px, 400 maps tell 64.8%, and 61.0% once that is JPEG again (20,000 training images, 10,000 others,
the best of three C for each).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from train.probe.data import Features, Pixels
from train.randomness import Stream

PATCH_SIDE = 6
PATCHES = 400_000
ITERATIONS = 50
CONTRAST = 10.0  # added to the variance of a patch's 108 values of 0–255
WHITENING = 0.1  # added to the variances along the patches' principal axes
SPREAD = 0.01  # added to the variance of a feature
STANDARD_IMAGES = 10_000  # that a feature's mean and variance are taken over
# How many answers, of patches to maps, are held at once: on a CPU so many as a cache holds, one image's at least.
HELD_ANSWERS = {"cpu": 2**20, "cuda": 2**28}


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """What takes correlations out of vectors x: ``(x - mean) @ matrix``.

    Attributes:
        mean: float32 (D,).
        matrix: float32 (D, D).
    """

    mean: Tensor
    matrix: Tensor

    def apply(self, vectors: Tensor) -> Tensor:
        """Of (N, D): the whitened ones, (N, D)."""
        return torch.addmm(-self.mean @ self.matrix, vectors, self.matrix)


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """Centroids of whitened vectors, and what whitens them.

    Attributes:
        whitening: of vectors of D values.
        centroids: float32 (K, D).
        product: float32 (D + 2, K): see `answer`.
    """

    whitening: Whitening
    centroids: Tensor
    product: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The numbers that it consists of."""
        return self.whitening.mean, self.whitening.matrix, self.centroids

    def answer(self, vectors: Tensor) -> Tensor:
        """Triangle activations of vectors.

        Whitened vectors w, each followed by |w|² and 1, times columns of -2c, 1 and |c|² are the squared distances
        |w - c|²: one matrix product. (With the whitening's matrix multiplied into it too, |w|² would still need w.)
        Distances are good to 1e-5, but for a vector that is a centroid itself: its own may come out as 0.005.

        Args:
            vectors: float32 (N, D).

        Returns:
            float32 (N, K), zero or more.
        """
        white = self.whitening.apply(vectors)
        squares = white.square().sum(1, keepdim=True)
        distances = torch.cat((white, squares, torch.ones_like(squares)), 1) @ self.product
        distances.clamp_(min=0).sqrt_()
        return torch.sub(distances.mean(1, keepdim=True), distances, out=distances).clamp_(min=0)


@dataclass(frozen=True, slots=True, eq=False)
class KMeansFeatures:
    """One layer of K-means, fitted: a `train.probe.data.FeatureMap`.

    Attributes:
        name: as a table says it.
        digest: SHA-256 (hex) of the numbers below.
        resolution: the side of its images, in pixels.
        codebook: of normalised patches, on the device that computes.
        mean: float32 (4 K,): of each feature, on that device.
        scale: float32 (4 K,): one by its standard deviation.
        block: images at once; None for as many as suit the device.
    """

    name: str
    digest: str
    resolution: int
    codebook: Codebook
    mean: Tensor
    scale: Tensor
    block: int | None = None

    @property
    def dimensions(self) -> int:
        """Four quadrants of each map."""
        return len(self.mean)

    def features(self, pixels: Pixels) -> Features:
        """Features of each image, whatever the others are.

        Args:
            pixels: uint8 RGB (N, R, R, 3).

        Returns:
            float32 (N, 4 K): of the quadrants top left, top right, bottom left, bottom right, each map's sum,
            standardised.

        Raises:
            ConfigError: the images are not of the size that it was fitted to.
        """
        check_size(self.name, self.resolution, pixels)
        return gather_features(pool_answers(self.codebook, pixels, self.block), len(pixels), self.mean, self.scale)


def fit_kmeans(
    pixels: Pixels,
    *,
    maps: int = 1600,
    seed: int = 0,
    device: torch.device | None = None,
    patches: int = PATCHES,
    iterations: int = ITERATIONS,
    standard_images: int = STANDARD_IMAGES,
) -> KMeansFeatures:
    """Fit one layer to images.

    Args:
        pixels: uint8 RGB (N, R, R, 3), of 12 px at least.
        maps: K, how many centroids.
        seed: decides patches, K-means and the images that features are standardised by.
        device: where features will be computed; the CPU if None. K-means itself always runs on the CPU.
        patches: that centroids are fitted to, drawn with replacement.
        iterations: of K-means.
        standard_images: how many of the images features are standardised by (the authors took all).

    Returns:
        A feature map of 4 x maps dimensions for images of this size.

    Raises:
        ConfigError: the images are too small, or there are more maps than patches.
    """
    resolution = pixels.shape[1]
    if resolution < 2 * PATCH_SIDE:
        raise ConfigError(f"images of {resolution} px are too small for K-means", hint="give images of 12 px or more")
    device = torch.device("cpu") if device is None else device
    rng = np.random.default_rng([seed, Stream.K_MEANS])
    codebook = fit_patches(pixels, maps, rng, patches=patches, iterations=iterations, device=device)
    chosen = np.sort(rng.permutation(len(pixels))[:standard_images])
    mean, scale = measure_scale(pool_answers(codebook, pixels[chosen]))
    return KMeansFeatures(
        name=f"K-means, 1 layer, {maps:,} maps",
        digest=digest_tensors("one layer", (*codebook.tensors, mean, scale)),
        resolution=resolution,
        codebook=codebook,
        mean=mean,
        scale=scale,
    )


def fit_patches(
    pixels: Pixels,
    maps: int,
    rng: np.random.Generator,
    *,
    patches: int = PATCHES,
    iterations: int = ITERATIONS,
    device: torch.device,
) -> Codebook:
    """Fit the codebook of one layer; arguments as of `fit_kmeans`."""
    drawn = torch.from_numpy(draw_patches(pixels, patches, rng)).float()
    return fit_codebook(normalise(drawn), maps, rng, iterations=iterations, device=device)


def draw_patches(pixels: Pixels, count: int, rng: np.random.Generator) -> Pixels:
    """Cut squares at random places of random images.

    Args:
        pixels: uint8 RGB (N, R, R, 3).
        count: of patches.
        rng: decides which.

    Returns:
        uint8 (count, 108): a patch's red values row by row, then green, then blue.
    """
    images = rng.integers(len(pixels), size=count)
    tops, lefts = rng.integers(pixels.shape[1] - PATCH_SIDE + 1, size=(2, count))
    steps = np.arange(PATCH_SIDE)
    rows, columns = tops[:, None, None] + steps[:, None], lefts[:, None, None] + steps
    return np.ascontiguousarray(pixels[images[:, None, None], rows, columns].transpose(0, 3, 1, 2)).reshape(count, -1)


def normalise(patches: Tensor) -> Tensor:
    """Take brightness and contrast out of patches: float32 (N, D) of 0–255 in, (N, D) out."""
    variance, mean = torch.var_mean(patches, dim=1, keepdim=True)
    return (patches - mean) * (variance + CONTRAST).rsqrt()


def fit_whitening(vectors: Tensor, added: float) -> Whitening:
    """ZCA whitening of float32 (N, D), where ``added`` is added to the variance along each principal axis."""
    exact = vectors.double()
    mean = exact.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov(exact.T))
    matrix = axes * (variances.clamp(min=0) + added).rsqrt() @ axes.T
    return Whitening(mean.float(), matrix.float())


def fit_codebook(
    vectors: Tensor,
    maps: int,
    rng: np.random.Generator,
    *,
    iterations: int = ITERATIONS,
    added: float = WHITENING,
    device: torch.device,
) -> Codebook:
    """Whiten vectors and find their centroids by K-means.

    Args:
        vectors: float32 (N, D), on the CPU.
        maps: how many centroids.
        rng: decides where K-means begins.
        iterations: of K-means.
        added: see `fit_whitening`.
        device: of the codebook.

    Raises:
        ConfigError: there are fewer vectors than maps.
    """
    if len(vectors) < maps:
        raise ConfigError(f"{len(vectors)} patches are too few for {maps} maps", hint="ask for fewer maps")
    whitening = fit_whitening(vectors, added)
    clustering = faiss.Kmeans(
        vectors.shape[1],
        maps,
        niter=iterations,
        seed=int(rng.integers(2**31)),
        min_points_per_centroid=1,  # below which faiss prints a warning,
        max_points_per_centroid=len(vectors),  # and above which it leaves points out
    )
    clustering.train(whitening.apply(vectors).numpy())
    centroids = torch.from_numpy(clustering.centroids)
    product = torch.cat((-2 * centroids.T, torch.ones(1, maps), centroids.square().sum(1)[None]))
    return Codebook(
        Whitening(whitening.mean.to(device), whitening.matrix.to(device)), centroids.to(device), product.to(device)
    )


def pool_answers(codebook: Codebook, pixels: Pixels, block: int | None = None) -> Iterator[Tensor]:
    """Sums of a codebook's answers to the patches of each quadrant, block by block of images.

    Args:
        codebook: of normalised patches.
        pixels: uint8 RGB (N, R, R, 3).
        block: images at once; None for as many as suit the device.

    Yields:
        float32 (images of the block, 4 K), on the codebook's device.
    """
    return map(pool_quadrants, answer_patches(codebook, pixels, block))


def answer_patches(codebook: Codebook, pixels: Pixels, block: int | None = None) -> Iterator[Tensor]:
    """Answers to every patch, block by block of images; arguments as of `pool_answers`.

    Yields:
        float32 (images of the block, R - 5, R - 5, K), on the codebook's device.
    """
    places = pixels.shape[1] - PATCH_SIDE + 1
    block = block or choose_block(codebook, places)
    for start in range(0, len(pixels), block):
        images = torch.from_numpy(pixels[start : start + block]).to(codebook.product.device)
        patches = images.permute(0, 3, 1, 2).unfold(2, PATCH_SIDE, 1).unfold(3, PATCH_SIDE, 1).permute(0, 2, 3, 1, 4, 5)
        vectors = patches.reshape(-1, 3 * PATCH_SIDE**2).float()
        yield codebook.answer(normalise(vectors)).view(len(images), places, places, -1)


def choose_block(codebook: Codebook, places: int) -> int:
    """How many images, of so many places across and down, suit the codebook's device."""
    device, maps = codebook.product.device, codebook.product.shape[1]
    return max(1, HELD_ANSWERS[device.type] // (places**2 * maps))


def pool_quadrants(answers: Tensor) -> Tensor:
    """Sums over quadrants: float32 (N, P, P, K) in, (N, 4 K) out: top left, top right, bottom left, bottom right.

    An odd P is split with the larger part above and left, as the authors' code does.
    """
    places = answers.shape[1]
    is_first = torch.arange(places, device=answers.device) < (places + 1) // 2
    halves = torch.stack((is_first, ~is_first)).float()
    # On a CPU a product with ones is four times as fast as sums of slices.
    return (torch.kron(halves, halves) @ answers.flatten(1, 2)).flatten(1)


def check_size(name: str, resolution: int, pixels: Pixels) -> None:
    """Raise ConfigError where images, uint8 RGB (N, R, R, 3), are not of the size that a map was fitted to."""
    if pixels.shape[1:] != (resolution, resolution, 3):
        raise ConfigError(
            f"{name} was fitted to images of {resolution} px, and these are of {pixels.shape[1]}",
            hint="fit it to images of this size",
        )


def gather_features(blocks: Iterable[Tensor], count: int, mean: Tensor, scale: Tensor) -> Features:
    """Standardise blocks of sums, which are overwritten: float32 (count, D), on the host."""
    found = np.empty((count, len(mean)), np.float32)
    done = 0
    for sums in blocks:
        found[done : done + len(sums)] = sums.sub_(mean).mul_(scale).numpy(force=True)
        done += len(sums)
    return found


def measure_scale(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean, and one by sqrt(variance + 0.01), of each feature of blocks of images: float32 (D,), both."""
    count, sums, squares = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        exact = block.double()
        count, sums, squares = count + len(block), sums + exact.sum(0), squares + exact.square().sum(0)
    mean = sums / count
    variance = (squares / count - mean.square()).clamp(min=0) * (count / max(1, count - 1))
    return mean.float(), (variance + SPREAD).rsqrt().float()


def digest_tensors(kind: str, tensors: Iterable[Tensor]) -> str:
    """SHA-256 (hex) of a method's name and its numbers."""
    digest = hashlib.sha256(kind.encode())
    for tensor in tensors:
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(np.ascontiguousarray(tensor.numpy(force=True)).data)
    return digest.hexdigest()
