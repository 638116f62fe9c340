"""Verdicts: scores of pairs that were verified before, so that no pair is verified twice while a data set grows.

Serves the arrow "128-bit semantic codes → duplicate groups". A score is a function of two images' bytes, so it is
remembered by them and holds wherever the images stand. A cache: results are the same without it.
"""

import numpy as np
import numpy.typing as npt

from pipelines.store import Folder

Ids = npt.NDArray[np.uint64]
Scores = npt.NDArray[np.float32]

_VERDICT = np.dtype([("pair", "<u8"), ("score", "<f4")])  # sorted by pair
# Odd multipliers mix two ids into one; among a hundred million pairs two share it with a chance of 1 in 3,000.
_LOW, _HIGH, _MIRRORED = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


class Verdicts:
    """What is known of pairs, in a file."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        try:
            self._known = np.frombuffer(folder.read(name), _VERDICT)
        except (FileNotFoundError, ValueError):
            self._known = np.zeros(0, _VERDICT)

    def look_up(self, first: Ids, second: Ids, mirrored: npt.NDArray[np.bool_]) -> Scores:
        """Scores of pairs, float32 (P,); NaN where a pair is not known."""
        wanted = _pair_ids(first, second, mirrored)
        scores = np.full(len(wanted), np.nan, np.float32)
        if len(self._known):
            at = np.minimum(np.searchsorted(self._known["pair"], wanted), len(self._known) - 1)
            hit = self._known["pair"][at] == wanted
            scores[hit] = self._known["score"][at[hit]]
        return scores

    def remember(self, first: Ids, second: Ids, mirrored: npt.NDArray[np.bool_], scores: Scores) -> None:
        """Keep what was found out, beside what was known; the file is replaced as a whole."""
        found = np.zeros(len(scores), _VERDICT)
        found["pair"], found["score"] = _pair_ids(first, second, mirrored), scores
        together = np.concatenate([self._known, found])
        _, at = np.unique(together["pair"], return_index=True)
        self._known = together[at]
        self._folder.write(self._name, self._known.tobytes())


def _pair_ids(first: Ids, second: Ids, mirrored: npt.NDArray[np.bool_]) -> Ids:
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.asarray(low * _LOW + high * _HIGH + mirrored.astype(np.uint64) * _MIRRORED)
