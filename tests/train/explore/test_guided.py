"""Guided backpropagation against a slow reference, and the command that shows it."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from train.config import Critic, ModelConfig
from train.dcgan import Discriminator, initialise
from train.explore.guided import (
    Excitement,
    as_pictures,
    draw_random_critic,
    find_excitement,
    guide_back,
    make_guided,
    measure_focus,
)

Explore = Callable[..., int]

SMALL = ModelConfig(resolution=32, discriminator_width=2)
STEP = 1e-3


def make_critic(model: ModelConfig, scale: float = 10) -> Discriminator:
    """A D in double precision whose units are far from where their gates change."""
    critic = Discriminator(model)
    initialise(critic, model, torch.Generator().manual_seed(0))
    for parameter in critic.parameters():
        parameter.data *= scale
    return critic.double().eval().requires_grad_(False)


def draw_images(count: int, model: ModelConfig = SMALL) -> Tensor:
    noise = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, model.resolution, model.resolution, generator=noise, dtype=torch.float64) * 2 - 1


def differentiate(affine: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> Tensor:
    """The gradient of (affine(at) · direction), number by number, by central differences."""
    gradient = torch.empty_like(at)
    for place in range(at.numel()):
        shift = torch.zeros_like(at)
        shift.view(-1)[place] = STEP
        gradient.view(-1)[place] = ((affine(at + shift) - affine(at - shift)) * direction).sum() / (2 * STEP)
    return gradient


def guide_slowly(critic: Discriminator, which: int, image: Tensor) -> Tensor:
    """Guided backpropagation written out: differences through what is between units, gates held fixed at each."""
    entering, inputs = image[None], []
    for layer in critic.layers:
        assert isinstance(layer, nn.Sequential)
        affine = layer[:-1]
        inputs.append((affine, entering, affine(entering)))
        entering = torch.where(inputs[-1][2] > 0, inputs[-1][2], 0.2 * inputs[-1][2])
    response = entering[0, which]
    gradient = torch.zeros_like(entering)
    gradient[0, which].view(-1)[response.argmax()] = 1
    for affine, before, after in reversed(inputs):
        gated = torch.where((after > 0) & (gradient > 0), gradient, 0.0)
        gradient = differentiate(affine, before, gated)
    return gradient[0]


@pytest.mark.parametrize("critic", [Critic.DCGAN, Critic.SIX_CONV])
def test_guided_gradients_are_those_of_differences_with_gates_held_fixed(critic: Critic) -> None:
    model = ModelConfig(resolution=32, discriminator_width=1, critic=critic)
    small = make_critic(model)
    (image,) = draw_images(1)
    guided = guide_back(make_guided(small), 1, image[None])[0]
    expected = guide_slowly(small, 1, image)
    assert expected.abs().max() > 0
    assert (guided - expected).abs().max() / expected.abs().max() < 1e-4


def test_networks_stay_as_they_are() -> None:
    critic = make_critic(SMALL)
    images = draw_images(2)
    before = {name: tensor.clone() for name, tensor in critic.state_dict().items()}
    seen = critic.features(images)[-1]
    guided = make_guided(critic)
    guide_back(guided, 3, images)
    torch.testing.assert_close(guided.features(images)[-1], seen, rtol=0, atol=0)
    torch.testing.assert_close(critic.features(images)[-1], seen, rtol=0, atol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in critic.state_dict().items())
    for module in (*critic.modules(), *guided.modules()):
        assert not (module._forward_hooks or module._backward_hooks or module._forward_pre_hooks)
    assert images.grad is None
    assert not images.requires_grad


def test_the_gradient_of_an_image_is_its_own() -> None:
    guided = make_guided(make_critic(SMALL))
    images = draw_images(4)
    together = guide_back(guided, 2, images)
    for image, gradient in zip(images, together, strict=True):
        torch.testing.assert_close(guide_back(guided, 2, image[None])[0], gradient)


def test_maps_are_ranked_by_what_excites_them_most() -> None:
    responses = np.array([[0, 1, 9], [5, 1, 0], [4, 1, 0], [0, 1, 1]], np.float32)
    excitement = Excitement(responses)
    assert excitement.strongest_maps(3, 2) == [2, 0, 1]
    assert excitement.top_images([0, 2, 1], 2).tolist() == [[1, 2], [0, 3], [0, 1]]
    critic = make_critic(SMALL)
    images = draw_images(6)
    found = find_excitement(critic, [(images[:4],), (images[4:],)])
    torch.testing.assert_close(torch.from_numpy(found.responses), critic.features(images)[-1].amax((2, 3)).float())


def test_random_filters_are_decided_by_a_seed() -> None:
    first, again, other = (draw_random_critic(SMALL, seed).state_dict() for seed in (0, 0, 1))
    name = "layers.1.0.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_gradients_are_pictures_whose_grey_is_nothing() -> None:
    gradients = torch.zeros(2, 3, 4, 4)
    gradients[0, 0, 1, 1] = -0.5
    gradients[0, 2, 1, 1] = 0.25
    pictures = as_pictures(gradients)
    assert pictures.shape == (2, 4, 4, 3)
    assert pictures[0, 1, 1].tolist() == [0, 128, 191]
    assert (pictures[1] == 128).all()
    assert measure_focus(gradients[:1]) == 1
    assert measure_focus(torch.ones(1, 3, 10, 10)) == pytest.approx(0.1)


def test_what_excites_a_run_is_shown_beside_random_filters(explore: Explore, run_folder: Path, tmp_path: Path) -> None:
    options = ("--images", 16, "--maps", 3, "--top", 2)
    assert explore("guided", run_folder, *options) == 0
    folder = run_folder / "evidence" / "guided"
    finding = json.loads((folder / "finding.json").read_text())
    assert finding["settings"]["images_from"] == "rooms/raw"
    assert [figure["name"].rpartition(", ")[2] for figure in finding["figures"]] == ["random filters"] * 2 + [
        "trained"
    ] * 2
    assert all(0 < figure["value"] < 100 for figure in finding["figures"])
    assert cv2.imread(str(folder / "guided.png")) is not None
    assert explore("guided", run_folder, *options, "--out", tmp_path / "again") == 0
    assert (tmp_path / "again" / "guided.png").read_bytes() == (folder / "guided.png").read_bytes()


def test_more_images_than_there_are_cannot_be_shown(
    explore: Explore, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore("guided", run_folder, "--top", 30) == 1
    assert "--top is 30, and there are 24 images" in capsys.readouterr().err
