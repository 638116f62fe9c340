"""Watchdog: the time that a thread may take for what it does with a server, whatever the server does.

A part of the arrow "URLs → photographs". A socket's own timeout begins anew with every byte. So each thread says for
how long it will be at work, and which socket it uses; one thread shuts down the sockets of those whose time is over,
which ends any wait for them.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_LOOKS_EVERY_S = 0.2


@dataclass(slots=True)
class Watch:
    """One thread's time."""

    deadline: float
    connection: socket.socket | None = None
    expired: bool = False


class Watchdog:
    """Shuts down the socket of each thread whose time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[int, Watch] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        threading.Thread(target=self._patrol, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    @contextmanager
    def watch(self, total_s: float) -> Iterator[Watch]:
        """Give this thread so much time for the block."""
        watch = Watch(time.monotonic() + total_s)
        thread = threading.get_ident()
        with self._lock:
            self._watches[thread] = watch
        try:
            yield watch
        finally:
            with self._lock:  # from here on the socket is not touched, and may serve another thread
                del self._watches[thread]

    def use(self, connection: socket.socket) -> None:
        """Note the socket that this thread is about to use.

        Raises:
            TimeoutError: its time is over already.
        """
        watch = self._watches.get(threading.get_ident())
        if watch is not None:
            watch.connection = connection
            if watch.expired:
                raise TimeoutError("the time is over")

    def expire_all(self) -> None:
        """End every block's time now."""
        self._expire(float("inf"))

    def _patrol(self) -> None:
        while not self._stopped.wait(_LOOKS_EVERY_S):
            self._expire(time.monotonic())

    def _expire(self, now: float) -> None:
        with self._lock:
            for watch in self._watches.values():
                if watch.deadline <= now:
                    watch.expired = True
                    if watch.connection is not None:
                        with suppress(OSError):  # not connected any more
                            # Not SSLSocket's own, which would take the encryption from under the thread that reads.
                            socket.socket.shutdown(watch.connection, socket.SHUT_RDWR)
