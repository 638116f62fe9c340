"""Hooks of mkdocs: the pages of docs/ in; the same with what only the site needs, and pages made from the code, out.

Pages read well on GitHub as they stand. Here links to files of the repository are led to pages that show those files,
links that are named by a page's file get its title, and the page of commands gets the help of every command.
"""

import re
from pathlib import Path

from command_pages import describe_commands, find_commands
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from source_pages import find_linked, page_of, relink, show

COMMANDS = "reference/commands.md"
_NAMED_BY_FILE = re.compile(r"\[([\w/]+\.md)\](?=\(\1[)#])")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that a page links to."""
    docs = Path(config.docs_dir)
    linked = {
        path
        for file in files.documentation_pages()
        for path in find_linked(file.content_string, Path(file.src_uri), docs)
    }
    for path in sorted(linked):
        where, text = page_of(path).as_posix(), show(path, docs.parent)
        files.append(File.generated(config, where, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the repository's files to their pages, and describe the commands where they belong."""
    if page.file.generated_by:
        return markdown
    if page.file.src_uri == COMMANDS:
        markdown = f"{markdown}\n{describe_commands(find_commands())}"
    docs, here = Path(config.docs_dir), Path(page.file.src_uri)
    titled = _NAMED_BY_FILE.sub(lambda match: f"[{_title(docs / here.parent / match[1])}]", markdown)
    return relink(titled, here, docs)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the keyboard reach tables, which scroll where the window is narrow."""
    return html.replace("<table>", '<table tabindex="0">')


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Name the theme's search dialog, so that a screen reader can say what has opened."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def _title(page: Path) -> str:
    """The first heading of a page, or its name where it has none."""
    heading = re.search(r"^# (.+)", page.read_text(encoding="utf-8"), re.MULTILINE) if page.exists() else None
    return heading[1] if heading else page.name
