import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from axe import assert_presentable, open_browser
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from train.config import Loss
from train.mlp import Discriminator, Generator, MLPConfig, initialise
from train.theory.__main__ import app
from train.theory.experiment import choose_snapshots, run_experiment
from train.theory.game import Game, TheoryConfig, fit_discriminator
from train.theory.measure import (
    BIN_CENTRES,
    BIN_WIDTH,
    deviate,
    estimate_value,
    generator_masses,
    jensen_shannon,
    optimal_discriminator,
    probability_of_data,
    target_masses,
    value_at_optimum,
)
from train.theory.report import write_report
from train.theory.target import TARGETS, Target

MINUS_LOG_4 = -math.log(4)
MASSES = st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda m: sum(m) > 0.1)
SMALL = TheoryConfig(
    k=2,
    steps=300,
    batch_size=64,
    generator_learning_rate=5e-3,
    discriminator_learning_rate=1e-2,
    networks=MLPConfig(generator_width=16, discriminator_width=32),
    fit_steps=400,
    fit_batch_size=256,
    evaluation_samples=20_000,
)


def straight_generator(slope: float, offset: float) -> Generator:
    """G(z) = slope · z + offset, whose p_g is uniform."""
    generator = Generator(MLPConfig(generator_width=2))
    initialise(generator, torch.Generator().manual_seed(0))
    with torch.no_grad():
        generator.straight.weight.fill_(slope)
        generator.straight.bias.fill_(offset)
    return generator


@pytest.fixture
def theory(in_process: Callable[..., Callable[..., int]]) -> Callable[..., int]:
    """`python -m train.theory` in this process, with few steps; returns its exit code."""
    return in_process(app, "train.theory.__main__")


# Targets and measures.


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_a_density_and_draws_from_it(name: str) -> None:
    target = TARGETS[name]
    masses = target_masses(target)
    assert masses.sum() == pytest.approx(1)
    np.testing.assert_allclose(masses[1:-1], target.density(BIN_CENTRES[1:-1]) * BIN_WIDTH, atol=1e-4)
    x = target.draw(50_000, torch.Generator().manual_seed(0)).squeeze(1).double().numpy()
    at = np.linspace(-2, 2, 9)
    np.testing.assert_allclose((x[:, None] < at).mean(axis=0), target.mass_below(at), atol=0.01)


def test_p_g_of_a_straight_generator_is_uniform() -> None:
    masses = generator_masses(straight_generator(slope=-1.5, offset=0.5))
    inside = (BIN_CENTRES > -1) & (BIN_CENTRES < 2)
    np.testing.assert_allclose(masses[inside], BIN_WIDTH / 3, atol=1e-6)
    assert masses[~inside].sum() == pytest.approx(0, abs=1e-6)


def test_p_g_beyond_the_bins_is_not_lost() -> None:
    assert generator_masses(straight_generator(slope=8, offset=0)).sum() == pytest.approx(1)


@given(MASSES, MASSES)
def test_v_of_the_optimal_discriminator_is_what_theorem_1_says(p: list[float], q: list[float]) -> None:
    data, generated = np.array(p) / sum(p), np.array(q) / sum(q)
    divergence = jensen_shannon(data, generated)
    assert -1e-12 <= divergence <= math.log(2) + 1e-12
    assert value_at_optimum(data, generated) == pytest.approx(MINUS_LOG_4 + 2 * divergence, abs=1e-9)


@given(MASSES)
def test_v_is_minus_log_4_where_p_g_is_p_data(p: list[float]) -> None:
    data = np.array(p) / sum(p)
    assert value_at_optimum(data, data) == pytest.approx(MINUS_LOG_4)


def test_bins_give_what_integration_of_the_densities_gives() -> None:
    a, b = norm(-0.5, 0.6), norm(0.7, 0.4)

    def integrand(x: float) -> float:
        p, q = a.pdf(x), b.pdf(x)
        return float(p * math.log(p / (p + q)) + q * math.log(q / (p + q)))

    integrated, _ = quad(integrand, -4, 4, limit=200)
    masses = [target_masses(Target((1.0,), (mean,), (std,))) for mean, std in ((-0.5, 0.6), (0.7, 0.4))]
    assert value_at_optimum(*masses) == pytest.approx(integrated, abs=2e-3)


