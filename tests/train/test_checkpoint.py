from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.errors import IntegrityError, TrainingError
from train import checkpoint
from train.checkpoint import KEPT_CHECKPOINTS, Saver, TrainingState
from train.config import ModelConfig, TrainConfig

CPU = torch.device("cpu")
CONFIG = TrainConfig(model=ModelConfig(resolution=32, generator_width=4, discriminator_width=4), ema_decay=0.9)


@pytest.fixture
def state() -> TrainingState:
    return TrainingState.begin(CONFIG, "digest", CPU)


def test_a_checkpoint_holds_no_code_and_everything_else(state: TrainingState, tmp_path: Path) -> None:
    content = torch.load(checkpoint.write(state.pack(), tmp_path), weights_only=True)
    assert content.keys() == {
        *("format", "version", "config", "data_digest", "epoch", "minibatch", "images_seen", "measures", "noise"),
        *("watcher", "rollbacks", "ema"),
        *("generator", "discriminator", "generator_optimiser", "discriminator_optimiser"),
    }
    assert content["config"]["resolution"] == 32


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_never_written(state: TrainingState, tmp_path: Path, number: float) -> None:
    with torch.no_grad():
        state.discriminator.classify.weight[0, 0] = number
    with pytest.raises(TrainingError, match=r"discriminator\.classify\.weight is not finite"):
        checkpoint.write(state.pack(), tmp_path)
    assert not checkpoint.find_checkpoints(tmp_path)


def test_the_last_few_are_kept_and_leftovers_removed(state: TrainingState, tmp_path: Path) -> None:
    for images_seen in range(0, 600, 100):
        state.images_seen = images_seen
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / ".tmp-killed").touch()
        checkpoint.write(state.pack(), tmp_path)
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [300, 400, 500]
    assert len(list((tmp_path / "checkpoints").iterdir())) == KEPT_CHECKPOINTS


def test_a_damaged_checkpoint_is_named(state: TrainingState, tmp_path: Path) -> None:
    path = checkpoint.write(state.pack(), tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(IntegrityError, match=path.name):
        checkpoint.read(path)


def test_other_options_are_named_and_more_epochs_welcome(state: TrainingState) -> None:
    content = state.pack()
    longer = replace(CONFIG, epochs=100)
    checkpoint.require_same_run(content, longer, "digest")
    wider = ModelConfig(resolution=32, generator_width=8, discriminator_width=4)
    other = replace(CONFIG, model=wider, beta1=0.9)
    with pytest.raises(TrainingError, match=r"beta1 was 0\.5 and is 0\.9, generator_width was 4 and is 8"):
        checkpoint.require_same_run(content, other, "digest")
    with pytest.raises(TrainingError, match="images"):
        checkpoint.require_same_run(content, CONFIG, "another digest")
    checkpoint.require_same_run(content, replace(CONFIG, beta1=0.9), "another digest", allow_changes=True)
    with pytest.raises(TrainingError, match="generator_width was 4"):
        checkpoint.require_same_run(content, other, "digest", allow_changes=True)


def test_training_may_go_on_while_a_checkpoint_is_written(state: TrainingState, tmp_path: Path) -> None:
    weight = state.generator.project[0].weight
    before = weight.detach().clone()
    with Saver(tmp_path, kept=2) as saver:
        for images_seen in (1, 2, 3):
            state.images_seen = images_seen
            saver.save(state, is_best=images_seen == 2)
            with torch.no_grad():
                weight.add_(1)
    paths = checkpoint.find_checkpoints(tmp_path)
    assert [int(path.stem) for path in paths] == [2, 3]
    best = checkpoint.read(tmp_path / "checkpoints" / "best.pt")
    assert best["images_seen"] == 2
    assert torch.equal(best["generator"]["project.0.weight"], before + 1)
    assert torch.equal(checkpoint.read(paths[-1])["generator"]["project.0.weight"], before + 1 + 1)


def test_what_goes_wrong_in_the_background_is_raised(state: TrainingState, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite"), Saver(tmp_path) as saver, torch.no_grad():
        state.discriminator.classify.weight[0, 0] = float("nan")
        saver.save(state)


def test_going_back_takes_all_but_the_noise(state: TrainingState) -> None:
    content = state.pack()
    draws = []
    for rollbacks in (1, 2):
        state.images_seen = 700
        state.roll_back(content)
        assert (state.images_seen, state.rollbacks) == (0, rollbacks)
        draws.append(torch.rand(3, generator=state.noise))
    assert not torch.equal(*draws)
