"""Network guard: tests talk to this machine alone, and whatever tries otherwise is stopped and written down.

Connections and datagrams to addresses outside 127.0.0.0/8, ::1 and the file system, and look-ups of names that need a
name server, raise before a packet leaves. Each also becomes a line in a file, by which `conftest` fails the test during
which it happened, though the code under test may have swallowed the error. `guard/sitecustomize.py` brings the guard
into every Python that a test starts. What compiled libraries do by themselves, without Python's sockets, escapes it.
"""

import ipaddress
import os
import re
import socket
import sys
import traceback
from collections.abc import Callable, MutableMapping
from functools import wraps
from pathlib import Path
from typing import Any

RECORD = "NETWORK_GUARD_RECORD"  # environment variable: the file of violations
GUARD = str(Path(__file__).parent / "guard")

_LOCAL_FAMILIES = {getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK") if hasattr(socket, name)}
_NUMBER = r"(0x[0-9a-f]*|[0-9]+)"
_NUMERIC_HOST = re.compile(rf"{_NUMBER}(\.{_NUMBER}){{0,3}}|[0-9a-f.]*:[0-9a-f:.]*(%\w+)?", re.IGNORECASE)

_is_installed = False


class OutsideConnection(RuntimeError):
    """Something tried to leave this machine. No OSError, so that few expect it."""


def install(record: Path) -> None:
    """Guard this process, for as long as it lives, and through the environment all that it starts."""
    global _is_installed  # noqa: PLW0603  # an audit hook cannot be removed or asked for
    os.environ[RECORD] = str(record)
    pass_on(os.environ)
    if not _is_installed:
        _is_installed = True
        sys.addaudithook(_watch)
        for method in ("bind", "connect", "connect_ex", "sendto", "sendmsg"):
            setattr(socket.socket, method, _without_look_up(getattr(socket.socket, method)))


def pass_on(environment: MutableMapping[str, str]) -> None:
    """Let a Python that is started in this environment find the guard."""
    path = environment.get("PYTHONPATH", "")
    if GUARD not in path.split(os.pathsep):
        environment["PYTHONPATH"] = os.pathsep.join([GUARD, *path.split(os.pathsep)] if path else [GUARD])
    environment.setdefault(RECORD, os.environ[RECORD])


class Violations:
    """The violations in a file, each handed out once."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._read_bytes = 0

    def new(self) -> list[str]:
        """Those that came since the last call."""
        content = self._record.read_bytes()[self._read_bytes :] if self._record.exists() else b""
        self._read_bytes += len(content)
        return content.decode(errors="replace").splitlines()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook (https://docs.python.org/3/library/audit_events.html)."""
    match event, arguments:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (sock, address)):
            if address is not None and not _stays_here(sock.family, address):
                _forbid(f"{event} to {address!r}")
        case (("socket.getaddrinfo" | "socket.gethostbyname"), (host, *_)):
            if _needs_name_server(host):
                _forbid(f"{event} of {host!r}")
        case "socket.gethostbyaddr", (host,):
            if not _is_loopback(host):
                _forbid(f"{event} of {host!r}")
        case "socket.getnameinfo", ((host, *_),):
            if not _is_loopback(host):
                _forbid(f"{event} of {host!r}")
        case "subprocess.Popen", (*_, environment) if isinstance(environment, dict):
            pass_on(environment)


def _without_look_up(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of sockets that first sees to it that no name is looked up: that happens ahead of the audit event."""

    @wraps(method)
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        address = arguments[-1] if arguments else None
        if isinstance(address, tuple) and self.family in {socket.AF_INET, socket.AF_INET6}:
            host = address[0] if address else None
            if _needs_name_server(host):
                _forbid(f"socket.{method.__name__} with the name {host!r}")
        return method(self, *arguments)

    return guarded


def _stays_here(family: int, address: Any) -> bool:
    if family in _LOCAL_FAMILIES:
        return True
    return isinstance(address, tuple) and bool(address) and _is_loopback(address[0])


def _is_loopback(host: Any) -> bool:
    name = _text(host).lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _needs_name_server(host: Any) -> bool:
    name = _text(host).lower()
    return name not in {"", "localhost"} and not _NUMERIC_HOST.fullmatch(name)


def _text(host: Any) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes | bytearray) else str(host or "")


def _forbid(what: str) -> None:
    frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_stack(limit=9)[:-2]]
    test = os.environ.get("PYTEST_CURRENT_TEST", "no test")
    line = f"{what} during {test} in process {os.getpid()} at {' > '.join(frames)}".replace("\n", " ")
    with Path(os.environ[RECORD]).open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"{line}\n")
    raise OutsideConnection(f"a test must not leave this machine: {line}")
