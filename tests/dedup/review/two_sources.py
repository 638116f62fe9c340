"""A set of two sources that share most of their pictures, with keys that attack whoever shows them."""

from dataclasses import dataclass
from pathlib import Path

from dedup_set import picture
from helpers import encode, write_lmdb

PICTURES = 30  # more groups than a page shows
AGAIN = 15  # copies of the first picture in the second source: more than are shown at first
HOSTILE = (
    "<img src=x onerror=\"document.title='caught'\">",
    "../../etc/passwd",
    "\"quoted\" & 'single'; </script><script>document.title='caught'</script>",
    "%2e%2e%2f, $(id) and `id`",
    "line\u2028and\u202eright to left",
)


@dataclass(frozen=True)
class TwoSources:
    """Where they lie, as ``--source`` takes them, and the keys of the first."""

    uris: tuple[str, str]
    keys: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [word for uri in self.uris for word in ("--source", uri)]


def write_two_sources(folder: Path) -> TwoSources:
    """``rooms``, an LMDB of pictures; ``web``, a folder with a smaller copy of each, and files that are no pictures."""
    keys = tuple(HOSTILE[seed] if seed < len(HOSTILE) else f"Room-{seed:03d}" for seed in range(PICTURES))
    write_lmdb(
        folder / "rooms_lmdb",
        {key.encode(): encode(picture(seed), "PNG") for seed, key in enumerate(keys)},
    )
    (folder / "rooms_lmdb" / "lock.mdb").unlink()
    web = folder / "web"
    web.mkdir()
    for seed in range(PICTURES):
        (web / f"copy_{seed:03d}.jpg").write_bytes(encode(picture(seed).resize((100, 80)), "JPEG", quality=80))
    for turn in range(AGAIN):
        (web / f"first_{turn:02d}.jpg").write_bytes(encode(picture(0), "JPEG", quality=60 + turn))
    (web / "alone.png").write_bytes(encode(picture(1000), "PNG"))
    (web / "<b>page.jpg").write_bytes(b"<html><body onload=\"document.title='caught'\">no picture</body></html>")
    (web / "cut.png").write_bytes(encode(picture(1001), "PNG")[:2000])
    return TwoSources((f"rooms=lmdb:{folder / 'rooms_lmdb'}", f"web=folder:{web}"), keys)
