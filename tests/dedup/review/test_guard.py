"""Attacks on the page: each is something that a browser, or another program of the machine, could really send."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from served import Served

from dedup.review.guard import LARGEST_BODY_BYTES, POLICY

VERDICT = {"place": 0, "verdict": "same"}


def ask_raw(review: Served, method: str, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """A request as it is written: no client tidies its path or its host."""
    address = urlsplit(review.origin)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    sent = {"Cookie": cookie_of(review), **headers}
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return content


def cookie_of(review: Served) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in review.session.cookies)


def judgements(review: Served) -> int:
    return int(review.get("/api/samples/dropped")["judged"])


@pytest.mark.parametrize("path", ["/judge", "/api/samples/dropped", "/pictures/0", "/static/judge.js"])
@pytest.mark.parametrize("token", ["", "?token=", "?token=guess"])
def test_nothing_is_shown_without_the_token(served: Served, path: str, token: str) -> None:
    answer = requests.get(served.origin + path + token, timeout=30)
    assert answer.status_code == 401
    assert "Open the address that" in answer.text


def test_the_token_leaves_the_address_and_stays_with_the_browser(served: Served) -> None:
    answer = requests.get(f"{served.url}&x=1", allow_redirects=False, timeout=30)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/judge?x=1"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie


def test_a_token_leads_to_no_other_host(served: Served) -> None:
    token = urlsplit(served.url).query
    status, _, headers = ask_raw(served, "GET", f"//evil.example/x?{token}", Cookie="")
    assert status == 303
    assert headers["location"].startswith("/evil.example/"), "a path of this host"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "", "127.0.0.1.evil.example:{port}"])
def test_another_host_is_not_answered(served: Served, host: str) -> None:
    port = str(urlsplit(served.origin).port)
    status, body, _ = ask_raw(served, "GET", "/judge", Host=host.replace("{port}", port))
    assert status in {400, 421}
    assert b"judge" not in body


def test_localhost_is_this_host(served: Served) -> None:
    status, _, _ = ask_raw(served, "GET", "/judge", Host=f"localhost:{urlsplit(served.origin).port}")
    assert status == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://{host}", "http://localhost:1", ""])
def test_another_site_changes_nothing(served: Served, origin: str | None) -> None:
    before = judgements(served)
    headers = {} if origin is None else {"Origin": origin.replace("{host}", urlsplit(served.origin).netloc)}
    for path in ("/api/samples/dropped", "/api/samples/dropped/undo"):
        answer = served.session.post(served.origin + path, json=VERDICT, headers=headers, timeout=30)
        assert answer.status_code == 403
    # A form of another site sends no JSON, and needs no leave of anybody.
    form = {**headers, "Content-Type": "text/plain"}
    answer = served.session.post(f"{served.origin}/api/samples/dropped", json.dumps(VERDICT), headers=form, timeout=30)
    assert answer.status_code == 403
    assert judgements(served) == before


def test_no_other_site_may_read(served: Served) -> None:
    headers = {"Origin": "http://evil.example"}
    answer = served.session.get(f"{served.origin}/api/samples/dropped", headers=headers, timeout=30)
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    answer = served.session.options(f"{served.origin}/api/samples/dropped", headers=headers, timeout=30)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../guard.py",
        "/static/..%2fguard.py",
        "/static/%2e%2e/guard.py",
        "/static/..%5cguard.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/judge.js%00.css",
        "/pictures/../../report.json",
        "/pictures/..%2f..%2freport.json",
        "/pictures/-1",
        "/pictures/99999999999999999999",
        "/pictures/0x0",
        "/thumbnails/1e3",
        "/../../../../etc/passwd",
        "/api/samples/..%2f..%2freport",
        "/api/samples/dropped/-1",
        "/api/samples/dropped/99999999",
    ],
)
def test_no_path_leads_out(served: Served, path: str) -> None:
    status, body, _ = ask_raw(served, "GET", path)
    assert status in {400, 404, 422}
    assert b"root:" not in body and b"Guard" not in body and b'"kept"' not in body


def test_every_answer_says_what_a_browser_may_do_with_it(served: Served) -> None:
    for path in ("/judge", "/api/samples/dropped", "/pictures/0", "/static/judge.js", "/nowhere"):
        headers = served.session.get(served.origin + path, timeout=30).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
    assert "'unsafe-inline'" not in POLICY.partition("script-src")[2].partition(";")[0]


def test_a_page_holds_no_script_of_its_own(served: Served) -> None:
    text = served.session.get(f"{served.origin}/judge", timeout=30).text
    assert all('src="/static/' in script for script in text.split("<script")[1:])
    assert " onclick" not in text and " onerror" not in text


def test_uploads_are_bounded_before_they_are_read(served: Served) -> None:
    for headers in ({"Content-Length": str(LARGEST_BODY_BYTES + 1)}, {"Transfer-Encoding": "chunked"}):
        sent = {"Origin": served.origin, "Content-Type": "application/json", **headers}
        status, _, _ = ask_raw(served, "POST", "/api/samples/dropped", **sent)
        assert status in {411, 413}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"place": "x"}', b'{"place": 0, "verdict": "maybe"}'])
def test_what_makes_no_sense_is_refused(served: Served, content: bytes) -> None:
    before = judgements(served)
    headers = {"Origin": served.origin, "Content-Type": "application/json"}
    answer = served.session.post(f"{served.origin}/api/samples/dropped", content, headers=headers, timeout=30)
    assert answer.status_code == 422
    assert judgements(served) == before


def test_a_link_out_of_the_folder_shows_nothing(served: Served, tmp_path: Path) -> None:
    """What lies below the data set's folder is read by the names that manifests give, and by no other."""
    (tmp_path / "secret.txt").write_text("secret")
    review = Path(str(served.process.args[served.process.args.index("--data-root") + 1])) / "set" / "review"  # type: ignore
    review.mkdir(exist_ok=True)
    (review / "link.js").symlink_to(tmp_path / "secret.txt")
    for path in ("/static/link.js", "/review/link.js", "/pictures/link.js", "/static/..%2f..%2freview%2flink.js"):
        status, body, _ = ask_raw(served, "GET", path)
        assert status in {404, 422} and b"secret" not in body
