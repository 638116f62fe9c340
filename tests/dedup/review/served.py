"""The review as its users get it: a process that prints its address, and what a browser would send to it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Served:
    """A running review."""

    process: subprocess.Popen[str]
    url: str
    session: requests.Session

    @property
    def origin(self) -> str:
        return self.url.split("/judge")[0].split("/near_misses")[0]

    def get(self, path: str) -> Any:
        answer = self.session.get(self.origin + path, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def post(self, path: str, content: Any = None) -> Any:
        answer = self.session.post(self.origin + path, json=content, headers={"Origin": self.origin}, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """As Ctrl-C does; returns when the process has ended."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0


def start_review(data_root: Path, *options: str, dataset: str = "set") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dedup.review", dataset, "--data-root", str(data_root), "--no-open", *options],
        cwd=REPOSITORY,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def serving(data_root: Path, *options: str, dataset: str = "set") -> Iterator[Served]:
    """``python -m dedup.review``, until the block ends."""
    process = start_review(data_root, *options, dataset=dataset)
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise AssertionError("".join(said))
        session = requests.Session()
        assert session.get(found[0], timeout=60).ok
        yield Served(process, found[0], session)
    finally:
        process.kill()
        process.communicate()
