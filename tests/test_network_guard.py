"""The guard itself: each violation takes place in a process whose record is not the suite's."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import network_guard
import pytest
from helpers import TESTS, python_process

WORKER = """
import multiprocessing, socket, sys

def work(host):
    try:
        socket.create_connection((host, 80), 0.1)
    except Exception as error:
        return type(error).__name__

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(work, (sys.argv[1],)))
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's subprocesses write what they did."""
    monkeypatch.setenv(network_guard.RECORD, str(tmp_path / "violations"))
    return tmp_path / "violations"


def run(code: str, *arguments: object) -> str:
    out, err = python_process(code, *arguments).communicate(timeout=60)
    assert not err, err
    return out.strip()


ATTEMPTS = [
    "s.connect(('192.0.2.1', 80))",
    "s.connect_ex(('192.0.2.1', 80))",
    "s.connect(('0.0.0.0', 80))",
    "s.connect(('10.0.0.1', 80))",
    "s.connect(('name.invalid', 80))",
    "s.connect_ex(('name.invalid', 80))",
    "s.bind(('name.invalid', 0))",
    "u.sendto(b'x', ('192.0.2.1', 53))",
    "u.sendto(b'x', 0, ('name.invalid', 53))",
    "u.sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
    "u.connect(('8.8.8.8', 53))",
    "six.connect(('2001:db8::1', 80))",
    "six.connect(('::ffff:192.0.2.1', 80, 0, 0))",
    "socket.create_connection(('192.0.2.1', 80), 0.1)",
    "socket.create_connection(('name.invalid', 80), 0.1)",
    "socket.getaddrinfo('name.invalid', 80)",
    "socket.getaddrinfo(b'name.invalid', 80)",
    "socket.gethostbyname('name.invalid')",
    "socket.gethostbyname_ex('name.invalid')",
    "socket.gethostbyaddr('192.0.2.1')",
    "socket.getnameinfo(('192.0.2.1', 80), 0)",
    "requests.get('http://name.invalid/')",
    "urllib.request.urlopen('http://192.0.2.1/')",
]


def test_every_way_out_is_stopped_and_written_down(record: Path) -> None:
    code = f"""
import requests, socket, urllib.request
s = socket.socket()
u = socket.socket(type=socket.SOCK_DGRAM)
six = socket.socket(socket.AF_INET6) if socket.has_ipv6 else s
s.settimeout(0.1), six.settimeout(0.1)
for attempt in {ATTEMPTS!r}:
    try:
        eval(attempt)
        print("passed", attempt)
    except RuntimeError as error:
        assert type(error).__name__ == "OutsideConnection", error
"""
    assert run(code) == ""
    violations = record.read_text().splitlines()
    assert len(violations) == len(ATTEMPTS)
    assert "192.0.2.1" in violations[0]
    assert all(test_every_way_out_is_stopped_and_written_down.__name__ in line for line in violations), violations[0]


def test_what_stays_here_is_let_through(record: Path, tmp_path: Path) -> None:
    code = f"""
import socket
servers = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.9", 0)), (socket.AF_INET6, ("::1", 0))]
for family, address in [*servers, (socket.AF_UNIX, {str(tmp_path / "socket")!r})]:
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind(address)
        except OSError:
            continue  # no IPv6 here
        server.listen()
        client.connect(server.getsockname())
        client.sendmsg([b"x"])
with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
    one.bind(("localhost", 0))
    other.sendto(b"x", one.getsockname())
    print(one.recv(1).decode())
for host in ("localhost", b"127.0.0.1", "2130706433", "0x7f000001", "017700000001", "93.184.216.34", "::1", None):
    socket.getaddrinfo(host, 80)
socket.getfqdn("127.0.0.1")
"""
    assert run(code) == "x"
    assert not record.exists()


def test_a_spawned_worker_is_guarded(record: Path, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    done = subprocess.run(
        [sys.executable, tmp_path / "worker.py", "192.0.2.1"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "OutsideConnection"
    assert len(record.read_text().splitlines()) == 1


@pytest.mark.parametrize("environment", [{}, {"PYTHONPATH": "/nowhere"}, {"PYTHONPATH": ""}])
def test_a_subprocess_with_an_environment_of_its_own_is_guarded(record: Path, environment: dict[str, str]) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 0.1)"
    given = {network_guard.RECORD: str(record), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert "OutsideConnection" in done.stderr
    assert len(record.read_text().splitlines()) == 1


def test_another_sitecustomize_has_its_turn(record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('customized')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path)]))
    assert run("import sys; print('network_guard' in sys.modules)").splitlines() == ["customized", "True"]


SUITE = """
import socket, subprocess, sys, pytest

SWALLOWS = '''
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 0.1)
except Exception:
    pass
'''

def test_good():
    assert socket.getaddrinfo("localhost", 80)

def test_swallows():
    exec(SWALLOWS)

def test_fine_again():
    pass

def test_subprocess_swallows():
    subprocess.run([sys.executable, "-c", SWALLOWS], check=True)

@pytest.fixture
def messy():
    yield
    exec(SWALLOWS)

def test_in_teardown(messy):
    pass
"""


def test_a_test_fails_for_what_the_code_under_it_swallowed(record: Path, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-rA", "test_suite.py"]
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(TESTS)])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    ends = {
        line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERR"))
    }
    assert ends == {
        "PASSED test_suite.py::test_good",
        "FAILED test_suite.py::test_swallows",
        "PASSED test_suite.py::test_fine_again",
        "FAILED test_suite.py::test_subprocess_swallows",
        "PASSED test_suite.py::test_in_teardown",
        "ERROR test_suite.py::test_in_teardown",
    }, done.stdout
    assert done.returncode == 1
    assert "192.0.2.1" in done.stdout


def test_this_very_process_is_guarded() -> None:
    assert socket.socket.connect.__wrapped__  # type: ignore[attr-defined]
    assert network_guard.GUARD in os.environ["PYTHONPATH"].split(os.pathsep)
