"""Hub: a publication in, a data set's repository on the Hugging Face Hub out.

Where "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" is handed on over the
network. Bytes first, a few shards at a time; then a single commit that names them all. A stopped upload goes on where
it was, for the Hub is asked which bytes it has, and whoever reads meanwhile sees the repository as it was before.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipelines.errors import CleanshardsError, ConfigError, StorageError
from pipelines.manifest import MANIFEST_NAME, Manifest
from pipelines.progress import Progress
from pipelines.publish.publication import DATA, Publication, refuse_damaged

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://datasets/([\w-][\w.-]*/[\w-][\w.-]*)(?:@([^\s@]+))?")
MAIN = "main"
SHARDS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Repository:
    """A data set's repository: ``USER/NAME``, and the branch to commit to."""

    name: str
    revision: str = MAIN

    def __str__(self) -> str:
        return f"{SCHEME}datasets/{self.name}" + (f"@{self.revision}" if self.revision != MAIN else "")


@dataclass(frozen=True, slots=True)
class Upload:
    """How an upload ended: the commit's page, whether only its owner can see it, whether there was anything to do."""

    url: str
    private: bool
    changed: bool


def open_repository(address: str) -> Repository:
    """The repository of ``hf://datasets/USER/NAME[@REVISION]``; ConfigError where it is no such address."""
    match = ADDRESS.fullmatch(address)
    if not match:
        raise ConfigError(f"{address} is no address of a data set on the Hub", hint="such as hf://datasets/USER/NAME")
    return Repository(match[1], match[2] or MAIN)


def require_token() -> None:
    """Ask for what an upload needs, before anything else takes time.

    Raises:
        ConfigError: the package is not installed, or no token is set up.
    """
    if not _import_hub().get_token():
        raise ConfigError(
            "there is no token of the Hugging Face Hub on this machine",
            hint="run: hf auth login; or put one that may write into HF_TOKEN (https://huggingface.co/settings/tokens)",
        )


def upload(publication: Publication, repository: Repository, *, private: bool, progress: Progress) -> Upload:
    """Put a publication into a repository, which is made where there is none.

    Args:
        publication: what to upload.
        repository: where to.
        private: only its owner may see it. One that is there for everybody to see is refused.
        progress: is told the shards.

    Raises:
        ConfigError: the package is missing, or the repository is another's.
        IntegrityError: a shard differs from its manifest.
        StorageError: the Hub cannot be reached, or refuses.
    """
    hub = _import_hub()
    where = {"repo_id": repository.name, "repo_type": "dataset"}
    at = {**where, "revision": repository.revision}
    with _reached(repository):
        api = hub.HfApi()
        api.create_repo(**where, private=private, exist_ok=True)
        if private and not api.repo_info(**where).private:
            raise ConfigError(f"{repository} is there already, for everybody to see", hint="say so with --public")
        if repository.revision != MAIN and not repository.revision.startswith("refs/"):
            api.create_branch(**where, branch=repository.revision, exist_ok=True)
        before = api.repo_info(**at)
        outdated = _find_outdated(publication, set(api.list_repo_files(**at)), repository)
        operations = []
        parts = publication.shards.parts()
        with progress.stage("uploading", total=len(parts), done=0) as advance:
            for start in range(0, len(parts), SHARDS_AT_ONCE):
                batch = parts[start : start + SHARDS_AT_ONCE]
                additions = [addition for part in batch for addition in _add_shard(part)]
                api.preupload_lfs_files(**at, additions=additions)
                operations += additions
                for part in batch:
                    advance(part.records)
        operations += [hub.CommitOperationAdd(name, content) for name, content in publication.small_files().items()]
        operations += [hub.CommitOperationDelete(name) for name in outdated]
        message = f"{publication.dataset}: {publication.images:,} images"
        commit = api.create_commit(**at, operations=operations, commit_message=message)
    return Upload(str(commit.commit_url), bool(before.private), commit.oid != before.sha)


def _add_shard(part: Manifest) -> Iterator[Any]:
    """What adds a shard's files to a repository; they are hashed here, and not again."""
    for file, path in zip(part.shards[0].files, part.paths(""), strict=True):
        addition = _import_hub().CommitOperationAdd(f"{DATA}/{file.name}", path)
        if addition.upload_info.sha256.hex() != file.sha256:
            refuse_damaged(path)
        yield addition


def _find_outdated(publication: Publication, present: set[str], repository: Repository) -> list[str]:
    """What an earlier publication left in ``data/`` and this one has no more.

    Raises:
        ConfigError: what is there was put there by something else.
    """
    others = sorted(name for name in present - set(publication.checksums()) if name.startswith(f"{DATA}/"))
    if others and f"{DATA}/{MANIFEST_NAME}" not in present:
        raise ConfigError(
            f"{repository} holds data that was not published by this: {others[0]}",
            hint="give another name with --to, or remove them there",
        )
    return others


def _import_hub() -> ModuleType:
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise ConfigError(
            f"uploading needs a package that is not installed ({error})", hint="pip install 'cleanshards[hub]'"
        ) from error
    disable_progress_bars()  # there is one already, of shards
    return huggingface_hub


@contextmanager
def _reached(repository: Repository) -> Iterator[None]:
    """What the library raises becomes `StorageError`."""
    try:
        yield
    except CleanshardsError:
        raise
    except Exception as error:  # requests, httpx, the Hub's answers: it depends on the version what comes
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise StorageError(
            f"{repository} failed: {type(cause).__name__}: {cause}",
            hint="check its name, the network, and that the token may write there; the same command then goes on",
        ) from error
