import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from train.config import Critic, ModelConfig, NormStatistics, Prior
from train.convolutions import Convolution, Upsampling
from train.dcgan import Discriminator, Generator, draw_z, from_pixels, initialise, layer_widths, to_pixels

PAPER = ModelConfig()


def small(**fields: object) -> ModelConfig:
    return ModelConfig(generator_width=4, discriminator_width=4, **fields)  # type: ignore[arg-type]


def maps(network: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [tuple(module.weight.shape) for module in network.modules() if isinstance(module, kind)]


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_generator_is_the_papers() -> None:
    generator = Generator(PAPER)
    assert maps(generator, nn.Linear) == [(1024 * 4 * 4, 100)]
    assert maps(generator, nn.ConvTranspose2d) == [
        (1024, 512, 5, 5),
        (512, 256, 5, 5),
        (256, 128, 5, 5),
        (128, 3, 5, 5),
    ]
    norms = 2 * 1024 * 4 * 4 + 2 * (512 + 256 + 128)
    assert count_parameters(generator) == 1_638_400 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + norms
    assert count_parameters(generator) == 18_885_760


def test_discriminator_is_the_papers() -> None:
    discriminator = Discriminator(PAPER)
    assert maps(discriminator, nn.Conv2d) == [(128, 3, 5, 5), (256, 128, 5, 5), (512, 256, 5, 5), (1024, 512, 5, 5)]
    assert maps(discriminator, nn.Linear) == [(1, 1024 * 4 * 4)]
    assert maps(discriminator, nn.BatchNorm2d) == [(256,), (512,), (1024,)]
    assert count_parameters(discriminator) == 17_232_768


def test_no_norm_on_the_generators_output_nor_the_discriminators_input() -> None:
    last, first = Generator(PAPER).layers[-1], Discriminator(PAPER).layers[0]
    assert [type(module) for module in last] == [Upsampling, nn.Tanh]
    assert [type(module) for module in first] == [Convolution, nn.LeakyReLU]
    assert first[1].negative_slope == 0.2


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_only_batch_norm_has_biases(network: type[nn.Module]) -> None:
    for module in network(small()).modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert module.bias is None


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_shapes_and_range_at_every_resolution(resolution: int) -> None:
    config = small(resolution=resolution, z_size=7)
    generator, discriminator = Generator(config), Discriminator(config)
    images = generator(draw_z(5, config, torch.Generator()))
    assert images.shape == (5, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (5,)


def test_widths_double_and_are_capped() -> None:
    assert layer_widths(32, 128) == [128, 256, 512]
    assert layer_widths(64, 128) == [128, 256, 512, 1024]
    assert layer_widths(128, 128) == [128, 256, 512, 1024, 1024]


def test_weights_are_drawn_from_the_papers_distribution() -> None:
    generator = Generator(ModelConfig(generator_width=32))
    initialise(generator, ModelConfig(), torch.Generator().manual_seed(0))
    for module in generator.modules():
        if isinstance(module, nn.Linear | nn.ConvTranspose2d):
            count = module.weight.numel()
            assert abs(module.weight.mean().item()) < 5 * 0.02 / count**0.5
            assert module.weight.std().item() == pytest.approx(0.02, rel=5 / (2 * count) ** 0.5)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


def test_authors_gains_vary_about_one() -> None:
    generator = Generator(small())
    initialise(generator, small(norm_gain_std=0.02), torch.Generator().manual_seed(0))
    gains = next(module.weight for module in generator.modules() if isinstance(module, nn.BatchNorm1d))
    assert gains.mean().item() == pytest.approx(1, abs=0.005)
    assert gains.std().item() == pytest.approx(0.02, rel=0.2)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(3)  # whatever the global generator did before
        network = Discriminator(small())
        initialise(network, small(), torch.Generator().manual_seed(seed))
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_priors() -> None:
    uniform = draw_z(1000, small(), torch.Generator().manual_seed(0))
    assert uniform.shape == (1000, 100)
    assert uniform.abs().max() <= 1
    assert uniform.var().item() == pytest.approx(1 / 3, rel=0.02)
    normal = draw_z(1000, small(z_prior=Prior.NORMAL), torch.Generator().manual_seed(0))
    assert normal.std().item() == pytest.approx(1, rel=0.02)


def test_batch_statistics_keep_no_running_averages() -> None:
    generator = Generator(small(norm_statistics=NormStatistics.BATCH)).eval()
    z = draw_z(8, small(), torch.Generator().manual_seed(0))
    assert not list(generator.buffers())
    assert not torch.allclose(generator(z)[:4], generator(z[:4]))  # an image depends on its minibatch
    running = Generator(small()).eval()
    assert torch.allclose(running(z)[:4], running(z[:4]), atol=1e-6)


def test_six_convolutions_are_those_the_paper_classifies_by() -> None:
    discriminator = Discriminator(ModelConfig(resolution=32, critic=Critic.SIX_CONV))
    with torch.no_grad():
        features = discriminator.features(torch.zeros(2, 3, 32, 32))
    sides = [(activations.shape[1], activations.shape[2]) for activations in features]
    assert sides == [(128, 32), (128, 16), (256, 16), (256, 8), (512, 8), (512, 4)]
    assert 4 * 4 * sum(maps for maps, _ in sides) == 28_672  # max-pooled to 4×4 and put together
    assert [type(module) for module in discriminator.layers[0]] == [Convolution, nn.LeakyReLU]
    assert maps(discriminator, nn.BatchNorm2d) == [(128,), (256,), (256,), (512,), (512,)]
    assert maps(discriminator, nn.Linear) == [(1, 512 * 4 * 4)]


@pytest.mark.parametrize("critic", Critic)
def test_logits_are_a_weighted_sum_of_the_last_features(critic: Critic) -> None:
    config = small(resolution=32, critic=critic)
    discriminator = Discriminator(config).eval()
    initialise(discriminator, config, torch.Generator().manual_seed(0))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    features = discriminator.features(images)
    assert len(features) == len(discriminator.layers)
    torch.testing.assert_close(discriminator(images), (features[-1].flatten(1) @ discriminator.classify.weight.T)[:, 0])


def test_every_layer_of_both_networks_is_told_the_class() -> None:
    plain, conditional = small(resolution=32), small(resolution=32, classes=10)
    for network in (Generator, Discriminator):
        for kind in (nn.Conv2d, nn.ConvTranspose2d):
            axis = 0 if kind is nn.ConvTranspose2d else 1
            told, untold = maps(network(conditional), kind), maps(network(plain), kind)
            assert [shape[axis] for shape in told] == [shape[axis] + 10 for shape in untold]
    assert maps(Generator(conditional), nn.Linear) == [(16 * 4 * 4, 110)]
    assert maps(Discriminator(conditional), nn.Linear) == [(1, 16 * 4 * 4 + 10)]


def test_images_and_logits_depend_on_the_class_of_their_own_row_alone() -> None:
    config = small(resolution=32, classes=3)
    generator, discriminator = Generator(config).eval(), Discriminator(config).eval()
    z = draw_z(4, config, torch.Generator().manual_seed(0))
    labels, others = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 2, 0])
    images = generator(z, labels)
    for first, second in (
        (images, generator(z, others)),
        (discriminator(images, labels), discriminator(images, others)),
    ):
        changed = [not torch.equal(a, b) for a, b in zip(first, second, strict=True)]
        assert changed == [False, True, False, False]


