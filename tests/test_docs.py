"""Every command that the documentation shows exists, with the options it is shown with; and the site is built of it."""

import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from axe import SCHEMES, WIDTHS, assert_accessible, assert_fits, open_browser
from command_pages import describe_commands, find_commands
from typer.main import get_command

import cleanshards

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = {
    **{f"python -m {module}": command for module, command in find_commands().items()},
    **{f"python docs/tools/{name}.py": get_command(import_module(name).app) for name in ("pictures", "screenshots")},
    "cleanshards": get_command(cleanshards.app),
}
LOADED = {"link": "href", "image": "href", "object": "data", "video": "poster"}  # beside every src and srcset


def shown(pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
    for page in PAGES:
        for match in re.finditer(pattern, page.read_text(encoding="utf-8")):
            yield page.name, match


def shown_commands() -> Iterator[tuple[str, str, list[str]]]:
    """Page, command and what stands behind it, of all commands of ours."""
    ours = r"(python -m (?:pipelines|dedup|facescrape|train)\.\w+|python docs/tools/\w+\.py|(?<=bin/)cleanshards)"
    for page, match in shown(rf"{ours}([^`\n|#]*)"):
        yield page, match[1], match[2].split()


@pytest.mark.parametrize(("page", "name", "words"), [*shown_commands()])
def test_shown_commands_exist(page: str, name: str, words: list[str]) -> None:
    command = COMMANDS[name]
    if hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"{page}: {name} has no {words[0]}"
        command = command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}


def test_shown_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page, match in shown(r"(?m)(?:^|`)make ((?:[a-z-]+ ?)+)"):
        assert set(match[1].split()) <= targets, page


def test_links_between_files_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_python_modules_named_in_benchmarks_exist() -> None:
    for page, match in shown(r"benchmarks\.(\w+)"):
        assert (REPOSITORY / "benchmarks" / f"{match[1]}.py").exists(), page


def test_every_command_and_option_is_described() -> None:
    described = describe_commands(find_commands())
    for module in ("pipelines.run", "facescrape.run", "dedup.run", "train.run", "train.explore"):
        assert f"## `{module}`" in described
    assert "### `pipelines.run download`" in described
    assert "| <code>--radius &#60;int&#62;</code> |" in described
    assert "[bold]" not in described


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as `make docs` builds it, without a warning; the network guard sees that nobody is asked."""
    build = pytest.importorskip("mkdocs.commands.build", reason="mkdocs is not installed")
    config = pytest.importorskip("mkdocs.config").load_config
    folder, warnings = tmp_path_factory.mktemp("site"), Warnings()
    logging.getLogger("mkdocs").addHandler(warnings)
    try:
        build.build(config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(folder)))
    finally:
        logging.getLogger("mkdocs").removeHandler(warnings)
    assert warnings.told == []  # what --strict would end with
    return folder


class Warnings(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


class Loads(HTMLParser):
    """What a page loads as it is opened: everything but where its links lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [url or "" for name, url in attrs if name in {"src", "srcset", LOADED.get(tag)}]


def test_no_page_of_the_site_loads_anything_from_a_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        assert [url for url in Loads(page).urls if re.match(r"(?!data:)[a-z]+:|//", url)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()[\"' ]*(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_site_shows_code_and_commands(site: Path) -> None:
    assert "score_pairs" in (site / "reference" / "dedup.html").read_text(encoding="utf-8")
    assert "--calibrate" in (site / "reference" / "commands.html").read_text(encoding="utf-8")
    detail = (site / "dedup.html").read_text(encoding="utf-8")
    assert 'href="source/dedup/cluster.py.html"' in detail
    assert (site / "source" / "dedup" / "cluster.py.html").exists()
    assert not (site / "tools").exists()


def test_the_site_is_read_and_searched_without_a_server(site: Path) -> None:
    with open_browser() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.click("input[name=query]")
        page.keyboard.type("mirrored")
        page.wait_for_selector(".md-search-result__link")
        assert "mirrored" in page.inner_text(".md-search-result__list").lower()
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_site_is_accessible(site: Path) -> None:
    looks = [(scheme, width) for scheme in SCHEMES for width in WIDTHS]
    with open_browser() as browser:
        for name, (scheme, width) in zip(("index", "dedup", "reference/commands", "tutorial"), looks, strict=True):
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
            page.goto((site / f"{name}.html").as_uri())
            assert_fits(page)
            assert_accessible(page)
