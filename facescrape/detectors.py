"""Face detectors: a picture in, squares around its faces out. Stands in the arrow photographs → boxes.

Haar's cascade comes with OpenCV and needs nothing else. YuNet is a small network (232 kB) of the OpenCV Zoo, which
finds more faces, in less time. Both frame a face alike: a box is the square that OpenCV's frontal cascade gives, from
the middle of the forehead to the chin, because the paper's boxes are those of OpenCV's detector (Radford, Metz and
Chintala 2016, section 4.2).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.download import Download, Patience, fetch
from pipelines.errors import ConfigError, DownloadError, IntegrityError, SourceError
from pipelines.images import Pixels
from pipelines.manifest import digest_of
from pipelines.store import hash_file

Floats = npt.NDArray[np.float32]

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_NAME}"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_BYTES = 232_589
# YuNet's boxes are about 1.3 times as high as wide. The cascade's square for the same face has about the same centre,
# and this many times the root of their area: 1.04 to 1.06, by scale, is the median over some 320 faces that both find.
YUNET_TO_SQUARE = 1.05
# OpenCV pads the network's input to multiples of 32. Where that leaves 32 px of a side, OpenCV 4.14 reads memory that
# nobody wrote, and boxes of any size come out of a black picture, in one run and not in the next.
_YUNET_LEAST_SIDE = 64

_OTHER_DETECTOR = "give a model at hand with --yunet-model PATH, or use OpenCV's own detector with --detector haar"


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one picture, best score first.

    Attributes:
        boxes: float32 (n, 4): left, top, width and height in pixels of the picture; squares, which may reach beyond it.
        scores: float32 (n,), on the detector's own scale.
        landmarks: float32 (n, 10): x and y of right eye, left eye, nose, right and left corner of the mouth, all as the
            person has them; None of a detector that finds none.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def scaled(self, across: float, down: float) -> "Faces":
        """The same faces in the picture enlarged so many times."""
        factors = np.array([across, down], np.float32)
        landmarks = None if self.landmarks is None else self.landmarks * np.tile(factors, 5)
        return Faces(self.boxes * np.tile(factors, 2), self.scores, landmarks)


class FaceDetector(Protocol):
    """Finds faces. A frozen dataclass that can be pickled; what it needs of OpenCV is made where it is used.

    ``name`` is what the tables call it.
    """

    name: ClassVar[str]

    @property
    def sure_score(self) -> float:
        """The score from which its boxes are to be believed."""
        ...

    def digest(self) -> str:
        """SHA-256 (hex) of all that decides what is found: model and parameters, never paths."""
        ...

    def detect(self, image: Pixels) -> Faces:
        """Find the faces of a picture, uint8 RGB (H, W, 3), at its own scale."""
        ...


@dataclass(frozen=True, slots=True)
class Haar:
    """OpenCV's cascade ``haarcascade_frontalface_alt``: frontal, upright faces.

    The most precise of the wheel's cascades for frontal faces. In 366 web photographs at 640 px, YuNet being the judge
    and boxes of 70 px and more counted, it finds 328 faces and 14 boxes that are none; ``frontalface_alt2`` 332 and 35,
    ``frontalface_default`` 352 and 106, and all do worse on equalised histograms. At 1,024 px it finds 321 and 14, of
    which ``sure_score`` keeps 301 and one.

    Attributes:
        scale_step: from one size of the sliding window to the next.
        neighbours: overlapping windows that make a box.
        smallest: side in pixels of the smallest window.
        sure_score: the least sum of the last stage's votes to be believed; what passes at all has about 106.
    """

    name: ClassVar[str] = "haar"
    cascade: ClassVar[str] = "haarcascade_frontalface_alt.xml"

    scale_step: float = 1.1
    neighbours: int = 3
    smallest: int = 32
    sure_score: float = 107.35

    def __post_init__(self) -> None:
        if self.scale_step <= 1 or self.neighbours < 0 or self.smallest < 1:
            raise ValueError(f"the step must be above 1, neighbours not negative, the smallest window positive: {self}")

    def digest(self) -> str:
        """SHA-256 (hex) of the cascade and the parameters."""
        cascade_sha256 = hash_file(_cascade_path(self.cascade))
        return digest_of([cascade_sha256, self.scale_step, self.neighbours, self.smallest, self.sure_score])

    def detect(self, image: Pixels) -> Faces:
        """Find the faces of a picture, uint8 RGB (H, W, 3)."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        boxes, _, votes = _load_cascade(self.cascade).detectMultiScale3(
            grey, self.scale_step, self.neighbours, 0, (self.smallest, self.smallest), outputRejectLevels=True
        )
        return _sorted(np.reshape(boxes, (-1, 4)), np.reshape(votes, -1))


