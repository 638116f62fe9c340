"""Sources: links of the documentation to files of the repository in; pages of the site that show those files out.

On GitHub a link such as ``../dedup/cluster.py`` leads to the file. The site holds no files but its own, so each file
that a page links to gets a page there, with its text; a folder's has the text of all files in it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")
_LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".csv": "text", ".yml": "yaml"}
_FENCE = "`" * 6  # longer than any in the files


def find_linked(markdown: str, page: Path, docs: Path) -> Iterator[Path]:
    """Files and folders of the repository outside ``docs`` that a page links to, relative to the repository's root.

    Args:
        markdown: the page's text.
        page: where it lies, relative to ``docs``.
        docs: the folder of the documentation, absolute.
    """
    for target in LINK.findall(markdown):
        path = Path(os.path.normpath(docs / page.parent / target))
        if not path.is_relative_to(docs) and path.exists():
            yield path.relative_to(docs.parent)


def relink(markdown: str, page: Path, docs: Path) -> str:
    """The page with those links changed to the pages of these files."""

    def change(match: re.Match[str]) -> str:
        for path in find_linked(f"]({match[1]})", page, docs):
            return Path(os.path.relpath(page_of(path), page.parent)).as_posix()
        return match[1]

    return LINK.sub(change, markdown)


def page_of(path: Path) -> Path:
    """Where in the site's sources the page of a file or a folder lies."""
    return Path("source") / path.with_name(f"{path.name}.md")


def show(path: Path, repository: Path) -> str:
    """A page with a file's text, or with that of all files of a folder."""
    whole = repository / path
    files = sorted(file for file in whole.iterdir() if file.suffix in _LANGUAGES) if whole.is_dir() else [whole]
    parts = [f"---\ntitle: {path.as_posix()}\nsearch:\n  exclude: true\n---\n\n# `{path.as_posix()}`"]
    for file in files:
        title = [f"## `{file.name}`"] if whole.is_dir() else []
        language = _LANGUAGES.get(file.suffix, "text")
        parts += [*title, f"{_FENCE}{language}\n{file.read_text(encoding='utf-8').rstrip()}\n{_FENCE}"]
    return "\n\n".join(parts) + "\n"