def test_labels_are_given_exactly_where_there_are_classes() -> None:
    z = torch.zeros(2, 100)
    with pytest.raises(ValueError, match="without labels"):
        Generator(small(classes=3))(z)
    with pytest.raises(ValueError, match="0 classes was called with labels"):
        Discriminator(small())(torch.zeros(2, 3, 64, 64), torch.zeros(2, dtype=torch.int64))


def test_logits_are_float32_under_autocast() -> None:
    config = small(resolution=32)
    with torch.autocast("cpu", torch.bfloat16):
        discriminator = Discriminator(config)
        assert discriminator(torch.zeros(2, 3, 32, 32)).dtype == torch.float32
        assert discriminator.features(torch.zeros(2, 3, 32, 32))[-1].dtype == torch.bfloat16


@given(st.integers(0, 2**32 - 1))
def test_pixels_survive_the_way_to_the_networks_and_back(seed: int) -> None:
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3), np.uint8))
    images = from_pixels(pixels)
    assert images.shape == (2, 3, 4, 4)
    assert images.abs().max() <= 1
    assert torch.equal(to_pixels(images).permute(0, 2, 3, 1), pixels)


def test_black_and_white_are_the_ends_of_tanh() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    assert from_pixels(pixels)[0, 0, :, 0].tolist() == [-1.0, 1.0]
