"""Weights: a small network and a note of what it was fitted to in; a safetensors file, and both of them back, out.

Stands beside "clean shards → DCGAN": what is fitted to pictures once, to measure by, is kept so. No code is in the
file, and weights that are not those that were saved are refused.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from pipelines.errors import ConfigError, IntegrityError
from pipelines.store import write_atomically


def digest_weights(network: nn.Module) -> str:
    """SHA-256 (hex) of a network's names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_network(path: Path, network: nn.Module, kind: str, origin: Mapping[str, Any]) -> None:
    """Write a network and its origin, of plain numbers and strings; makes the folder."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    note = {"sha256": digest_weights(network), "origin": dict(origin)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(weights, metadata={kind: json.dumps(note)}))


def load_network(path: Path, network: nn.Module, kind: str, *, hint: str) -> dict[str, Any]:
    """Read what `save_network` wrote into a network of the same shape; returns its origin.

    Args:
        path: of the file.
        network: its weights are replaced.
        kind: what it is, in words.
        hint: how to come by one.

    Raises:
        ConfigError: there is no such file.
        IntegrityError: it is damaged, or holds something else.
    """
    if not path.is_file():
        raise ConfigError(f"there is no {kind} {path}", hint=hint)
    try:
        with safe_open(path, "pt") as file:
            note = json.loads(file.metadata()[kind])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        network.load_state_dict(weights)
        if digest_weights(network) != note["sha256"]:
            raise ValueError("its weights are not those that were saved")
        origin: dict[str, Any] = note["origin"]
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise IntegrityError(f"{kind} {path} cannot be read ({first_line})", hint=hint) from error
    return origin
