"""128-bit semantic codes: thumbnails or activations in, packed codes, distances and the flat-picture mask out.

Stands between "128-bit semantic codes" and "duplicate groups" in "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A code is a row of 16 bytes, the most significant bit first.
"""

import numpy as np
from numpy.typing import NDArray

CODE_BITS = 128
CODE_BYTES = CODE_BITS // 8
THUMBNAIL_SHAPE = (32, 32, 3)

# A white page with a little compression noise spreads over 1 to 3 levels; the greyest fog worth matching, over 5.
FLAT_STD_LEVELS = 4.0
_BATCH_ROWS = 4096


def check_thumbnails(thumbnails: NDArray[np.uint8]) -> None:
    """Raise ValueError unless `thumbnails` is (N, 32, 32, 3) uint8."""
    if thumbnails.dtype != np.uint8 or thumbnails.shape[1:] != THUMBNAIL_SHAPE:
        raise ValueError(f"thumbnails must be (N, 32, 32, 3) uint8, not {thumbnails.shape} {thumbnails.dtype}")


def check_codes(codes: NDArray[np.uint8]) -> None:
    """Raise ValueError unless `codes` is (N, 16) uint8."""
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != CODE_BYTES:
        raise ValueError(f"codes must be (N, {CODE_BYTES}) uint8, not {codes.shape} {codes.dtype}")


def flat_mask(thumbnails: NDArray[np.uint8], min_std_levels: float = FLAT_STD_LEVELS) -> NDArray[np.bool_]:
    """Say which pictures are blank or of one colour, and so must not enter matching.

    Args:
        thumbnails: (N, 32, 32, 3) uint8 RGB.
        min_std_levels: a picture is flat when no colour channel spreads (standard deviation over its 1024 pixels)
            by this many of the 256 levels.

    Returns:
        (N,) bool, True where flat.
    """
    check_thumbnails(thumbnails)
    flat = np.empty(len(thumbnails), np.bool_)
    for start in range(0, len(thumbnails), _BATCH_ROWS):
        pixels = thumbnails[start : start + _BATCH_ROWS].reshape(-1, 32 * 32, 3).astype(np.float32)
        flat[start : start + _BATCH_ROWS] = pixels.std(axis=1).max(axis=1) < min_std_levels
    return flat


def code_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Read (N, 16) uint8 codes as (N, 2) uint64, first byte highest, so that words sort as bytes do."""
    check_codes(codes)
    return np.ascontiguousarray(codes).view(">u8").astype(np.uint64)


def mirror_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The codes of the pictures' left-right mirror images, by an encoder whose units come in mirrored halves.

    Unit 64 + i of such an encoder is the mirror image of unit i, so a mirrored picture's code is the picture's own with
    its two halves swapped.

    Args:
        codes: (N, 16) uint8.

    Returns:
        (N, 16) uint8.
    """
    check_codes(codes)
    return np.roll(codes, CODE_BYTES // 2, axis=1)


def hamming_distance(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the differing bits, row by row, of two (N, 16) uint8 arrays of codes: (N,) int64, 0 to 128."""
    check_codes(left)
    check_codes(right)
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int64))


def compare_codes(
    left: NDArray[np.uint8], right: NDArray[np.uint8], *, mirrored: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the differing bits, row by row, and say whether mirroring one of the two brings them nearer.

    Args:
        left: (N, 16) uint8.
        right: (N, 16) uint8.
        mirrored: whether to look at mirrored codes at all.

    Returns:
        The lesser distances, (N,) int64, and (N,) bool.
    """
    plain = hamming_distance(left, right)
    if not mirrored:
        return plain, np.zeros(len(plain), np.bool_)
    flipped = hamming_distance(left, mirror_codes(right))
    return np.minimum(plain, flipped), flipped < plain
