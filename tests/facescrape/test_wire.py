"""The wire: which addresses are public, and that no connection leads to any other, whatever a name says."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from hostile import World, answer, redirect
from hypothesis import given
from hypothesis import strategies as st

from facescrape.web.wire import Internet, PrivateAddress, Replay, Unresolved, is_public, open_session, user_agent

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
# fmt: off
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808",
    "2002:7f00:1::1", "2002:a00:1::1", "2001:0:808:808::1", "2001:db8::1", "fc00::1", "fd00::1", "fe80::1",
    "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1", "100::1", "4000::1", "nonsense",
]
# fmt: on


@pytest.mark.parametrize("address", PUBLIC)
def test_hosts_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_everything_else_is_not(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_as_public_as_itself(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | number)
    nat64 = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number)
    six_to_four = ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1)
    assert {is_public(str(outer)) for outer in (mapped, nat64, six_to_four)} == {is_public(str(inner))}


@given(st.ip_addresses())
def test_what_is_public_is_global_and_no_multicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.text(max_size=200))
def test_the_user_agent_is_one_line_of_ascii(contact: str) -> None:
    agent = user_agent(contact)
    assert agent.startswith("cleanshards/")
    assert agent.isascii() and agent.isprintable()
    assert agent.count("(") == agent.count(")") == 1


def test_the_user_agent_says_whom_to_write_to() -> None:
    assert "me@example.org" in user_agent("me@example.org")
    assert "no contact" in user_agent(None)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1", "0", "[::1]", "[::ffff:7f00:1]"])
def test_a_replay_takes_numeric_hosts_for_what_they_are(host: str) -> None:
    wire = Replay(("127.0.0.1", 9))
    assert not any(map(is_public, wire.resolve(host.strip("[]"), 80)))


def test_a_replay_makes_up_public_addresses() -> None:
    wire = Replay(("127.0.0.1", 9))
    addresses = [wire.resolve(host, 443) for host in ("dbpedia.org", "DBpedia.org.", "upload.wikimedia.org")]
    assert addresses[0] == addresses[1] != addresses[2]
    assert all(is_public(address) for found in addresses for address in found)
    assert wire.resolve("pictures.localhost", 80) == ["127.0.0.1"]
    with pytest.raises(OSError, match="has no address"):
        wire.resolve("nobody.invalid", 80)


def test_a_replay_plays_on_loopback_only() -> None:
    with pytest.raises(ValueError, match="no loopback"):
        Replay(("93.184.216.34", 80))


def test_a_session_reaches_names_through_the_wire() -> None:
    hello = answer(b"hello", headers=[("Set-Cookie", "a=b")])
    with World({"example.org": {"/hello": hello}}) as world, open_session(world, "me/1") as session:
        for url in ("http://example.org/hello", "https://example.org/hello", "http://example.org:8080/hello"):
            assert session.get(url, timeout=5).text == "hello"
        assert not session.cookies
        assert world.connects == ["93.184.0.1"] * 3


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.0.0.1", "[::1]", "169.254.169.254", "inner.example"])
def test_a_private_host_is_refused_before_any_connection(host: str) -> None:
    addresses = {"inner.example": [["93.184.216.34", "10.0.0.1"]]}  # one of them is enough
    with World({}, addresses) as world, open_session(world, "me/1") as session:
        with pytest.raises(PrivateAddress):
            session.get(f"http://{host}/", timeout=5)
        with pytest.raises(requests.ConnectionError):
            session.get(f"https://{host}/", timeout=5)
        assert world.connects == []


def test_a_redirect_to_a_private_host_is_refused() -> None:
    site = {"/": redirect("http://127.0.0.1/secret")}
    with World({"example.org": site}) as world, open_session(world, "me/1") as session:
        with pytest.raises(PrivateAddress):
            session.get("http://example.org/", timeout=5)
        assert world.private_connects() == []


def test_a_name_that_changes_its_address_gains_nothing() -> None:
    """It is looked up once per connection, and the connection goes to what was looked at."""
    addresses = {"fickle.example": [["93.184.216.34"], ["127.0.0.1"]]}
    site = {"/": answer(b"hello")}
    with World({"fickle.example": site}, addresses) as world, open_session(world, "me/1") as session:
        assert session.get("http://fickle.example/", timeout=5).text == "hello"
        with pytest.raises(PrivateAddress):
            session.get("http://fickle.example/", timeout=5)
        assert world.connects == ["93.184.216.34"]


def test_private_hosts_can_be_allowed() -> None:
    site = {"inner.example": {"/": answer(b"hello")}}
    with World(site, {"inner.example": [["10.0.0.1"]]}) as world:
        with open_session(world, "me/1", public_only=False) as session:
            assert session.get("http://inner.example/", timeout=5).text == "hello"
        assert world.connects == ["10.0.0.1"]


@pytest.mark.parametrize("host", ["nobody.example", "a" * 64 + ".example"])
def test_a_name_without_address_says_so(host: str) -> None:
    with World({}) as world, open_session(world, "me/1") as session, pytest.raises(Unresolved):
        session.get(f"http://{host}/", timeout=5)


def test_the_next_address_is_tried_where_one_refuses() -> None:
    addresses = {"example.org": [["93.183.0.1", "93.184.216.34"]]}  # the first one refuses
    with World({"example.org": {"/": answer(b"hello")}}, addresses) as world, open_session(world, "me/1") as session:
        assert session.get("http://example.org/", timeout=5).text == "hello"
        assert world.connects == ["93.183.0.1", "93.184.216.34"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with World({"example.org": {"/": answer(b"hello")}}) as world, open_session(world, "me/1") as session:
        assert session.get("http://example.org/", timeout=5).text == "hello"
        assert session.get("http://example.org/", timeout=5, proxies={"http": "http://127.0.0.1:9"}).text == "hello"


@contextmanager
def plain_server() -> Iterator[int]:
    """Answers whatever it is sent, and so no TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_the_internet_encrypts() -> None:
    with plain_server() as port, pytest.raises(requests.exceptions.SSLError):
        open_session(Internet(), "me/1", public_only=False).get(f"https://127.0.0.1:{port}/", timeout=5, verify=False)


def test_sockets_are_reported_before_each_use() -> None:
    seen: list[type] = []
    with plain_server() as port:
        session = open_session(Internet(), "me/1", public_only=False, on_socket=lambda used: seen.append(type(used)))
        with session, pytest.raises(requests.exceptions.SSLError):
            session.get(f"https://127.0.0.1:{port}/", timeout=5)
    assert seen[0] is socket.socket
    assert issubclass(seen[1], ssl.SSLSocket)
