import dataclasses
from importlib import resources
from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from train.config import (
    PRESETS,
    Critic,
    Loss,
    ModelConfig,
    NormStatistics,
    TrainConfig,
    Updates,
    choose,
    from_json,
    load,
    to_toml,
)


def test_paper_preset_is_the_papers() -> None:
    config = choose("paper", {})
    assert (config.learning_rate, config.beta1, config.batch_size) == (0.0002, 0.5, 128)
    assert (config.loss, config.discriminator_steps, config.gradient_l2) == (Loss.NON_SATURATING, 1, 0)
    assert (config.model.resolution, config.model.z_size) == (64, 100)


def test_authors_preset_differs_where_their_code_does() -> None:
    paper, authors = choose("paper", {}).to_json(), choose("authors", {}).to_json()
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
        choose("demo", overrides)


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


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_say_what_to_expect(preset: str) -> None:
    choose(preset, {})
    text = resources.files("train.presets").joinpath(f"{preset}.toml").read_text()
    assert "# Expected: " in text
    assert "# Time: " in text


def test_imagenet32_is_the_net_whose_features_the_paper_classifies_by() -> None:
    model = choose("imagenet32", {}).model
    assert (model.resolution, model.critic, model.z_size) == (32, Critic.SIX_CONV, 256)


def test_a_run_s_own_file_repeats_it(tmp_path: Path) -> None:
    config = choose("faces", {"epochs": 3, "resolution": 32})
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert load(tmp_path / "config.toml") == config
    assert from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 1.5", "--epochs is 1.5"),
        ("epochs = true", "--epochs is True"),
        ("loss = 'hinge'", "--loss is 'hinge'"),
        ("model = 3", "no option 'model'"),
        ("epoch = 3", "no option 'epoch'"),
        ("epochs = ", "cannot be read"),
    ],
)
def test_a_file_s_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml cannot be read"):
        load(tmp_path / "mine.toml")
