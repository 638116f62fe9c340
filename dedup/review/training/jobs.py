"""Jobs: arguments of ``python -m train.explore`` in; that command at work, what it says, and how it ended, out.

At the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN". One at a
time, as a process of its own and never through a shell; it ends with the server.
"""

import os
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from pipelines.errors import ConfigError

MODULE = "train.explore"
TAIL_LINES = 40
GRACE_S = 5.0

State = Literal["running", "done", "failed", "stopped"]


def say_command(arguments: Sequence[str]) -> str:
    """What a person types for the same."""
    return shlex.join(["python", "-m", MODULE, *arguments])


class Job:
    """A command at work, or at its end.

    Attributes:
        number: counts the jobs of a server, from 1.
        purpose: what it is for.
        arguments: of the command.
    """

    def __init__(self, number: int, purpose: str, arguments: Sequence[str]) -> None:
        self.number, self.purpose, self.arguments = number, purpose, tuple(arguments)
        self._began_s, self._ended_s = time.monotonic(), 0.0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stopped = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "110", "PYTHONUNBUFFERED": "1"},
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def state(self) -> State:
        """Where it stands; it has ended when all that it said is read."""
        if self._reader.is_alive():
            return "running"
        return "stopped" if self._stopped else "failed" if self._process.returncode else "done"

    def describe(self) -> dict[str, Any]:
        """What is told of it.

        Returns:
            number, purpose, state, command, tail (the last lines that it said), error (its own words on why it failed;
            empty where it did not), seconds.
        """
        state, tail = self.state, list(self._tail)
        told = [line for line in tail if line.startswith(("error:", "hint:"))]
        end_s = time.monotonic() if state == "running" else self._ended_s
        return {
            "number": self.number,
            "purpose": self.purpose,
            "state": state,
            "command": say_command(self.arguments),
            "tail": tail,
            "error": " ".join(told or tail[-1:]) if state == "failed" else "",
            "seconds": round(end_s - self._began_s, 1),
        }

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is not None:
            return
        self._stopped = True
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(GRACE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._tail.append(line.rstrip())
        self._process.wait()
        self._ended_s = time.monotonic()


class Jobs:
    """The job of a server: the one that runs, or ran last."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._lock = threading.Lock()

    def start(self, purpose: str, arguments: Sequence[str]) -> dict[str, Any]:
        """Begin one; see `Job.describe`. Raises ConfigError while another one runs."""
        with self._lock:
            if self._job is not None and self._job.state == "running":
                raise ConfigError("another command is at work", hint="wait until it has ended, or stop it")
            self._job = Job(self._job.number + 1 if self._job else 1, purpose, arguments)
            return self._job.describe()

    def describe(self) -> dict[str, Any] | None:
        """See `Job.describe`; None before the first one."""
        return self._job.describe() if self._job else None

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            if self._job is not None:
                self._job.stop()
