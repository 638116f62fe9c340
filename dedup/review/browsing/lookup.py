"""Lookup: an encoded picture in; the images of a data set that resemble it out, by a process of its own.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". What it stands on (`dedup.comparison.index`) takes torch, seconds and hundreds
of megabytes, which the server that shows the pages does without; and a picture that brings a decoder down, brings down
none but this process, which the next question starts again.
"""

import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from dedup.comparison.match import Match
from pipelines.errors import CleanshardsError, StageError
from pipelines.images import ImageRejected
from pipelines.store import Folder

IDLE_S = 600  # after so long without a question the process ends


class Lookup:
    """Finds pictures in a data set, one at a time; nothing is started before the first is asked for."""

    def __init__(self, root: Folder) -> None:
        self._root, self._lock = root, threading.Lock()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def query(self, image: bytes, at_least: int) -> list[Match]:
        """See `dedup.comparison.index.Index.query`.

        Raises:
            ImageRejected: it cannot be decoded.
            CleanshardsError: the data set cannot be opened any more, or the process ended without an answer.
        """
        with self._lock:
            connection = self._connect()
            try:
                connection.send((image, at_least))
                answer = connection.recv()
            except (EOFError, OSError) as error:
                self._end()
                raise StageError("the search ended without an answer", hint="try a smaller picture") from error
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def _connect(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._end()
        # Spawned: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, self._root), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is heard here, and ours there
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.join(1)
        self._connection = self._process = None


def _answer(connection: Connection, root: Folder) -> None:
    """Answer questions until the one who asks them is gone, or has none for long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, whose end is heard
    from dedup.comparison.index import Index

    index: Index | None = None
    while connection.poll(IDLE_S):
        try:
            image, at_least = connection.recv()
        except EOFError:
            return
        try:
            index = index or Index.open(root)
            connection.send(index.query(image, at_least=at_least))
        except (ImageRejected, CleanshardsError) as error:
            connection.send(error)
