"""Who may import whom, who may print, and that the tree of errors is the one that is drawn."""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from helpers import python_process

from pipelines import errors

ROOT = Path(__file__).parents[1]
PACKAGES = {package for package in ("pipelines", "dedup", "facescrape", "train") if (ROOT / package).is_dir()}
ALLOWED = {
    "pipelines": {"pipelines"},
    "dedup": {"pipelines", "dedup"},
    "facescrape": {"pipelines", "facescrape"},
    "train": {"pipelines", "train"},
}
ENTRY_POINTS = {
    *("run.py", "against.py", "query.py", "audit.py", "pretrain.py", "sample.py", "evaluate.py", "export.py"),
    *("cli.py", "__main__.py", "import_theano.py"),
}
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERY_MODULE = pytest.mark.parametrize("module", MODULES, ids=str)


@cache
def parse(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imports_of(module: Path) -> set[str]:
    """Dotted names of all that a module imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            names.add(node.module or "")
    return names


def roots_of(module: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(module)}


@EVERY_MODULE
def test_packages_stand_on_pipelines_and_never_on_one_another(module: Path) -> None:
    assert roots_of(module) & {*ALLOWED, "cleanshards", "benchmarks", "tests"} <= ALLOWED[module.parts[0]]


@EVERY_MODULE
def test_pipelines_never_imports_torch(module: Path) -> None:
    if module.parts[0] == "pipelines":
        assert not roots_of(module) & {"torch", "torchvision", "tensorboard"}


@EVERY_MODULE
def test_only_entry_points_parse_arguments_or_print(module: Path) -> None:
    if module.name in ENTRY_POINTS or module.parent.name == "commands":
        return
    assert not roots_of(module) & {"argparse", "typer", "click"}
    assert "pipelines.cli" not in imports_of(module)
    calls = (node.func for node in ast.walk(parse(module)) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id in {"print", "input"}]


@cache
def declared() -> set[str]:
    """The distributions that the project depends on, its extras for users among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra, names in project["optional-dependencies"].items() if extra != "dev" for name in names]
    return {re.split(r"[^\w.-]", name)[0].lower() for name in [*project["dependencies"], *extras]}


@cache
def installed() -> Mapping[str, list[str]]:
    """Top-level module → distributions: all that are installed are read for it."""
    return metadata.packages_distributions()


@EVERY_MODULE
def test_every_import_is_a_declared_dependency(module: Path) -> None:
    for name in roots_of(module) - set(sys.stdlib_module_names) - set(ALLOWED):
        distributions = {found.lower() for found in installed().get(name, [name])}
        assert declared() & distributions, f"{name} is not declared"


@EVERY_MODULE
def test_every_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(parse(module))


def test_importing_pipelines_brings_no_torch() -> None:
    names = [
        ".".join(module.with_suffix("").parts)
        for module in MODULES
        if module.parts[0] == "pipelines" and module.name not in {"__init__.py", "__main__.py"}
    ]
    code = "import sys; [__import__(name) for name in sys.argv[1:]]; print('torch' in sys.modules)"
    out, err = python_process(code, *names).communicate(timeout=120)
    assert out == "False\n", err


def test_the_tree_of_errors_is_the_one_drawn() -> None:
    drawn = re.findall(r"^    (?:[├└]── )?(\w+)", errors.__doc__ or "", re.MULTILINE)
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
    assert drawn[0] == "CleanshardsError"
    assert sorted(drawn) == sorted(cls.__name__ for cls in classes)
    assert all(cls.__base__ is errors.CleanshardsError for cls in classes if cls is not errors.CleanshardsError)


def test_every_error_is_told_in_one_line() -> None:
    for _, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, errors.CleanshardsError):
            assert re.search(rf"── {cls.__name__} +\w|CleanshardsError$", errors.__doc__ or "", re.MULTILINE)
            assert inspect.getdoc(cls)