def test_d_star_of_two_gaussians_of_one_width_is_a_sigmoid() -> None:
    data, generated = (target_masses(Target((1.0,), (mean,), (0.5,))) for mean in (0.5, -0.5))
    shown = np.abs(BIN_CENTRES) < 2
    expected = 1 / (1 + np.exp(-BIN_CENTRES[shown] * 1.0 / 0.5**2))
    np.testing.assert_allclose(optimal_discriminator(data, generated)[shown], expected, atol=1e-3)


def test_d_star_is_not_defined_where_nothing_is() -> None:
    optimum = optimal_discriminator(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.0]))
    np.testing.assert_array_equal(optimum, [0.5, 1.0, np.nan])


def test_v_is_estimated_within_its_standard_error() -> None:
    """Of a D that knows nothing V is -log 4 without error, and of another what integration gives."""
    config = MLPConfig(discriminator_width=8)
    discriminator = Discriminator(config)
    initialise(discriminator, torch.Generator().manual_seed(3))
    generator, target = straight_generator(1.0, 0.0), TARGETS["gaussian"]
    estimate = estimate_value(generator, discriminator, target, config, 20_000, torch.Generator().manual_seed(0))
    d = probability_of_data(discriminator)
    integrated = (target_masses(target) * np.log(d)).sum() + (generator_masses(generator) * np.log(1 - d)).sum()
    assert abs(estimate.mean - integrated) < 4 * estimate.standard_error
    assert 0 < estimate.standard_error < 0.02


# The game.


class GaussianGenerator(Generator):
    """A G whose p_g is a Gaussian: the quantiles of uniform z."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__(MLPConfig(generator_width=1))
        self.mean, self.std = mean, std

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        quantiles: torch.Tensor = torch.special.ndtri((z + 1).div(2).clamp(1e-6, 1 - 1e-6))
        return self.mean + self.std * quantiles


@pytest.mark.parametrize(("mean", "std"), [(-0.3, 0.5), (0.2, 0.8), (0.5, 0.5)])
def test_d_fitted_to_a_gaussian_nears_d_star(mean: float, std: float) -> None:
    """p_data is a Gaussian too, so that D* is known in closed form."""
    generator = GaussianGenerator(mean, std)
    discriminator = fit_discriminator(SMALL, generator)
    p_data, p_g = norm(0.5, 0.5).pdf(BIN_CENTRES), norm(mean, std).pdf(BIN_CENTRES)
    data, generated = target_masses(TARGETS["gaussian"]), generator_masses(generator)
    distance = deviate(probability_of_data(discriminator), p_data / (p_data + p_g), data, generated)
    assert distance.mean < 0.04
    assert distance.largest < 0.2
    noise = torch.Generator().manual_seed(0)
    value = estimate_value(generator, discriminator, TARGETS["gaussian"], SMALL.networks, 50_000, noise)
    assert value.mean == pytest.approx(MINUS_LOG_4 + 2 * jensen_shannon(data, generated), abs=0.03)


def test_g_stays_while_d_is_fitted() -> None:
    generator = straight_generator(1.0, 0.5)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    fit_discriminator(replace(SMALL, fit_steps=2), generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


@pytest.mark.parametrize("loss", Loss)
def test_the_game_ends_near_the_optimum(loss: Loss) -> None:
    experiment = run_experiment(replace(SMALL, loss=loss), fits=False)
    first, last = experiment.snapshots[0], experiment.snapshots[-1]
    assert experiment.value.mean == pytest.approx(MINUS_LOG_4, abs=0.06)
    assert last.best_value < first.best_value - 0.1
    assert last.best_value < MINUS_LOG_4 + 0.15
    assert deviate(last.probability, 0.5, experiment.data, last.generated).mean < 0.06


@pytest.mark.parametrize("k", [1, 4])
def test_d_takes_k_steps_for_each_of_g(k: int) -> None:
    game = Game(replace(SMALL, k=k, steps=3))
    judged: list[int] = []
    game.discriminator.register_forward_hook(lambda module, inputs, output: judged.append(len(output)))
    assert list(game.play()) == [1, 2, 3]
    assert judged == ([128] * k + [64]) * 3


def test_the_losses_lead_elsewhere() -> None:
    generators = {}
    for loss in Loss:
        game = Game(replace(SMALL, loss=loss, steps=5))
        list(game.play())
        generators[loss] = game.generator.straight.weight.item()
    assert generators[Loss.MINIMAX] != generators[Loss.NON_SATURATING]


def test_snapshots_end_with_the_last_step() -> None:
    for steps in (1, 7, 5000):
        assert max(choose_snapshots(steps)) == steps
        assert min(choose_snapshots(steps)) >= 1


# The command.


def read(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / "theory.json").read_text())
    return figures


def find_shape(path: Path) -> tuple[int, ...]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return tuple(picture.shape)


def test_a_run_leaves_a_page_pictures_and_figures(
    theory: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--steps", "40", "--k", "2", "--loss", "minimax", "--data", "mixture", "--seed", "3")
    assert theory(*options, "--no-fit-discriminator", "--out", str(tmp_path / "a")) == 0
    output = capsys.readouterr().out
    assert str(tmp_path / "a" / "theory.html") in output
    assert "-log 4 is -1.3863" in output

    assert find_shape(tmp_path / "a" / "theory.png") == (630, 960, 3)
    read_well, animation = cv2.imreadanimation(str(tmp_path / "a" / "theory.webp"))
    assert read_well
    assert len(animation.frames) > 10
    page = (tmp_path / "a" / "theory.html").read_text()
    assert page.count("data:image/") == 2
    assert "http:" not in page
    assert "https:" not in page

    figures = read(tmp_path / "a")
    assert {name: figures["config"][name] for name in ("steps", "k", "loss", "data", "seed")} == {
        "steps": 40,
        "k": 2,
        "loss": "minimax",
        "data": "mixture",
        "seed": 3,
    }
    assert figures["final"]["value"]["samples"] == 100_000
    assert figures["fits"] == []
    assert (figures["history"][0]["step"], figures["history"][-1]["step"]) == (0, 40)

    # The same again: the same bytes.
    assert theory(*options, "--no-fit-discriminator", "--out", str(tmp_path / "b")) == 0
    for name in ("theory.json", "theory.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # Another seed, k or loss: other figures.
    for other in (("--seed", "4"), ("--k", "1"), ("--loss", "non_saturating")):
        assert theory(*options, *other, "--no-fit-discriminator", "--out", str(tmp_path / "b")) == 0
        assert read(tmp_path / "a")["final"] != read(tmp_path / "b")["final"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short game whose first and last G a new D is fitted to."""
    folder = tmp_path_factory.mktemp("fitted")
    write_report(run_experiment(replace(SMALL, steps=5)), folder)
    return folder


