import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from contents import differences, last_checkpoint
from two_ranks import CASES, CONFIG, CPU, LOOPBACK, train_case, work

from pipelines.errors import ConfigError
from train.checkpoint import find_checkpoints
from train.parallel import Ranks, SyncedNorm, join_ranks, synchronise_norms
from train.state import TrainingState


def find_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where two ranks have left, for each case, a run, and what each of them held in the end."""
    folder = tmp_path_factory.mktemp("two-ranks")
    ports = find_port(), find_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LOOPBACK.items():
            patch.setenv(name, value)
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=work, args=(rank, ports, folder)) for rank in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0, 7]
    return folder


def of_ranks(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second = (torch.load(folder / f"{name} of {rank}.pt", weights_only=True) for rank in range(2))
    return first, second


def read_rows(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_s"} for row in rows]


def is_running_average(name: str) -> bool:
    return name.endswith(("running_mean", "running_var"))


@pytest.mark.parametrize("name", CASES)
def test_all_ranks_hold_the_same(two_ranks: Path, name: str) -> None:
    unlike = differences(*of_ranks(two_ranks, name))
    assert all(is_running_average(place) or place.startswith(".watcher") for place in unlike)
    assert CASES[name].sync_bn == (not unlike)
    assert differences(of_ranks(two_ranks, name)[0], last_checkpoint(two_ranks / name)) == []


def test_gradients_are_those_of_one_rank(two_ranks: Path, tmp_path: Path) -> None:
    one = train_case(CASES["one step"], tmp_path / "one").pack()
    two, _ = of_ranks(two_ranks, "one step")
    for optimiser in ("discriminator_optimiser", "generator_optimiser"):
        for number, moments in one[optimiser]["state"].items():
            gradient = moments["exp_avg"]  # the first one, times 1 - beta1
            # Float32 has 7 digits, and a gradient is the sum of up to thousands of products.
            torch.testing.assert_close(
                two[optimiser]["state"][number]["exp_avg"], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max())
            )
    for name, values in two["measures"].items():
        assert values[0][1] == pytest.approx(one["measures"][name][0][1], rel=1e-6)


@pytest.mark.parametrize(("name", "tolerance"), [("synced", 2e-3), ("conditional", 2e-3), ("bf16", 2e-2)])
def test_losses_are_those_of_one_rank(two_ranks: Path, tmp_path: Path, name: str, tolerance: float) -> None:
    """But for rounding, which Adam makes larger: where a gradient is nearly 0, its first steps go by the sign alone."""
    train_case(CASES[name], tmp_path / "one")
    one, two = read_rows(tmp_path / "one"), read_rows(two_ranks / name)
    assert [row["images"] for row in two] == [40, 80]
    for a, b in zip(one, two, strict=True):
        for measure in ("value", "d_real", "d_fake", "generator_loss"):
            assert a[measure] == pytest.approx(b[measure], abs=tolerance)


def test_norms_that_are_not_synced_train_too(two_ranks: Path, tmp_path: Path) -> None:
    train_case(CASES["apart"], tmp_path / "one")
    one, two = read_rows(tmp_path / "one"), read_rows(two_ranks / "apart")
    assert one[-1]["value"] == pytest.approx(two[-1]["value"], abs=0.3)
    assert one[-1]["value"] != pytest.approx(two[-1]["value"], abs=1e-3)


def test_two_ranks_that_were_stopped_end_as_undisturbed_ones(two_ranks: Path) -> None:
    assert differences(*(last_checkpoint(two_ranks / name) for name in ("synced", "resumed"))) == []
    assert read_rows(two_ranks / "synced") == read_rows(two_ranks / "resumed")


def test_a_nan_of_one_rank_stops_both_and_one_of_them_says_so(two_ranks: Path) -> None:
    said = sorted((two_ranks / f"nan of {rank}.txt").read_text() for rank in range(2))
    assert said[0] == "exit code 1"
    assert said[1].startswith("training diverged: ")


def test_a_rank_whose_other_has_ended_says_so(two_ranks: Path) -> None:
    assert "another of the 2 processes has ended; what it said" in (two_ranks / "alone.txt").read_text()


def test_a_minibatch_is_shared_evenly_or_not_at_all() -> None:
    assert [Ranks(rank, 4).share(12) for rank in range(4)] == [slice(3 * i, 3 * i + 3) for i in range(4)]
    with pytest.raises(ConfigError, match="12 does not divide by 5") as caught:
        Ranks(0, 5).share(12)
    assert "--batch-size 10" in caught.value.hint


def test_ranks_that_do_not_find_one_another_say_how_to_start_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="do not find one another") as caught, join_ranks(CPU):
        pass
    assert "torchrun" in caught.value.hint


def test_synced_norms_draw_as_the_norms_that_they_replace() -> None:
    state = TrainingState.begin(CONFIG, "digest", CPU)
    z = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = state.generator.eval()(z)
        synchronise_norms(state.generator)
        after = state.generator.eval()(z)
    assert any(isinstance(module, SyncedNorm) for module in state.generator.modules())
    torch.testing.assert_close(before, after)


TORCHRUN = (  # but that it asks no name server who this machine is
    "import socket; socket.getfqdn = lambda name='': 'localhost'; from torch.distributed.run import main; main()"
)


def test_torchrun_killed_and_started_again_ends_as_an_undisturbed_run(data_root: Path) -> None:
    runs = data_root / "rooms" / "train"
    options = ["--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8"]
    options += ["--epochs", "8", "--evaluate-every", "0"]

    def start(name: str) -> subprocess.Popen[str]:
        launcher = [sys.executable, "-c", TORCHRUN, "--standalone", "--nproc-per-node", "2"]
        named = ["--data-root", str(data_root), "--name", name, "--resume", "auto"]
        return subprocess.Popen(
            [*launcher, "-m", "train.run", "rooms", "--preset", "demo", *options, *named],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | LOOPBACK | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"},
        )

    def wait_for_more(process: subprocess.Popen[str]) -> None:
        before = find_checkpoints(runs / "killed")
        while find_checkpoints(runs / "killed") == before:
            assert process.poll() is None
            time.sleep(0.01)

    process = start("undisturbed")
    _, error = process.communicate()
    assert process.returncode == 0, error

    process = start("killed")
    wait_for_more(process)
    workers = children(process.pid)
    assert len(workers) == 2
    for number in (process.pid, *workers):
        os.kill(number, signal.SIGKILL)
    process.communicate()

    process = start("killed")
    wait_for_more(process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode != 0
    stopped_at = last_checkpoint(runs / "killed")["images_seen"]
    assert f"stopped and saved at image {stopped_at:,}" in output
    assert output.count("to go on") == 1
    assert "torchrun --nproc-per-node 2 -m train.run rooms" in output

    process = start("killed")
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert differences(last_checkpoint(runs / "undisturbed"), last_checkpoint(runs / "killed")) == []
    assert read_rows(runs / "undisturbed") == read_rows(runs / "killed")


def children(process: int) -> list[int]:
    """The processes that a process has started; Linux."""
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
