"""Loading: what a command says of a data set in; its training and test images out.

Stands beside the last word of "clean shards → DCGAN", and before every probe.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError, SourceError
from pipelines.headers import ImageRejected, read_header
from pipelines.registry import load_registry, locate_source
from pipelines.sources import Source, open_source
from train.probe.data import LABEL_COLUMN, TORCHVISION, ProbeData, hold_out, read_sources, read_torchvision

RAW = "raw"  # below a data set's folder: what its publisher packed
TRAIN_FILES, TEST_FILES = "train*", "test*"  # in a registry's pattern; the second where the first stands


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to classify.

    Attributes:
        dataset: its name: one of torchvision's, of the registry, or any with ``train``.
        train: URI of a source with labels; None: the data set's own.
        test: likewise; None: the data set's own, where it has one.
        hold_out: the share of the training images to test with; None: there is a test set.
        label_column: what the source calls an image's class.
        side: to cut images to, in pixels; None: as they are.
        download: whether to fetch what torchvision knows.
    """

    dataset: str
    train: str | None = None
    test: str | None = None
    hold_out: float | None = None
    label_column: str = LABEL_COLUMN
    side: int | None = None
    download: bool = False


def load_data(wanted: Wanted, data_root: Path, seed: int) -> ProbeData:
    """Read the images: those of torchvision where its files are there or are to be fetched, else of a source.

    Args:
        wanted: what.
        data_root: holds a folder per data set.
        seed: decides which images become the test set where there is none.

    Raises:
        ConfigError: there is no such data set, no test set, or options do not go together.
        SourceError: nothing of it is there, or its images or labels cannot be used.
        DownloadError: it cannot be fetched.
    """
    if wanted.hold_out is not None and wanted.test is not None:
        raise ConfigError("--test names a test set, and --hold-out makes one", hint="give one of them")
    if wanted.download and (wanted.train is not None or wanted.dataset not in TORCHVISION):
        raise ConfigError(
            f"--download fetches {' or '.join(TORCHVISION)}, and nothing else",
            hint=f"python -m pipelines.run download {wanted.dataset} fetches what the registry can",
        )
    if wanted.train is None and wanted.dataset in TORCHVISION:
        packed = read_torchvision(wanted.dataset, data_root / wanted.dataset / RAW, download=wanted.download)
        if packed is not None:
            return ProbeData(*packed, {})
        if wanted.dataset not in load_registry().datasets:
            raise SourceError(
                f"{wanted.dataset} is not on disk: there is nothing of it in {data_root / wanted.dataset / RAW}",
                hint="--download fetches it; or give --train and --test",
            )
    train = locate_source(wanted.dataset, wanted.train, data_root)
    test = _find_test(wanted, data_root)
    training, testing, rejected = read_sources(
        train, test, wanted.dataset, side=wanted.side, label_column=wanted.label_column
    )
    if testing is None:
        if wanted.hold_out is None:
            raise ConfigError(
                f"{wanted.dataset} has no test set here", hint="give --test URI, or --hold-out 0.2 to make one of train"
            )
        training, testing = hold_out(training, wanted.hold_out, seed)
    differs = tuple(_list_differences(wanted.dataset, train))
    return ProbeData(training, testing, rejected, differs)


def _list_differences(dataset: str, source: Source) -> Iterator[str]:
    """What of torchvision's data sets is not as published where a source stands in for them, by its first image."""
    if dataset in TORCHVISION and _read_first_format(source) == "jpeg":
        yield f"{dataset} as JPEG in place of exact pixels"


def _read_first_format(source: Source) -> str:
    """The format of the first image that can be read."""
    for record in (record for split in source.splits() for record in source.read(split)):
        with suppress(ImageRejected):
            return read_header(record.image).format
    return ""


def _find_test(wanted: Wanted, data_root: Path) -> Source | None:
    """The test set: as given, or what lies beside a registry's ``train*``; None where one is to be made."""
    if wanted.test is not None:
        return open_source(wanted.test)
    if wanted.train is not None or wanted.hold_out is not None:
        return None
    own = load_registry().dataset(wanted.dataset).uri(data_root)
    beside = own.replace(TRAIN_FILES, TEST_FILES)
    return None if beside == own else open_source(beside)
