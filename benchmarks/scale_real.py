"""What sorted tables find of all pairs, in codes of real pictures and in skewed ones: ``benchmarks.scale --real``."""

import faiss
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.scale import CANDIDATES, MOST, Codes, Indices, flip_bits
from benchmarks.tables import console, print_table
from dedup.codes import code_words, flat_mask, mirror_codes
from dedup.encoder import load_shipped_encoder
from dedup.matching.match import choose_radius, find_pairs, merge_pairs, plan_search, search_part
from dedup.matching.plan import EXHAUSTIVE_UP_TO
from pipelines.images import ImageRejected, make_thumbnail
from pipelines.sources import open_source

SPLIT = 10_000  # pictures read at a time


def read_codes(uri: str) -> Codes:
    """The codes of a source's pictures, but for those of one colour."""
    source, encoder = open_source(uri), load_shipped_encoder()
    pieces = []
    for split in source.splits(SPLIT):
        thumbnails = []
        for record in source.read(split):
            try:
                thumbnails.append(make_thumbnail(record.image)[1])
            except ImageRejected:
                continue
        pictures = np.array(thumbnails, np.uint8).reshape(-1, 32, 32, 3)
        pieces.append(encoder.codes(pictures[~flat_mask(pictures)]))
    return np.concatenate(pieces)


def print_real(uris: list[str]) -> None:
    """What tables find of all pairs, in the codes of real pictures and in skewed ones."""
    sets = {uri.rpartition("/")[0].rpartition("/")[2]: read_codes(uri) for uri in uris}
    if len(sets) > 1:
        sets["all of them"] = np.concatenate(list(sets.values()))
    rows = []
    for name, all_codes in sets.items():
        # Of equal codes and of exact mirror images, the search lets one stand for all.
        _, first = np.unique(np.sort(code_words(all_codes), axis=1), axis=0, return_index=True)
        codes = all_codes[first]
        for candidates in (1.0, CANDIDATES):
            usable = np.ones(len(codes), np.bool_)
            radius = choose_radius([codes], [usable], candidates, most=MOST, mirrored=True)
            # Small sets are searched exhaustively; here by tables all the same.
            plan = plan_search(max(len(codes), EXHAUSTIVE_UP_TO + 1), radius, mirrored=True)
            found = merge_pairs([search_part([codes], [usable], plan, part) for part in plan.parts], 0, len(codes))
            wanted = _search_exhaustively(codes, radius)
            share = np.isin(wanted, found.a << 32 | found.b).mean()
            rows.append((name, f"{len(codes):,}", str(radius), f"{len(wanted) / len(codes):.2f}", f"{share:.4f}"))
    print_table("Pairs found by tables", ("codes of", "codes", "radius", "pairs per code", "found"), rows)
    kinds, count = 20, 200_000
    rng = np.random.default_rng(3)
    kind = rng.integers(0, kinds, count)
    codes = flip_bits(rng.integers(0, 256, (kinds, 16), np.uint8)[kind], rng.integers(0, 5, count), rng)
    pairs = find_pairs(codes, 8, mirrored=True)
    links = coo_array((np.ones(len(pairs), np.int8), (pairs.a, pairs.b)), (count, count))
    _, component = connected_components(links, directed=False)
    right = sum(np.bincount(component[kind == one]).max() for one in range(kinds))
    console.print(f"{count:,} codes at most 4 bits from one of {kinds} kinds, radius 8: {right / count:.4f} of them in")
    console.print(
        f"the component of their kind, {component.max() + 1:,} components, {len(pairs) / count:.1f} pairs per code"
    )


def _search_exhaustively(codes: Codes, radius: int) -> Indices:
    index = faiss.IndexBinaryFlat(128)
    index.add(codes)
    found = []
    for queries in (codes, mirror_codes(codes)):
        limits, _, neighbours = index.range_search(queries, radius + 1)  # faiss: strictly below
        left = np.repeat(np.arange(len(codes)), limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
        found.append(left[left < neighbours] << 32 | neighbours[left < neighbours])
    return np.unique(np.concatenate(found))
