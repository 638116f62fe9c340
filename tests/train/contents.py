"""What is in a checkpoint, to compare with another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from train import checkpoint


def last_checkpoint(run_folder: Path) -> dict[str, Any]:
    return checkpoint.read(checkpoint.find_checkpoints(run_folder)[-1])


def differences(a: object, b: object) -> list[str]:
    """The places in two nests of dicts and lists that do not hold the same, to the bit."""
    first, second = dict(_leaves(a, "")), dict(_leaves(b, ""))
    missing = sorted(first.keys() ^ second.keys())
    return missing + [name for name in first.keys() & second.keys() if not _equal(first[name], second[name])]


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, f"{name}.{key}")
    else:
        yield name, value


def _equal(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
