import dataclasses

import pytest

from pipelines.errors import ConfigError
from train.config import PRESETS, Loss, ModelConfig, NormStatistics, TrainConfig, Updates, choose


def test_paper_preset_is_the_papers() -> None:
    config = PRESETS["paper"]
    assert (config.learning_rate, config.beta1, config.batch_size) == (0.0002, 0.5, 128)
    assert (config.loss, config.discriminator_steps, config.gradient_l2) == (Loss.NON_SATURATING, 1, 0)
    assert (config.model.resolution, config.model.z_size) == (64, 100)


def test_authors_preset_differs_where_their_code_does() -> None:
    paper, authors = PRESETS["paper"].to_json(), PRESETS["authors"].to_json()
    assert {name: value for name, value in authors.items() if paper[name] != value} == {
        "norm_gain_std": 0.02,
        "norm_eps": 1e-8,
        "norm_statistics": "batch",
        "updates": "alternate",
        "gradient_l2": 1e-5,
        "epochs": 25,
    }


def test_overrides_reach_the_model_and_none_is_no_override() -> None:
    config = choose("paper", {"resolution": 32, "seed": 7, "epochs": None, "norm_statistics": NormStatistics.BATCH})
    assert config == TrainConfig(model=ModelConfig(resolution=32, norm_statistics=NormStatistics.BATCH), seed=7)


@pytest.mark.parametrize(
    "overrides",
    [
        {"resolution": 48},
        {"batch_size": 1},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"beta1": 1.0},
        {"discriminator_steps": 0},
        {"z_size": 0},
        {"gradient_l2": -1.0},
        {"seed": -1},
    ],
)
def test_values_out_of_range_are_named(overrides: dict[str, object]) -> None:
    (name,) = overrides
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} is "):
        choose("tiny", overrides)


def test_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as error:
        choose("huge", {})
    assert "paper" in error.value.hint


def test_json_is_plain_and_holds_every_field() -> None:
    config = TrainConfig(updates=Updates.ALTERNATE)
    plain = config.to_json()
    names = {field.name for owner in (config, config.model) for field in dataclasses.fields(owner)} - {"model"}
    assert plain.keys() == names
    assert {type(value) for value in plain.values()} <= {int, float, str}
