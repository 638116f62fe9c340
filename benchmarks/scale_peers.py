"""Brute force and faiss's binary indexes beside the search for near codes: the last table of ``benchmarks.scale``."""

import time

import faiss
import numpy as np

from benchmarks.scale import draw_codes
from benchmarks.tables import console, print_table
from dedup.codes import mirror_codes
from dedup.matching.match import find_pairs

PEERS_AT, PEER_QUERIES = 1_000_000, 2_000


def print_peers(radius: int) -> None:
    """Brute force and faiss's indexes on a million codes, one core, by a sample of queries."""
    rng = np.random.default_rng([1, 0])
    codes = draw_codes(PEERS_AT, rng)
    chosen = rng.choice(PEERS_AT, PEER_QUERIES, replace=False)
    queries = np.concatenate([codes[chosen], mirror_codes(codes[chosen])])
    faiss.omp_set_num_threads(1)
    start = time.process_time()
    ours = len(find_pairs(codes, radius, mirrored=True))
    rows = [("dedup.matching.match", f"{time.process_time() - start:,.0f}", "")]
    hashed = faiss.IndexBinaryHash(128, 20)
    hashed.nflip = 2
    split = faiss.IndexBinaryMultiHash(128, 8, 16)  # exact: one of 8 words differs in an eighth of the radius at most
    split.nflip = radius // 8
    exact = 0
    indexes = {"IndexBinaryFlat": faiss.IndexBinaryFlat(128), "IndexBinaryHash": hashed, "IndexBinaryMultiHash": split}
    for name, index in indexes.items():
        start = time.process_time()
        index.add(codes)
        added = time.process_time() - start
        start = time.process_time()
        limits, _, _ = index.range_search(queries, radius + 1)
        found = int(limits[-1]) - PEER_QUERIES  # each finds itself
        seconds = added + (time.process_time() - start) * PEERS_AT / PEER_QUERIES
        exact = exact or found
        rows.append((name, f"{seconds:,.0f}", f"{found / max(1, exact):.3f}"))
    console.print(
        f"pairs found here: {ours:,}; by brute force, extrapolated: {exact * PEERS_AT // PEER_QUERIES // 2:,}"
    )
    print_table(f"All pairs of {PEERS_AT:,} codes within {radius} bits", ("", "CPU s", "found"), rows)