@dataclass(frozen=True, slots=True)
class YuNet:
    """The network YuNet (Wu, Peng and Yu 2023, https://doi.org/10.1007/s11633-023-1423-y): faces at any angle.

    Attributes:
        model: path of the ONNX file.
        sha256: of its bytes.
        least_score: what scores less is no box at all.
        most_overlap: intersection over union from which two boxes are one face.
        sure_score: the least score to be believed; below it come fists, trophies and smears in a stadium's ranks.
    """

    name: ClassVar[str] = "yunet"

    model: Path
    sha256: str
    least_score: float = 0.5
    most_overlap: float = 0.3
    sure_score: float = 0.8

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in (self.least_score, self.most_overlap, self.sure_score)):
            raise ValueError(f"scores and overlap must lie between 0 and 1: {self}")

    @classmethod
    def open(cls, model: Path) -> Self:
        """A detector on the model in a file.

        Raises:
            SourceError: there is no such file, OpenCV cannot load it, or it is another network.
        """
        if not model.is_file():
            raise SourceError(f"there is no model at {model}", hint=_OTHER_DETECTOR)
        detector = cls(model, hash_file(model))
        try:
            detector.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise SourceError(f"the model {model} is not YuNet", hint=_OTHER_DETECTOR) from error
        return detector

    def digest(self) -> str:
        """SHA-256 (hex) of the model and the parameters."""
        return digest_of([self.sha256, self.least_score, self.most_overlap, self.sure_score])

    def detect(self, image: Pixels) -> Faces:
        """Find the faces of a picture, uint8 RGB (H, W, 3)."""
        network = _load_yunet(self)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        below, beside = (max(0, _YUNET_LEAST_SIDE - side) for side in image.shape[:2])
        if below or beside:
            bgr = cv2.copyMakeBorder(bgr, 0, below, 0, beside, cv2.BORDER_CONSTANT)
        network.setInputSize((bgr.shape[1], bgr.shape[0]))
        # Columns: box, five landmarks, score (https://docs.opencv.org/4.x/df/d20/classcv_1_1FaceDetectorYN.html).
        found: Any = network.detect(bgr)[1]
        if found is None:
            return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 10), np.float32))
        rows: Floats = found
        corners, sizes = rows[:, :2], rows[:, 2:4]
        sides = YUNET_TO_SQUARE * np.sqrt(sizes[:, :1] * sizes[:, 1:])
        boxes = np.hstack([corners + (sizes - sides) / 2, sides, sides])
        return _sorted(boxes, rows[:, 14], rows[:, 4:14])


def find_faces(detector: FaceDetector, image: Pixels, longest_side: int) -> Faces:
    """Find the faces of a picture of any size, at a bounded scale; boxes are in pixels of the picture.

    Args:
        detector: finds them.
        image: uint8 RGB (H, W, 3).
        longest_side: the picture is shrunk to this many pixels, by area, where it has more; never enlarged.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return detector.detect(small).scaled(width / small.shape[1], height / small.shape[0])


def choose_detector(
    name: str, models: Path, yunet_model: Path | None = None, *, fetch: Callable[..., None] = fetch
) -> FaceDetector:
    """The detector that is called ``name``: haar or yunet.

    Args:
        name: haar or yunet.
        models: folder that YuNet's model is fetched to, once.
        yunet_model: a model at hand, used as it is instead.
        fetch: brings a `Download` to its target.

    Raises:
        ConfigError: no detector is called so.
        SourceError: the model is missing, or OpenCV cannot load it.
        DownloadError: the model could not be fetched.
        IntegrityError: what was fetched is something else.
    """
    if name == Haar.name:
        return Haar()
    if name == YuNet.name:
        return YuNet.open(yunet_model or ensure_yunet(models, fetch=fetch))
    raise ConfigError(f"no detector is called {name!r}", hint=f"the detectors are {Haar.name} and {YuNet.name}")


def ensure_yunet(models: Path, *, fetch: Callable[..., None] = fetch) -> Path:
    """Path of YuNet's model of March 2023 in folder ``models``; fetched once from the OpenCV Zoo, then checked.

    Raises:
        DownloadError: it could not be fetched.
        IntegrityError: what was fetched is something else.
    """
    target = models / YUNET_NAME
    download = Download(YUNET_URL, target, begins_with=b"\x08", size_bytes=YUNET_BYTES)  # ONNX: the field ir_version
    try:
        fetch(download, patience=Patience(tries=3))
    except DownloadError as error:
        raise DownloadError(f"YuNet's model could not be fetched: {error.message}", hint=_OTHER_DETECTOR) from error
    if (sha256 := hash_file(target)) != YUNET_SHA256:
        target.unlink()
        raise IntegrityError(
            f"what {YUNET_URL} gave is not the model that was published: its SHA-256 is {sha256}, not {YUNET_SHA256}",
            hint=_OTHER_DETECTOR,
        )
    return target


def _sorted(boxes: npt.NDArray[Any], scores: npt.NDArray[Any], landmarks: npt.NDArray[Any] | None = None) -> Faces:
    """Best score first; of equals the leftmost, then the topmost, then the smallest."""
    order = np.lexsort([boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores])
    in_order = None if landmarks is None else np.asarray(landmarks[order], np.float32)
    return Faces(np.asarray(boxes[order], np.float32), np.asarray(scores[order], np.float32), in_order)


def _cascade_path(name: str) -> Path:
    return Path(cv2.data.haarcascades) / name  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _load_cascade(name: str) -> cv2.CascadeClassifier:
    """One per process: it cannot be pickled, and is not for two threads at once."""
    return cv2.CascadeClassifier(str(_cascade_path(name)))


@lru_cache(maxsize=1)
def _load_yunet(detector: YuNet) -> cv2.FaceDetectorYN:
    """One per process, as above. Made of the very bytes whose SHA-256 is known."""
    try:
        model = detector.model.read_bytes()
    except OSError as error:
        raise SourceError(
            f"the model {detector.model} cannot be read ({error.strerror})", hint=_OTHER_DETECTOR
        ) from error
    if hashlib.sha256(model).hexdigest() != detector.sha256:
        raise IntegrityError(f"the model {detector.model} changed during the run", hint="run the same command again")
    buffer, no_config = np.frombuffer(model, np.uint8), np.zeros(0, np.uint8)
    try:
        return cv2.FaceDetectorYN.create(
            "onnx", buffer, no_config, (320, 320), detector.least_score, detector.most_overlap
        )
    except cv2.error as error:
        raise SourceError(f"OpenCV cannot load the model {detector.model}", hint=_OTHER_DETECTOR) from error
