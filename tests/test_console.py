import subprocess
import sys
from importlib.metadata import entry_points

from typer.main import get_command

import cleanshards


def test_console_script_offers_every_command() -> None:
    commands = get_command(cleanshards.app).commands  # type: ignore[attr-defined]
    assert set(commands) == {
        *("list", "download", "verify", "faces", "faces-demo", "faces-report", "forget", "dedup", "against", "query"),
        *("audit", "train", "sample", "evaluate", "export", "publish", "review"),
    }


def test_console_script_is_installed_and_reports_errors_in_one_line() -> None:
    (script,) = entry_points(group="console_scripts", name="cleanshards")
    assert script.value == "cleanshards:main"
    code = "import sys, cleanshards; sys.argv = ['cleanshards', 'dedup', 'lsun_bedrom']; cleanshards.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "lsun_bedroom" in result.stderr
    assert len(result.stderr.splitlines()) == 2
