"""Lease: who works in a folder where no lock ends with its process. A holder's name in; the folder for itself out.

Keeps two runs apart under "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" when
they meet below one URL. The holder writes a sign of life every few seconds; who finds the last one old takes over.

Leases are objects with rising numbers, and the highest one holds. To take over is to create the next number, which the
service lets one of several succeed in; a holder that was away too long (asleep, cut off) sees the higher number and
stops. The machines' clocks must agree to within some seconds.
"""

import _thread
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.errors import CleanshardsError, DatasetLocked

if TYPE_CHECKING:
    from pipelines.remote import RemoteFolder

LEASE_S = 60.0  # after the last sign of life
SIGNS_PER_LEASE = 6
PREFIX = ".lease-"


@dataclass(slots=True)
class _Lease:
    """One holder's: an object in the folder, and the thread that keeps it fresh."""

    folder: "RemoteFolder"
    name: str
    content: dict[str, Any]
    stopping: threading.Event = field(default_factory=threading.Event)
    is_lost: bool = False

    def keep(self) -> None:
        while not self.stopping.wait(LEASE_S / SIGNS_PER_LEASE):
            try:
                if _highest(self.folder) != self.name or self._is_overwritten():
                    self.is_lost = True
                    _interrupt()
                    return
                self.folder.write(self.name, _sign(self.content))
            except (CleanshardsError, FileNotFoundError):
                continue  # the work meets the same trouble, and says so

    def _is_overwritten(self) -> bool:
        """By another that created it at the same time, where the service cannot tell."""
        return bool(json.loads(self.folder.read(self.name))["token"] != self.content["token"])


def _interrupt() -> None:
    """Ctrl-C, as if the user had given it: the work may be waiting for something."""
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        _thread.interrupt_main()


@contextmanager
def hold_lease(folder: "RemoteFolder", holder: str) -> Iterator[None]:
    """Hold a folder while the block runs; see `pipelines.stage.dataset_lock`.

    Raises:
        DatasetLocked: another run holds it, or took it over while this one gave no sign of life.
    """
    lease = _take(folder, holder)
    thread = threading.Thread(target=lease.keep, daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if lease.is_lost:
            raise DatasetLocked(
                f"{folder} was taken over by another run, for this one gave no sign of life for {LEASE_S:g} s",
                hint="let the other one end; the same command then goes on where it is",
            ) from None
        raise
    finally:
        lease.stopping.set()
        thread.join()
        if not lease.is_lost:
            folder.remove(lease.name)


def _take(folder: "RemoteFolder", holder: str) -> _Lease:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    content = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": since,
        "holder": holder,
        "token": secrets.token_hex(8),
    }
    while True:
        highest = _highest(folder)
        if highest:
            _refuse_live(folder, highest)
        name = f"{PREFIX}{int(highest.removeprefix(PREFIX) or 0) + 1:08d}"
        if not folder.create(name, _sign(content)):
            continue
        if _highest(folder) == name:
            for older in [other for other in folder.listing() if other.startswith(PREFIX) and other < name]:
                folder.remove(older)
            return _Lease(folder, name, content)
        folder.remove(name)


def _highest(folder: "RemoteFolder") -> str:
    return max((name for name in folder.listing() if name.startswith(PREFIX)), default="")


def _refuse_live(folder: "RemoteFolder", name: str) -> None:
    """DatasetLocked where the lease's last sign of life is young."""
    try:
        lease = json.loads(folder.read(name))
        age_s = time.time() - lease["alive_at"]
        who = f"process {lease['pid']} of {lease['host']} since {lease['since']}: {lease['holder']}"
    except FileNotFoundError:  # its holder has just ended
        return
    except (ValueError, KeyError, TypeError):  # nothing that we wrote
        return
    if age_s < LEASE_S:
        raise DatasetLocked(
            f"{folder} is in use by {who}",
            hint=f"wait for it to end, or stop it; then run the same command again (had it been killed: in "
            f"{LEASE_S - age_s:.0f} s)",
        )


def _sign(content: dict[str, Any]) -> bytes:
    return json.dumps({**content, "alive_at": time.time()}).encode()
