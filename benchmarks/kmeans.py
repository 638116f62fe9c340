"""How fast are the features of K-means?

    python -m benchmarks.kmeans [--maps 400 1600 4800] [--images 64] [--device cuda] [--threads 1]

The first table has images a second of ``KMeansFeatures.features`` beside two ways of the same: a plain numpy program,
image by image, and scikit-learn's ``KMeans.transform`` on the whitened patches. All three see the same images with the
same codebook, in turn; the best round counts. With one thread of a CPU, the seconds are the processor's, so that what
else it does counts for little. "off" is the largest difference between ours and numpy's features, which have a standard
deviation of 1. The images are noise of several scales: their content decides nothing here.

The second table has what bfloat16 would do: how long the one large product of a block of patches takes, and how far off
it leaves an answer, beside the mean answer that is above zero. How well the features classify is a row of
`python -m train.probe --dataset cifar10 --baseline kmeans:1600`.
"""

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
import torch
from sklearn.cluster import KMeans

from benchmarks.tables import console, print_machine, print_table
from train.probe.data import Features, Pixels
from train.probe.kmeans import CONTRAST, PATCH_SIDE, KMeansFeatures, draw_patches, fit_kmeans, normalise

SIDE = 32
Encode = Callable[[Pixels], Features]


def make_images(count: int, seed: int) -> Pixels:
    """Noise of several scales, uint8 RGB (count, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    scales = [2**step for step in range(5)]
    layers = [
        rng.normal(0, 20, (count, SIDE // scale, SIDE // scale, 3)).repeat(scale, 1).repeat(scale, 2)
        for scale in scales
    ]
    pixels: Pixels = np.clip(128 + np.sum(layers, 0), 0, 255).astype(np.uint8)
    return pixels


def whiten_plainly(fitted: KMeansFeatures, image: Pixels) -> Features:
    """All patches of one image, whitened, by numpy: float32 (27², 108)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH_SIDE, PATCH_SIDE), (0, 1))
    patches = windows.reshape(-1, 3 * PATCH_SIDE**2).astype(np.float32)
    deviation = np.sqrt(patches.var(1, ddof=1, keepdims=True) + CONTRAST)
    patches = (patches - patches.mean(1, keepdims=True)) / deviation
    whitening = fitted.codebook.whitening
    return np.asarray((patches - whitening.mean.numpy(force=True)) @ whitening.matrix.numpy(force=True), np.float32)


def pool_plainly(fitted: KMeansFeatures, distances: Features) -> Features:
    """Features of one image of its distances (27², K), by numpy: float32 (4 K,)."""
    answers = np.maximum(0, distances.mean(1, keepdims=True) - distances)
    side = SIDE - PATCH_SIDE + 1
    answers, middle = answers.reshape(side, side, -1), (side + 1) // 2
    halves = (slice(None, middle), slice(middle, None))
    sums = np.concatenate([answers[rows, columns].sum((0, 1)) for rows in halves for columns in halves])
    return np.asarray((sums - fitted.mean.numpy(force=True)) * fitted.scale.numpy(force=True), np.float32)


def encode_with_numpy(fitted: KMeansFeatures) -> Encode:
    """The plain program: what one writes first."""
    centroids = fitted.codebook.centroids.numpy(force=True)

    def encode(pixels: Pixels) -> Features:
        rows = []
        for image in pixels:
            white = whiten_plainly(fitted, image)
            squares = (white**2).sum(1, keepdims=True) + (centroids**2).sum(1) - 2 * white @ centroids.T
            rows.append(pool_plainly(fitted, np.sqrt(np.maximum(0, squares))))
        return np.stack(rows)

    return encode


def encode_with_sklearn(fitted: KMeansFeatures) -> Encode:
    """The same, with the distances by scikit-learn."""
    centroids = fitted.codebook.centroids.numpy(force=True)
    clustering = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1).fit(centroids)

    def encode(pixels: Pixels) -> Features:
        return np.stack([pool_plainly(fitted, clustering.transform(whiten_plainly(fitted, image))) for image in pixels])

    return encode


def compare_speed(fitted: KMeansFeatures, pixels: Pixels, rounds: int, clock: Callable[[], float]) -> tuple[str, ...]:
    """A row of the first table."""
    ways = (fitted.features, encode_with_numpy(fitted), encode_with_sklearn(fitted))
    found = [way(pixels[:8]) for way in ways]
    best_s = [float("inf")] * len(ways)
    for _ in range(rounds):
        for index, way in enumerate(ways):
            started = clock()
            way(pixels)  # ends on the host: a GPU has finished
            best_s[index] = min(best_s[index], clock() - started)
    rates = [len(pixels) / seconds for seconds in best_s]
    off = float(np.abs(found[0] - found[1]).max())
    return (
        f"{fitted.codebook.centroids.shape[0]:,}",
        *(f"{rate:,.0f}" for rate in rates),
        f"{rates[0] / rates[1]:.1f}",
        f"{rates[0] / rates[2]:.1f}",
        f"{off:.1e}",
    )


def compare_precision(
    fitted: KMeansFeatures, pixels: Pixels, rounds: int, clock: Callable[[], float]
) -> tuple[str, ...]:
    """A row of the second table: the product of a codebook with an image's patches, in float32 and bfloat16."""
    codebook = fitted.codebook
    device = codebook.product.device
    drawn = draw_patches(pixels, 729 if device.type == "cpu" else 100_000, np.random.default_rng(0))
    white = codebook.whitening.apply(normalise(torch.from_numpy(drawn).float().to(device)))
    squares = white.square().sum(1, keepdim=True)
    left = torch.cat((white, squares, torch.ones_like(squares)), 1)
    best_s, answers = [], []
    for dtype in (torch.float32, torch.bfloat16):
        pair, seconds = (left.to(dtype), codebook.product.to(dtype)), float("inf")
        for _ in range(rounds + 1):
            started = clock()
            product = pair[0] @ pair[1]
            product[0, 0].item()  # waits for a GPU
            seconds = min(seconds, clock() - started)
        distances = product.float().clamp(min=0).sqrt()
        answers.append((distances.mean(1, keepdim=True) - distances).clamp(min=0))
        best_s.append(seconds)
    exact, rounded = answers
    return (
        f"{codebook.centroids.shape[0]:,}",
        *(f"{1e6 * seconds / len(left):.2f}" for seconds in best_s),
        f"{float((exact - rounded).square().mean().sqrt()):.2g}",
        f"{float(exact[exact > 0].mean()):.2g}",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--maps", type=int, nargs="+", default=[400, 1600, 4800])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's")
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
        faiss.omp_set_num_threads(options.threads)
    print_machine("torch", "numpy", "scikit-learn", "faiss-cpu")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    console.print(where)
    others, pixels = make_images(200, seed=0), make_images(options.images, seed=1)
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    fits = [fit_kmeans(others, maps=maps, device=device, patches=4 * maps, iterations=2) for maps in options.maps]
    print_table(
        "Features of 32×32 images",
        ("maps", "ours, images/s", "numpy", "scikit-learn", "× numpy", "× scikit-learn", "off"),
        [compare_speed(fitted, pixels, options.rounds, clock) for fitted in fits],
    )
    print_table(
        "The product in bfloat16",
        ("maps", "float32, µs/patch", "bfloat16", "bfloat16's error", "mean answer"),
        [compare_precision(fitted, pixels, 5 * options.rounds, clock) for fitted in fits],
    )


if __name__ == "__main__":
    main()
