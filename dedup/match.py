"""Matching: 128-bit codes in, candidate pairs within a Hamming radius out, in time linear in the number of codes.

Stands at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Candidates still have to pass `dedup.verify`.

The search sorts the codes under seeded random permutations of their bits and compares each code with its next few
neighbours in every order (Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002, section 4;
Ravichandran, Pantel & Hovy, ACL 2005). The work is tables x (sort + window x N) however the codes are spread, where
the buckets of a multi-index would grow quadratically with the share of their fullest value.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dedup.codes import CODE_BITS, CODE_BYTES, check_codes, code_words

Indices = NDArray[np.int64]
Words = NDArray[np.uint64]

# A pair at distance d meets in a table when its codes agree on about the first log2(N / WINDOW) permuted bits; each
# table is one more independent try. Among 3 million random codes they find 0.99 of pairs 17 to 20 bits apart.
TABLES = 96
WINDOW = 12
# A cloud of N near-equal codes yields at most N x MAX_NEIGHBOURS pairs.
MAX_NEIGHBOURS = 64

_CHUNK_ROWS = 1 << 16  # so that a comparison's working arrays stay in a core's cache
_THREADS = 2  # a table of three million codes works in 150 MB


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of items, unique and sorted by (a, b, mirrored).

    Attributes:
        a: (P,) int64, the smaller index of each pair.
        b: (P,) int64, the larger index.
        distance: (P,) uint8, the Hamming distance at which the pair met.
        mirrored: (P,) bool, True where it met as one item's code and the code of the other's mirror image.
    """

    a: Indices
    b: Indices
    distance: NDArray[np.uint8]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.a)


def equal_code_pairs(codes: NDArray[np.uint8]) -> Pairs:
    """Link each item with the smallest-index item of the same code: the paper's duplicates, in one sort.

    Args:
        codes: (N, 16) uint8.

    Returns:
        Pairs at distance 0: m items of one code yield m - 1 of them.
    """
    order, starts, class_of = _equal_classes(code_words(codes))
    return _item_pairs(order[starts][class_of], order, code_words(codes), len(codes))


def find_pairs(
    codes: NDArray[np.uint8],
    radius: int,
    *,
    mirrored: NDArray[np.uint8] | None = None,
    seed: int = 0,
    tables: int = TABLES,
    window: int = WINDOW,
) -> Pairs:
    """Find nearly all pairs of items whose codes lie within `radius` bits.

    Equal codes are collapsed first: every item is linked with the first item of its code, and that first item alone
    stands for the code in the search, so a million equal codes cost a million pairs.

    Args:
        codes: (N, 16) uint8.
        radius: largest Hamming distance of a pair, 0 to 128.
        mirrored: (N, 16) uint8, the code of each item's left-right mirror image. With it, pairs of one item's code
            and another's mirrored code are found too; an item's match with its own mirror image is not a pair.
        seed: of the permutations; at least 0.
        tables: sorted orders to walk, at least 1.
        window: neighbours compared on one side in each order, at least 1.

    Returns:
        Unique sorted pairs, a function of the arguments alone. The same (a, b) may stand in it twice, once mirrored
        and once not.
    """
    if not 0 <= radius <= CODE_BITS:
        raise ValueError(f"radius must be 0 to {CODE_BITS}, not {radius}")
    if min(tables, window) < 1:
        raise ValueError("tables and window must be at least 1")
    words = code_words(codes)
    if mirrored is not None:
        if len(mirrored) != len(codes):
            raise ValueError(f"{len(codes)} codes but {len(mirrored)} mirrored codes")
        words = np.concatenate([words, code_words(mirrored)])
    # A row of words below len(codes) is an item, a row above is the mirror image of the item len(codes) before it.
    order, starts, class_of = _equal_classes(words)
    first = order[starts]
    image_at = np.flatnonzero(order >= len(codes))[::-1]
    first_image = np.full(len(starts), -1, np.int64)
    first_image[class_of[image_at]] = order[image_at]

    near_left, near_right = _near_classes(words[first], radius, seed, tables, window)
    left = [first[class_of], first[near_left], first[near_left], first[near_right]]
    right = [order, first[near_right], first_image[near_right], first_image[near_left]]
    return _item_pairs(np.concatenate(left), np.concatenate(right), words, len(codes))


def choose_radius(
    codes: NDArray[np.uint8], candidates_per_item: float, *, most: int, seed: int = 0, samples: int = 1 << 22
) -> int:
    """Choose the largest radius at which chance pairs an item with few enough others.

    The distances of random pairs stand for those of unrelated items, so three million pictures of one kind of scene
    get a tighter radius than two thousand.

    Args:
        codes: (N, 16) uint8.
        candidates_per_item: unrelated pairs per item that verification is given to look at.
        most: the radius never exceeds this.
        seed: of the sampled pairs.
        samples: how many random pairs are looked at.

    Returns:
        A radius, 0 to `most`.
    """
    check_codes(codes)
    if len(codes) < 2:
        return most
    rng = np.random.default_rng(seed)
    words = code_words(codes)
    histogram = np.zeros(CODE_BITS + 1, np.int64)
    for start in range(0, samples, _CHUNK_ROWS):
        left = rng.integers(len(codes), size=min(_CHUNK_ROWS, samples - start))
        right = (left + rng.integers(1, len(codes), size=len(left))) % len(codes)
        histogram += np.bincount(_distance(words[left], words[right]), minlength=CODE_BITS + 1)
    expected = np.cumsum(histogram[: most + 1]) / samples * (len(codes) - 1) / 2
    return max(0, int(np.count_nonzero(expected <= candidates_per_item)) - 1)


