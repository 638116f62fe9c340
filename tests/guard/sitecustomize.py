"""Found by every Python whose PYTHONPATH names this folder: guards it, and lets another sitecustomize have its turn."""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

HERE = Path(__file__).parent


def load(name: str, where: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if "NETWORK_GUARD_RECORD" in os.environ:
    load("network_guard", HERE.parent / "network_guard.py")
    sys.modules["network_guard"].install(Path(os.environ["NETWORK_GUARD_RECORD"]))

other = PathFinder.find_spec("sitecustomize", [folder for folder in sys.path if Path(folder) != HERE])
if other is not None and other.origin is not None:
    load("sitecustomize", Path(other.origin))
