"""How fast do encoded images become thumbnails, beside a bare decode loop and beside imagededup's encoding?

    python -m benchmarks.ingest [--images N]      imagededup's column needs: pip install imagededup

One core throughout. The images are rendered rooms, encoded as JPEG and WebP at 256 pixels and as JPEG of 3 megapixels.
The bare loop is the same library decoding the same bytes at the same scale and throwing the pixels away. imagededup
gets the same files on disk and computes its perceptual hash (PHash.encode_image), the cheapest thing that it does with
an image.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tables import best_seconds, console, print_machine, print_table
from pipelines.images import make_thumbnail
from pipelines.rooms import render_room

COLUMNS = ("images", "thumbnails/s per core", "bare decode/s", "of bare", "imagededup/s", "times imagededup")


def encode_sets(count: int) -> dict[str, tuple[list[bytes], int]]:
    """Name → (encoded images, OpenCV's flag that decodes them as make_thumbnail does)."""
    rooms = [render_room(seed=0, index=index).image[..., ::-1] for index in range(count)]
    large = [cv2.resize(room, (2048, 1536), interpolation=cv2.INTER_CUBIC) for room in rooms[: max(4, count // 16)]]
    return {
        "JPEG 256 px": (_encode(rooms, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90), cv2.IMREAD_REDUCED_COLOR_4),
        "WebP 256 px": (_encode(rooms, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80), cv2.IMREAD_COLOR),
        "JPEG 3 megapixels": (_encode(large, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90), cv2.IMREAD_REDUCED_COLOR_8),
    }


def _encode(images: list[np.ndarray], suffix: str, option: int, quality: int) -> list[bytes]:
    return [cv2.imencode(suffix, image, [option, quality])[1].tobytes() for image in images]


def _imagededup_encoder() -> Callable[[str], object] | None:
    try:
        from imagededup.methods import PHash
    except ImportError:
        return None
    hasher = PHash(verbose=False)
    return lambda path: hasher.encode_image(image_file=path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="images per set")
    count = parser.parse_args().images
    cv2.setNumThreads(1)
    hash_file = _imagededup_encoder()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (encoded, flag) in encode_sets(count).items():
            paths = []
            for index, data in enumerate(encoded):
                path = Path(folder) / f"{name.replace(' ', '_')}_{index}"
                path.write_bytes(data)
                paths.append(str(path))
            loops: list[Callable[[], object]] = [
                lambda encoded=encoded: [make_thumbnail(data) for data in encoded],  # type: ignore[misc]
                lambda encoded=encoded, flag=flag: [  # type: ignore[misc]
                    cv2.imdecode(np.frombuffer(data, np.uint8), flag) for data in encoded
                ],
            ]
            if hash_file is not None:
                loops.append(lambda paths=paths: [hash_file(path) for path in paths])  # type: ignore[misc]
            ours, bare, *peer = (len(encoded) / seconds for seconds in best_seconds(loops))
            peer_cells = (f"{peer[0]:,.0f}", f"{ours / peer[0]:.1f}x") if peer else ("not installed", "")
            rows.append((name, f"{ours:,.0f}", f"{bare:,.0f}", f"{ours / bare:.2f}", *peer_cells))
    print_machine("opencv-python-headless", "numpy")
    print_table("Thumbnails", COLUMNS, rows)
    if hash_file is None:
        console.print("imagededup is not installed: pip install imagededup for its column")


if __name__ == "__main__":
    main()