def _distance(left: Words, right: Words) -> NDArray[np.uint8]:
    """Hamming distances of rows of two words: (P,) uint8."""
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.uint8))


def _equal_classes(words: Words) -> tuple[Indices, Indices, Indices]:
    """Sort rows by code, then index: the order, where each class of equal codes starts, and each place's class."""
    order = np.lexsort((words[:, 1], words[:, 0])).astype(np.int64)
    ordered = words[order]
    new = np.ones(len(words), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, np.flatnonzero(new), np.cumsum(new) - 1


def _item_pairs(left: Indices, right: Indices, words: Words, n_items: int) -> Pairs:
    """Turn pairs of rows of `words` (-1: none) into unique pairs of items, leaving out what says nothing."""
    images = (left >= n_items).astype(np.int8) + (right >= n_items)
    # Two images met as mirror images of one another's neighbours: their items' own codes decide that pair.
    told = (left >= 0) & (right >= 0) & (images < 2) & (left % n_items != right % n_items)
    left, right, mirrored = left[told], right[told], images[told] == 1
    distance = _distance(words[left], words[right])
    left, right = left % n_items, right % n_items
    a, b = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((distance, mirrored, b, a))
    a, b, distance, mirrored = a[order], b[order], distance[order], mirrored[order]
    new = np.ones(len(a), np.bool_)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1]) | (mirrored[1:] != mirrored[:-1])
    return Pairs(a[new], b[new], distance[new], mirrored[new])


def _near_classes(words: Words, radius: int, seed: int, tables: int, window: int) -> tuple[Indices, Indices]:
    """Find pairs (i < j) of rows of distinct codes within the radius, table by table."""
    n_rows = len(words)
    known = np.zeros(0, np.int64)  # sorted i * n_rows + j
    degree = np.zeros(n_rows, np.int64)
    if n_rows < 2 or radius == 0:
        return known, known
    with ThreadPoolExecutor(_THREADS) as pool:
        running: list[Future[Indices]] = []
        for table in range(tables + _THREADS):
            if table < tables:
                running.append(pool.submit(_walk_table, words, radius, np.random.default_rng([seed, table]), window))
            if table >= _THREADS:
                # Merged in the order of tables, so that the cut at MAX_NEIGHBOURS does not depend on the threads.
                found = running.pop(0).result()
                at = np.searchsorted(known, found)
                fresh = np.ones(len(found), np.bool_)
                fresh[at < len(known)] = known[at[at < len(known)]] != found[at < len(known)]
                i, j = np.divmod(found[fresh], n_rows)
                wanted = np.minimum(degree[i], degree[j]) < MAX_NEIGHBOURS
                degree += np.bincount(i[wanted], minlength=n_rows) + np.bincount(j[wanted], minlength=n_rows)
                known = np.insert(known, at[fresh][wanted], found[fresh][wanted])
    i, j = np.divmod(known, n_rows)
    return i, j


def _walk_table(words: Words, radius: int, rng: np.random.Generator, window: int) -> Indices:
    """Compare each code with the next `window` in one random order: sorted unique i * len(words) + j, i < j."""
    n_rows = len(words)
    row_bits = np.uint64(n_rows.bit_length())
    keys = _permuted_prefix(words, rng)
    # The row in the low bits makes the sort its own argsort, and the order total.
    keys = np.sort((keys >> row_bits << row_bits) | np.arange(n_rows, dtype=np.uint64))
    rows = (keys & ((np.uint64(1) << row_bits) - np.uint64(1))).astype(np.int64)
    high, low = words[rows, 0], words[rows, 1]
    hits = []
    for start in range(0, n_rows, _CHUNK_ROWS):
        for step in range(1, window + 1):
            left = slice(start, min(start + _CHUNK_ROWS, n_rows - step))
            right = slice(left.start + step, left.stop + step)
            if left.start >= left.stop:
                break
            distance = np.bitwise_count(high[left] ^ high[right])
            distance += np.bitwise_count(low[left] ^ low[right])
            near = start + np.flatnonzero(distance <= radius)
            i, j = rows[near], rows[near + step]
            hits.append(np.minimum(i, j) * n_rows + np.maximum(i, j))
    return np.unique(np.concatenate(hits))


def _permuted_prefix(words: Words, rng: np.random.Generator) -> Words:
    """The first 64 bits of each code under one random permutation of its 128: (N,) uint64."""
    places = rng.permutation(CODE_BITS)
    weights = np.where(places < 64, np.uint64(1) << (places % 64).astype(np.uint64), np.uint64(0))
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    tables = weights.reshape(CODE_BYTES, 8) @ bits.T
    octets = words.astype(">u8").view(np.uint8)
    prefix = np.zeros(len(words), np.uint64)
    for start in range(0, len(words), _CHUNK_ROWS):
        chunk = octets[start : start + _CHUNK_ROWS].reshape(-1, CODE_BYTES)
        for table, column in zip(tables, chunk.T, strict=True):
            prefix[start : start + _CHUNK_ROWS] |= table[column]
    return prefix
