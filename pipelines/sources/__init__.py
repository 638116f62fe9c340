"""Source: where records come from. A URI in, splits and records out; nothing is ever written to a source.

==========================  ============================================  ===================================
URI                         what                                          key of a record
==========================  ============================================  ===================================
``lmdb:PATH``               LSUN's LMDB: any environment key → image      the LMDB key
``folder:PATH``             image files, at any depth                     path below PATH
``webdataset:PATTERN``      WebDataset tars (glob, braces or a folder)    tar / member
``parquet:PATTERN``         Hugging Face parquet, ``image`` or ``img``    file / row
``imagenet:PATH``           ImageNet-1k's tar of tars, or its folders     wnid / file; wnid is its ``label``
``shards:PATH``             a finished folder of our own shards           the key it had
==========================  ============================================  ===================================
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.sources.base import Source, Split, digest_split, pick_records
from pipelines.sources.folders import FolderSource, ImagenetFolderSource
from pipelines.sources.lmdbs import LmdbSource
from pipelines.sources.several import Member, SeveralSources
from pipelines.sources.tables import ParquetSource
from pipelines.sources.tars import ImagenetTarSource, ShardsSource, WebdatasetSource

__all__ = ["Member", "SeveralSources", "Source", "Split", "digest_split", "open_source", "pick_records"]


def open_source(uri: str) -> Source:
    """The source that a URI names; see the table above.

    Raises:
        ConfigError: unknown scheme.
        SourceError: nothing, or something else, is there.
    """
    scheme, _, path = uri.partition(":")
    if scheme not in _SCHEMES or not path:
        raise ConfigError(
            f"{uri!r} names no source", hint=f"give one of {', '.join(f'{known}:PATH' for known in _SCHEMES)}"
        )
    return _SCHEMES[scheme](os.path.expanduser(path))  # noqa: PTH111 (a pattern; shells leave a ~ after a colon)


def _open_imagenet(path: str) -> Source:
    return ImagenetFolderSource(path) if Path(path).is_dir() else ImagenetTarSource(path)


_SCHEMES: Mapping[str, Callable[[str], Source]] = {
    "lmdb": LmdbSource,
    "folder": FolderSource,
    "webdataset": WebdatasetSource,
    "parquet": ParquetSource,
    "imagenet": _open_imagenet,
    "shards": ShardsSource,
}
