import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.errors import TrainingError
from train import checkpoint
from train.config import Loss, ModelConfig, TrainConfig, Updates
from train.data import PackedImages
from train.loop import Running, learning_rate, take_turns, train
from train.state import TrainingState
from train.watch import Diversity, OnCollapse, Watcher

CPU = torch.device("cpu")
MINIBATCHES = 5  # in an epoch of `images`
MODEL = ModelConfig(resolution=32, z_size=8, generator_width=4, discriminator_width=4)
CONFIG = TrainConfig(model=MODEL, batch_size=8, epochs=2)
LONGER = replace(CONFIG, epochs=3)


@pytest.fixture(scope="module")
def images() -> PackedImages:
    pixels = np.random.default_rng(0).integers(0, 256, (8 * MINIBATCHES + 3, 32, 32, 3), np.uint8)
    return PackedImages([pixels], 32, "digest")


def prepare(folder: Path) -> Path:
    (folder / "samples").mkdir(parents=True)
    return folder


def stop_after(minibatches: int) -> Callable[[], bool]:
    calls = itertools.count(1)
    return lambda: next(calls) >= minibatches


def weights(state: TrainingState) -> list[torch.Tensor]:
    return [*state.generator.state_dict().values(), *state.discriminator.state_dict().values()]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_s"} for row in rows]


def read_checkpoints(folder: Path) -> list[dict[str, Any]]:
    return [checkpoint.read(path) for path in checkpoint.find_checkpoints(folder)]


def resume(config: TrainConfig, folder: Path) -> TrainingState:
    state = TrainingState.begin(config, "digest", CPU)
    state.restore(read_checkpoints(folder)[-1])
    return state


@pytest.mark.parametrize("stop", [1, 4, 5, 7])
@pytest.mark.parametrize("updates", Updates)
def test_a_stopped_and_resumed_run_ends_as_an_undisturbed_one(
    images: PackedImages, tmp_path: Path, stop: int, updates: Updates
) -> None:
    config = TrainConfig(model=MODEL, batch_size=8, epochs=2, updates=updates, gradient_l2=1e-5)
    whole, parts = prepare(tmp_path / "whole"), prepare(tmp_path / "parts")
    undisturbed = TrainingState.begin(config, "digest", CPU)
    assert train(undisturbed, images, whole, Running(CPU))

    assert not train(
        TrainingState.begin(config, "digest", CPU), images, parts, Running(CPU), should_stop=stop_after(stop)
    )
    torch.rand(7)  # another process would have another global generator
    resumed = resume(config, parts)
    assert resumed.images_seen == stop * config.batch_size
    assert train(resumed, images, parts, Running(CPU))

    assert all(torch.equal(a, b) for a, b in zip(weights(undisturbed), weights(resumed), strict=True))
    assert read_rows(whole) == read_rows(parts)
    assert (whole / "samples.png").read_bytes() == (parts / "samples.png").read_bytes()


def test_every_epoch_leaves_a_row_a_grid_and_a_checkpoint(images: PackedImages, tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    seen: list[int] = []
    state = TrainingState.begin(CONFIG, "digest", CPU)
    assert train(state, images, folder, Running(CPU), watch=lambda images_seen, row: seen.append(images_seen))
    assert seen == [8 * i for i in range(1, 2 * MINIBATCHES + 1)]
    rows = read_rows(folder)
    assert [(row["images"], row["epoch"]) for row in rows] == [(40, 1), (80, 2)]
    assert rows[0].keys() == {
        *("images", "epoch", "value", "d_real", "d_fake", "generator_loss"),
        *("spread", "code_distance"),
    }
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    assert [path.stem for path in checkpoint.find_checkpoints(folder)] == ["000000000040", "000000000080"]


def test_an_untrained_discriminator_knows_little(images: PackedImages, tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    state = TrainingState.begin(CONFIG, "digest", CPU)
    train(state, images, folder, Running(CPU), should_stop=stop_after(1))
    (value,) = state.measures.fetch()["value"]
    assert value[1] == pytest.approx(-np.log(4), abs=0.2)


def test_take_turns() -> None:
    def turns(**fields: object) -> list[tuple[bool, bool]]:
        config = TrainConfig(**fields)  # type: ignore[arg-type]
        return [take_turns(minibatch, config) for minibatch in range(6)]

    both, d, g = (True, True), (True, False), (False, True)
    assert turns() == [both] * 6
    assert turns(discriminator_steps=3) == [d, d, both, d, d, both]
    assert turns(updates=Updates.ALTERNATE) == [g, d, g, d, g, d]
    assert turns(updates=Updates.ALTERNATE, discriminator_steps=2) == [g, d, d, g, d, d]


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": Loss.MINIMAX},
        {"discriminator_steps": 2},
        {"discriminator_steps": 9},
        {"updates": Updates.ALTERNATE, "discriminator_steps": 2},
    ],
)
def test_other_ways_to_train_run(images: PackedImages, tmp_path: Path, fields: dict[str, object]) -> None:
    config = TrainConfig(model=MODEL, batch_size=8, epochs=2, **fields)  # type: ignore[arg-type]
    state = TrainingState.begin(config, "digest", CPU)
    assert train(state, images, prepare(tmp_path), Running(CPU))
    assert all(bool(tensor.isfinite().all()) for tensor in weights(state))


