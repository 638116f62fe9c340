from pathlib import Path

import pytest
import torch

from pipelines.errors import IntegrityError, TrainingError
from train import checkpoint
from train.checkpoint import KEPT_CHECKPOINTS, TrainingState
from train.config import ModelConfig, TrainConfig

CPU = torch.device("cpu")
CONFIG = TrainConfig(model=ModelConfig(resolution=32, generator_width=4, discriminator_width=4))


@pytest.fixture
def state() -> TrainingState:
    return TrainingState.begin(CONFIG, "digest", CPU)


def test_a_checkpoint_holds_no_code_and_everything_else(state: TrainingState, tmp_path: Path) -> None:
    content = torch.load(checkpoint.save(state, tmp_path), weights_only=True)
    assert content.keys() == {
        *("format", "config", "data_digest", "epoch", "minibatch", "images_seen", "measures", "noise"),
        *("generator", "discriminator", "generator_optimiser", "discriminator_optimiser"),
    }
    assert content["config"]["resolution"] == 32


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_never_written(state: TrainingState, tmp_path: Path, number: float) -> None:
    with torch.no_grad():
        state.discriminator.classify.weight[0, 0] = number
    with pytest.raises(TrainingError, match=r"discriminator\.classify\.weight is not finite"):
        checkpoint.save(state, tmp_path)
    assert not checkpoint.find_checkpoints(tmp_path)


def test_the_last_few_are_kept_and_leftovers_removed(state: TrainingState, tmp_path: Path) -> None:
    for images_seen in range(0, 600, 100):
        state.images_seen = images_seen
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / ".tmp-killed").touch()
        checkpoint.save(state, tmp_path)
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [300, 400, 500]
    assert len(list((tmp_path / "checkpoints").iterdir())) == KEPT_CHECKPOINTS


def test_a_damaged_checkpoint_is_named(state: TrainingState, tmp_path: Path) -> None:
    path = checkpoint.save(state, tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(IntegrityError, match=path.name):
        checkpoint.read(path)


def test_other_options_are_named_and_more_epochs_welcome(state: TrainingState) -> None:
    content = state.pack()
    longer = TrainConfig(model=CONFIG.model, epochs=100)
    checkpoint.require_same_run(content, longer, "digest")
    other = TrainConfig(model=ModelConfig(resolution=32, generator_width=8, discriminator_width=4), beta1=0.9)
    with pytest.raises(TrainingError, match=r"beta1 was 0\.5 and is 0\.9, generator_width was 4 and is 8"):
        checkpoint.require_same_run(content, other, "digest")
    with pytest.raises(TrainingError, match="images"):
        checkpoint.require_same_run(content, CONFIG, "another digest")
