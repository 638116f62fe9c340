import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer

from pipelines import cli
from pipelines.errors import ConfigError, SourceError
from pipelines.progress import ConsoleProgress, SilentProgress
from pipelines.run import DEFAULT_FOLDER


def raise_error(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command as the shell would; gives its exit code, stdout and stderr."""

    def run(command: Callable[..., object], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tool", *arguments])
        monkeypatch.setattr(cli.console, "quiet", False)
        app = cli.new_app("A tool.")
        app.command()(command)
        with pytest.raises(SystemExit) as exit_:
            cli.run_app(app, "tool")
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def test_a_data_root_is_a_folder_or_a_url_where_the_command_says_so(run: Callable[..., tuple[int, str, str]]) -> None:
    def show_local(data_root: cli.DataRoot = Path("data")) -> None:
        print(repr(data_root))

    def show_any(data_root: cli.SharedDataRoot = DEFAULT_FOLDER) -> None:
        print(data_root)

    assert run(show_local, "--data-root", "/a/b")[1] == f"{Path('/a/b')!r}\n"
    assert run(show_any)[1] == "data\n"
    assert run(show_any, "--data-root", "s3://bucket/a/")[1] == "s3://bucket/a\n"
    code, _, err = run(show_local, "--data-root", "s3://bucket/a")
    assert code == 1
    assert "error: s3://bucket/a is not on a disk of this machine" in err


def test_success_is_silent_and_zero(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run(lambda: None) == (0, "", "")


def test_an_error_is_one_line_and_a_hint(run: Callable[..., tuple[int, str, str]]) -> None:
    error = SourceError("no LMDB at [red]rooms[/red]\n:100: " + "long " * 60, hint="check the path [sic]")
    code, out, err = run(raise_error(error))
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "error: no LMDB at [red]rooms[/red] :100: " + " ".join(["long"] * 60)
    assert lines[1:] == ["hint: check the path [sic]"]


def test_an_error_without_a_hint_is_one_line(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run(raise_error(ConfigError("wrong")))[2] == "error: wrong\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "rooms.csv"), "rooms.csv"),
        (OSError(errno.ENOSPC, "No space left on device", "rooms/clean"), "no space left on the disk of rooms"),
        (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_other_errors_are_one_line_and_a_hint(
    run: Callable[..., tuple[int, str, str]], error: Exception, said: str
) -> None:
    code, _, err = run(raise_error(error))
    assert code == 1
    assert said in err.splitlines()[0]
    assert err.splitlines()[1].startswith("hint: ")
    assert "Traceback" not in err


def test_ctrl_c_says_how_to_go_on(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run(raise_error(KeyboardInterrupt()))
    assert code == 130
    assert "goes on where it was" in err


def test_an_exit_code_is_passed_on(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run(raise_error(typer.Exit(3)))[0] == 3


def with_options(
    data_root: cli.DataRoot = Path("data"),
    workers: cli.Workers = None,
    verbose: cli.Verbose = False,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
    missing: Annotated[str, typer.Option(help="What is missing.")] = "",
) -> None:
    cli.set_up_output(verbose=verbose, quiet=quiet)
    cli.console.print(data_root, workers)
    logging.info("details")
    if missing:
        raise SourceError(f"{missing} is missing", hint="look for it")


def test_debug_shows_the_traceback(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run(with_options, "--missing", "x", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-2:] == ["error: x is missing", "hint: look for it"]
    assert "Traceback" not in run(with_options, "--missing", "x")[2]


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--workers", "x"], ["--nonsense"], ["extra"]])
def test_wrong_usage_is_two(run: Callable[..., tuple[int, str, str]], arguments: list[str]) -> None:
    code, _, err = run(with_options, *arguments)
    assert code == 2
    assert len(err.splitlines()) == 2
    assert arguments[0].strip("-") in err
    assert "--help" in err


def test_the_common_options(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(with_options, "--data-root", "x", "--workers", "3") == (0, "x 3\n", "")
    monkeypatch.setenv("CLEANSHARDS_DATA", "elsewhere")
    assert run(with_options)[1] == "elsewhere None\n"
    assert run(with_options, "--quiet")[1:] == ("", "")
    assert "details" in run(with_options, "-v")[2]


def test_help_reads_like_documentation(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run(with_options, "--help")
    assert code == 0
    for text in ("--data-root", "CLEANSHARDS_DATA", "one per core", "Show tracebacks", "What is missing."):
        assert text in out


def test_quiet_is_silent_progress() -> None:
    assert isinstance(cli.set_up_output(quiet=True), SilentProgress)
    assert isinstance(cli.set_up_output(), ConsoleProgress)


def test_progress_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    progress = cli.set_up_output()
    with progress.stage("thumbnails", total=2, done=1) as advance:
        advance(500)
    with progress.stage("codes", total=3, done=3) as advance:
        advance(0)
    err = capsys.readouterr().err
    assert "thumbnails" in err
    assert "2/2" in err
    assert "done already" in err
