import os
import signal
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import network_guard
import pytest
from hypothesis import settings

# A shell that starts us in the background has us ignore Ctrl-C, and so would the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Readline, which pytest imports, tells pytest's workers that there are 80 columns; consoles would keep to them.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

settings.register_profile("cleanshards", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("cleanshards")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
VIOLATIONS = pytest.StashKey[network_guard.Violations]()
T = TypeVar("T")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures to test with; they are no part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real pictures at {SHARED_DATA}")
    return SHARED_DATA


def pytest_configure(config: pytest.Config) -> None:
    """Guard the network from here on, in this process and in all that it starts."""
    folder = TemporaryDirectory(prefix="network_guard")
    config.add_cleanup(folder.cleanup)
    inherited = None if hasattr(config, "workerinput") else os.environ.get(network_guard.RECORD)
    record = Path(inherited or f"{folder.name}/violations")  # workers of one run each have their own
    network_guard.install(record)
    config.stash[VIOLATIONS] = network_guard.Violations(record)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, T, T]:
    try:
        return (yield)
    finally:
        fail_on_violations(item.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, T, T]:
    """What fixtures did, and processes that outlive the call."""
    try:
        return (yield)
    finally:
        fail_on_violations(item.config)


def fail_on_violations(config: pytest.Config) -> None:
    violations = config.stash[VIOLATIONS].new()
    if violations:
        pytest.fail("\n".join(["the network was not left alone:", *violations]), pytrace=False)