def test_only_the_network_whose_turn_it_is_changes(images: PackedImages, tmp_path: Path) -> None:
    config = TrainConfig(model=MODEL, batch_size=8, epochs=1, updates=Updates.ALTERNATE)
    state = TrainingState.begin(config, "digest", CPU)
    before = [parameter.clone() for parameter in state.discriminator.parameters()]
    train(state, images, prepare(tmp_path), Running(CPU), should_stop=stop_after(1))
    assert all(torch.equal(a, b) for a, b in zip(before, state.discriminator.parameters(), strict=True))
    initial = TrainingState.begin(config, "digest", CPU).generator.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(initial, state.generator.parameters(), strict=True))


def test_a_nan_stops_the_run_and_keeps_the_last_good_checkpoint(images: PackedImages, tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    state = TrainingState.begin(CONFIG, "digest", CPU)
    train(state, images, folder, Running(CPU), should_stop=stop_after(3))
    good = {path: path.read_bytes() for path in checkpoint.find_checkpoints(folder)}
    with torch.no_grad():
        next(state.generator.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"value became nan at image 32"):
        train(state, images, folder, Running(CPU))
    assert {path: path.read_bytes() for path in checkpoint.find_checkpoints(folder)} == good


def test_checkpoints_come_within_an_epoch_too(images: PackedImages, tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    ticks = itertools.count(0, 301)
    train(TrainingState.begin(CONFIG, "digest", CPU), images, folder, Running(CPU), clock=lambda: float(next(ticks)))
    assert any(int(path.stem) % 40 for path in checkpoint.find_checkpoints(folder))


def test_the_learning_rate_falls_in_equal_steps() -> None:
    config = TrainConfig(epochs=6, decay_epochs=3, learning_rate=0.4)
    rates = [learning_rate(config, epoch) for epoch in range(6)]
    assert rates == pytest.approx([0.4, 0.4, 0.4, 0.3, 0.2, 0.1])


def test_a_moving_average_is_kept_and_shown(images: PackedImages, tmp_path: Path) -> None:
    config = replace(CONFIG, ema_decay=0.9)
    state = TrainingState.begin(config, "digest", CPU)
    assert train(state, images, prepare(tmp_path), Running(CPU))
    assert state.average is not None
    assert state.average.updates == 2 * MINIBATCHES
    assert (tmp_path / "samples_ema.png").exists()


def fall_at(images_seen: int, state: TrainingState, times: int = 1) -> Callable[[int, object], None]:
    """A watch that makes samples look fallen from then on, by what the watcher remembers as the best."""
    left = itertools.chain([True] * times, itertools.repeat(False))

    def watch(seen: int, row: object) -> None:
        if seen == images_seen and next(left):
            assert state.watcher is not None
            state.watcher.best = Diversity(1e9, 1e9)

    return watch


def test_a_collapse_stops_if_asked(images: PackedImages, tmp_path: Path) -> None:
    state = TrainingState.begin(LONGER, "digest", CPU)
    running = Running(CPU, on_collapse=OnCollapse.STOP)
    with pytest.raises(TrainingError, match="came apart at image 120"):
        train(state, images, prepare(tmp_path), running, watch=fall_at(112, state))
    assert "samples grow alike" in read_rows(tmp_path)[-1]["signs"][0]
    assert [path.stem for path in checkpoint.find_checkpoints(tmp_path)] == ["000000000040", "000000000080"]


def test_a_collapse_goes_back_if_asked_and_on_with_other_noise(images: PackedImages, tmp_path: Path) -> None:
    back, undisturbed = prepare(tmp_path / "back"), prepare(tmp_path / "undisturbed")
    train(TrainingState.begin(LONGER, "digest", CPU), images, undisturbed, Running(CPU))
    state = TrainingState.begin(LONGER, "digest", CPU)
    seen: list[int] = []
    fall = fall_at(112, state)

    def watch(images_seen: int, row: object) -> None:
        seen.append(images_seen)
        fall(images_seen, row)

    assert train(state, images, back, Running(CPU, on_collapse=OnCollapse.ROLLBACK), watch=watch)
    assert state.rollbacks == [80]
    assert list(dict.fromkeys(seen)) == list(range(8, 121, 8))
    assert seen[-MINIBATCHES:] == list(range(88, 121, 8)) == seen[-2 * MINIBATCHES : -MINIBATCHES]
    same = [
        torch.equal(a["generator"]["project.0.weight"], b["generator"]["project.0.weight"])
        for a, b in zip(read_checkpoints(back), read_checkpoints(undisturbed), strict=True)
    ]
    assert same == [True, True, False]


def test_a_run_killed_after_it_went_back_ends_as_an_undisturbed_one(images: PackedImages, tmp_path: Path) -> None:
    running = Running(CPU, on_collapse=OnCollapse.ROLLBACK)
    undisturbed, killed = (TrainingState.begin(LONGER, "digest", CPU) for _ in range(2))
    train(undisturbed, images, prepare(tmp_path / "undisturbed"), running, watch=fall_at(112, undisturbed))
    fall = fall_at(112, killed)

    def watch(images_seen: int, row: object) -> None:
        fall(images_seen, row)
        if killed.rollbacks:
            raise KeyboardInterrupt

    folder = prepare(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train(killed, images, folder, running, watch=watch)
    resumed = resume(LONGER, folder)
    assert resumed.images_seen == 80
    train(resumed, images, folder, running)
    assert resumed.rollbacks == undisturbed.rollbacks == [80]
    assert read_rows(folder) == read_rows(tmp_path / "undisturbed")
    assert all(torch.equal(a, b) for a, b in zip(weights(undisturbed), weights(resumed), strict=True))


def test_training_goes_back_so_many_times_and_further_each_time(images: PackedImages, tmp_path: Path) -> None:
    state = TrainingState.begin(LONGER, "digest", CPU)
    running = Running(CPU, on_collapse=OnCollapse.ROLLBACK)
    with pytest.raises(TrainingError, match="after 3 returns"):
        train(state, images, prepare(tmp_path), running, watch=fall_at(112, state, times=9))
    assert state.rollbacks == [80, 40, 80]  # the last is another one, of the course that began at 40


def test_training_does_not_go_back_to_where_it_was_ill_already(images: PackedImages, tmp_path: Path) -> None:
    state = TrainingState.begin(LONGER, "digest", CPU)
    state.watcher = Watcher(Diversity(1.0, 1.0), best=Diversity(1e9, 1e9))
    folder = prepare(tmp_path)
    assert not train(state, images, folder, Running(CPU), should_stop=stop_after(2 * MINIBATCHES))
    with pytest.raises(TrainingError, match="no checkpoint is of before the first signs"):
        train(resume(LONGER, folder), images, folder, Running(CPU, on_collapse=OnCollapse.ROLLBACK))


def test_a_collapse_is_only_told_otherwise(images: PackedImages, tmp_path: Path) -> None:
    state = TrainingState.begin(CONFIG, "digest", CPU)
    state.watcher = Watcher(Diversity(1.0, 1.0), best=Diversity(1e9, 1e9))
    assert train(state, images, prepare(tmp_path), Running(CPU))
    assert all(row["signs"] for row in read_rows(tmp_path))