def test_the_page_is_presentable(fitted: Path) -> None:
    with open_browser() as browser:
        assert_presentable(browser, fitted / "theory.html")


def test_fits_are_drawn_and_told(fitted: Path, tmp_path: Path) -> None:
    before, after = read(fitted)["fits"]
    assert (before["generator_steps"], after["generator_steps"]) == (0, 5)
    assert before["discriminator_from_optimum"]["mean"] < 0.05
    assert before["value_at_optimum"] == pytest.approx(before["minus_log_4_plus_2_jensen_shannon"])
    assert find_shape(fitted / "fits.png") == (258, 640, 3)
    assert (fitted / "theory.html").read_text().count("data:image/") == 3
    write_report(run_experiment(replace(SMALL, steps=2), fits=False), tmp_path)
    assert not (tmp_path / "fits.png").exists()


def test_progress_counts_every_step() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    run_experiment(
        replace(SMALL, steps=3, fit_steps=2), watch=lambda stage, *done: seen.setdefault(stage, []).append(done)
    )
    assert seen == {
        "game": [(1, 3), (2, 3), (3, 3)],
        "fit to G after 0 steps": [(1, 2), (2, 2)],
        "fit to G after 3 steps": [(1, 2), (2, 2)],
    }


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    theory: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert theory("--steps", "1000000", "--out", str(tmp_path / "file" / "folder")) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--k", "0"), "--k is 0"),
        (("--steps", "0"), "--steps is 0"),
        (("--seed", "-1"), "--seed is -1"),
        (("--data", "moons"), "there is no data 'moons'"),
        (("--loss", "hinge"), "hinge"),
    ],
)
def test_refusals_are_one_line_and_a_hint(
    theory: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert theory(*arguments) in {1, 2}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")


def test_quiet_says_nothing(theory: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert theory("--steps", "2", "--no-fit-discriminator", "--quiet", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
