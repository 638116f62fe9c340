"""Device: what the user asks for in, where the networks are put out."""

from enum import StrEnum

import torch

from pipelines.errors import ConfigError


class Device(StrEnum):
    """Where networks are trained and drawn with."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def choose_device(device: Device) -> torch.device:
    """The device itself, a GPU for ``auto`` where there is one.

    Raises:
        ConfigError: a GPU is asked for, and there is none.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, and there is no GPU that torch can use", hint="give --device auto")
    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
