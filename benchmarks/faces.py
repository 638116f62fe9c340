"""How fast are faces found, beside the bare OpenCV call, and how many of them?

    python -m benchmarks.faces [--yunet-model PATH] [--photos FOLDER] [--boxes CSV]

One core throughout. The photographs are rendered portraits, or the JPEGs of a folder, resized such that the longer side
has 640 px, and to 12 megapixels. "from bytes" is all that a photograph goes through: decoding, finding, judging. "from
pixels" is finding alone, at the bounded scale at which the pipeline does it. "bare OpenCV" is the detector's own call
on the photograph as it is.

With --boxes (columns file, left, top, width, height; the files lie in the folder of the same name, without .csv), also
how many of the true boxes are found and how many of those found are true, at an intersection over union of 0.5.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tables import best_seconds, console, print_machine, print_table
from facescrape.detect import DetectStage, measure_overlap
from facescrape.detectors import FaceDetector, Floats, Haar, YuNet, find_faces
from pipelines.images import Pixels, decode
from pipelines.portraits import render_portrait

SIZES = {"640 px": 640, "12 megapixels": 4000}
SPEED = ("photographs", "detector", "from bytes/s", "from pixels/s", "bare OpenCV/s", "times bare")
QUALITY = (
    "detector",
    "true boxes",
    "found",
    "recall",
    "precision",
    "recall, any score",
    "precision",
    "s per photograph",
)


def load_photographs(folder: Path | None, count: int) -> list[Pixels]:
    """Photographs to measure with, uint8 RGB."""
    if folder is None:
        return [render_portrait(0, person, 0).image for person in range(count)]
    return [decode(path.read_bytes()) for path in sorted(folder.rglob("*.jpg"))[:count]]


def resize(image: Pixels, longest_side: int) -> Pixels:
    """The photograph with this many pixels on its longer side."""
    scale = longest_side / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)


def measure_speed(detectors: Sequence[FaceDetector], photographs: Sequence[Pixels], rounds: int) -> list[Sequence[str]]:
    """A row for each size and detector."""
    rows: list[Sequence[str]] = []
    for size, longest_side in SIZES.items():
        pictures = [resize(photograph, longest_side) for photograph in photographs]
        for detector in detectors:
            whole, found, bare = _photographs_per_s(DetectStage(detector), pictures, rounds)
            rows.append((size, detector.name, f"{whole:,.1f}", f"{found:,.1f}", f"{bare:,.2f}", f"{found / bare:.1f}x"))
    return rows


def _photographs_per_s(stage: DetectStage, pictures: Sequence[Pixels], rounds: int) -> list[float]:
    encoded = [_encode(picture) for picture in pictures]
    loops: list[Callable[[], object]] = [
        lambda: [stage.look(data) for data in encoded],
        lambda: [find_faces(stage.detector, picture, stage.longest_side) for picture in pictures],
        lambda: [stage.detector.detect(picture) for picture in pictures],
    ]
    return [len(pictures) / seconds for seconds in best_seconds(loops, rounds)]


def _encode(image: Pixels) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


@dataclass
class Counts:
    """Boxes found, and those of them that are true."""

    found: int = 0
    true: int = 0

    def add(self, boxes: Sequence[Floats], truth: Sequence[Floats]) -> None:
        """Count the boxes of one photograph, best score first; each true box is found at most once."""
        left = list(range(len(truth)))
        self.found += len(boxes)
        for box in boxes:
            best = max(left, key=lambda index: _intersection_over_union(box, truth[index]), default=None)
            if best is not None and _intersection_over_union(box, truth[best]) >= 0.5:
                left.remove(best)
                self.true += 1


def _intersection_over_union(one: Floats, other: Floats) -> float:
    areas = float(one[2] * one[3]), float(other[2] * other[3])
    shared = measure_overlap(one, other) * min(areas)
    return shared / (sum(areas) - shared)


def measure_quality(detectors: Sequence[FaceDetector], table: Path) -> list[Sequence[str]]:
    """A row for each detector: its sure boxes first, then all of them."""
    truth = defaultdict(list)
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            truth[row["file"]].append(np.array([row[name] for name in ("left", "top", "width", "height")], np.float32))
    wanted = sum(map(len, truth.values()))
    rows: list[Sequence[str]] = []
    for detector in detectors:
        sure, all_boxes, seconds = Counts(), Counts(), 0.0
        for name, boxes in truth.items():
            image = decode((table.with_suffix("") / name).read_bytes())
            start = time.perf_counter()
            faces = find_faces(detector, image, DetectStage(detector).longest_side)
            seconds += time.perf_counter() - start
            sure.add(list(faces.boxes[faces.scores >= detector.sure_score]), boxes)
            all_boxes.add(list(faces.boxes), boxes)
        parts = [
            part for counts in (sure, all_boxes) for part in (counts.true / wanted, counts.true / max(1, counts.found))
        ]
        shown = [f"{part:.3f}" for part in parts]
        rows.append((detector.name, str(wanted), str(sure.found), *shown, f"{seconds / len(truth):.3f}"))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yunet-model", type=Path, help="YuNet's ONNX file; without it Haar alone is measured")
    parser.add_argument(
        "--photos", type=Path, help="folder of JPEGs to measure speed with, instead of rendered portraits"
    )
    parser.add_argument("--boxes", type=Path, help="CSV of true boxes, with its photographs beside it")
    parser.add_argument("--count", type=int, default=8, help="photographs to measure speed with")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is shown")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detectors: list[FaceDetector] = [Haar()]
    if options.yunet_model is not None:
        detectors.append(YuNet.open(options.yunet_model))
    print_machine("opencv-python-headless", "numpy")
    print_table(
        "Finding faces, photographs per second of one core",
        SPEED,
        measure_speed(detectors, load_photographs(options.photos, options.count), options.rounds),
    )
    if options.boxes is not None:
        print_table(
            "Faces found, at an intersection over union of 0.5", QUALITY, measure_quality(detectors, options.boxes)
        )
    if options.yunet_model is None:
        console.print("YuNet is not measured: give its model with --yunet-model")


if __name__ == "__main__":
    main()
