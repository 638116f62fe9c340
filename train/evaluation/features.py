"""Features: a row of numbers per image, which every metric but memorisation is computed from.

Stands between the images of "clean shards → DCGAN" and the metrics: `train.evaluation.extractors` makes them.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.errors import ConfigError

Features = npt.NDArray[np.float32] | npt.NDArray[np.float64]  # (N, D)

CPU = torch.device("cpu")


def load_rows(features: Features, rows: slice | npt.NDArray[np.int64], device: torch.device) -> Tensor:
    """Rows of features on the device, as float64."""
    return torch.from_numpy(np.ascontiguousarray(features[rows])).to(device).double()


def require_enough(features: Features, least: int, what: str) -> None:
    """Refuse features of fewer than ``least`` images; ConfigError says that ``what`` needs more."""
    if len(features) < least:
        raise ConfigError(f"{len(features)} images are too few for {what}", hint=f"give {least} or more")
