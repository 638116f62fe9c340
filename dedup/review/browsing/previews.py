"""Previews: pictures of any size in; small ones, of which a page can show hundreds, out.

Serves the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN", for the eye.
"""

import threading
from functools import lru_cache

from dedup.review.reviewed import Picture, Reviewed
from pipelines.images import ImageRejected, decode, encode_preview

SIDE = 320  # pixels: twice what a page shows, for fine screens
SMALL_BYTES = 64 << 10  # a picture of so many bytes is shown as it is
IN_MEMORY = 1_024
AT_ONCE = 2  # as decoding a large picture takes hundreds of megabytes


class Previews:
    """Previews of a data set's pictures, by number."""

    def __init__(self, reviewed: Reviewed) -> None:
        self._reviewed, self._turn = reviewed, threading.Semaphore(AT_ONCE)
        self.read = lru_cache(IN_MEMORY)(self._read)

    def _read(self, number: int) -> Picture:
        """The preview of the picture of that number; IndexError where there is none."""
        picture = self._reviewed.picture(number)
        if len(picture.content) <= SMALL_BYTES:
            return picture
        with self._turn:
            try:
                small = encode_preview(decode(picture.content, at_least=SIDE), SIDE)
            except ImageRejected:
                return self._reviewed.thumbnail(number)
        return Picture(small, "image/jpeg", False)
