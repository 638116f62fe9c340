"""The Hugging Face Hub on the loopback interface: those of its endpoints that an upload asks.

Written after what huggingface_hub sends: create a repository, say what is in it, preupload, LFS batch and PUT, commit.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_test"


@dataclass
class Repository:
    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {".gitattributes": b"*.tar lfs"}})
    commits: list[str] = field(default_factory=list)  # their messages


@dataclass
class Hub:
    """What the stand-in holds, and what it was asked."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    put: list[str] = field(default_factory=list)  # SHA-256 of each object, in the order in which they came
    refused: int = 0  # status of every answer, where it is not 0
    stalls_after: int | None = None  # objects, after which a PUT gets no answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        self.answer(self.body())

    def do_PUT(self) -> None:
        content, oid = self.body(), self.path.rpartition("/")[2]
        while self.hub.stalls_after is not None and len(self.hub.put) >= self.hub.stalls_after:
            time.sleep(0.02)
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.hub.put.append(oid)
        self.send(200, {})

    def answer(self, body: Any) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.hub.refused:
            self.send(self.hub.refused, {"error": "You may not write here"})
            return
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        match parts:
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                assert asked["type"] == "dataset"
                name = f"{asked['organization']}/{asked['name']}"
                known = name in self.hub.repositories
                self.hub.repositories.setdefault(name, Repository(asked["visibility"] == "private"))
                self.send(409 if known else 200, {"url": f"{self.hub.url}/datasets/{name}"})
            case ["api", "validate-yaml"]:
                yaml.safe_load(json.loads(body)["content"].split("\n---\n")[0])
                self.send(200, {"errors": [], "warnings": []})
            case ["datasets", user, name, "info", "lfs", "objects", "batch"]:
                self.send(200, {"objects": [self.lfs_object(asked) for asked in json.loads(body)["objects"]]})
            case ["api", "datasets", user, name, *rest]:
                self.answer_on(self.hub.repositories[f"{user}/{name}"], f"{user}/{name}", rest, body)
            case _:
                self.send(404, {"error": self.path})

    def lfs_object(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.objects:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}}

    def answer_on(self, repository: Repository, name: str, rest: list[str], body: Any) -> None:
        match rest:
            case ["branch", branch]:
                known = branch in repository.branches
                repository.branches.setdefault(branch, dict(repository.branches["main"]))
                self.send(409 if known else 200, {})
            case [] | ["revision", _]:
                sha = hashlib.sha1(json.dumps(repository.commits).encode()).hexdigest()
                self.send(200, {"id": name, "sha": sha, "private": repository.private, "siblings": []})
            case ["tree", branch]:
                files = repository.branches[branch]
                self.send(200, [{"type": "file", "path": path, "size": len(files[path]), "oid": "0"} for path in files])
            case ["preupload", branch]:
                asked = json.loads(body)["files"]
                self.send(200, {"files": [self.upload_mode(repository.branches[branch], file) for file in asked]})
            case ["commit", branch]:
                self.commit(repository, branch, [json.loads(line) for line in body.splitlines()])
                sha = hashlib.sha1(json.dumps(repository.commits).encode()).hexdigest()
                self.send(200, {"commitUrl": f"{self.hub.url}/datasets/{name}/commit/{sha}", "commitOid": sha})
            case _:
                self.send(404, {"error": self.path})

    def upload_mode(self, files: dict[str, bytes], asked: dict[str, Any]) -> dict[str, Any]:
        path, large = asked["path"], asked["path"].endswith((".tar", ".parquet"))
        answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if path in files:
            header = b"blob %d\0" % len(files[path])
            named = hashlib.sha256(files[path]) if large else hashlib.sha1(header + files[path])
            answer["oid"] = named.hexdigest()
        return answer

    def commit(self, repository: Repository, branch: str, lines: list[dict[str, Any]]) -> None:
        files = dict(repository.branches[branch])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    repository.commits.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repository.branches[branch] = files

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HandlerOfOneHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.stalls_after = None
        server.shutdown()
        thread.join()
        server.server_close()
