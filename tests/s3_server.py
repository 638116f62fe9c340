"""S3 on this machine: moto's server on the loopback interface, with credentials that mean nothing.

A test module takes the fixtures over by importing them: ``from s3_server import s3, s3_root``.
"""

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

_numbers = count()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server with one bucket, for this process and all that it starts; gives the bucket's URL."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    import s3fs

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "CLEANSHARDS_CACHE": str(tmp_path_factory.mktemp("cache")),
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # what is there may know another server
        bucket = f"shards-{next(_numbers)}"  # servers of one process share what they hold
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3_root(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL below which nothing lies, with a cache of its own."""
    monkeypatch.setenv("CLEANSHARDS_CACHE", str(tmp_path / "cache"))
    return f"{s3}/{next(_numbers)}"
