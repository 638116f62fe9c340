import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipelines.errors import ConfigError
from train.mlp import Discriminator, Generator, MLPConfig, draw_z, initialise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(1, 3))
def test_shapes_are_those_that_are_documented(z_size: int, x_size: int, rows: int, hidden_layers: int) -> None:
    config = MLPConfig(
        z_size=z_size, x_size=x_size, generator_width=3, discriminator_width=4, hidden_layers=hidden_layers
    )
    x = Generator(config)(draw_z(rows, config, seeded()))
    assert x.shape == (rows, x_size)
    assert Discriminator(config)(x).shape == (rows,)


def first_layer(network: Generator | Discriminator) -> nn.Linear:
    layer = network.layers[0]
    assert isinstance(layer, nn.Linear)
    return layer


def test_weights_are_decided_by_the_generator_alone() -> None:
    config = MLPConfig()
    for kind in (Generator, Discriminator):
        networks = [kind(config) for _ in range(3)]
        for network, seed in zip(networks, (0, 0, 1), strict=True):
            initialise(network, seeded(seed))
        first, same, other = (first_layer(network).weight for network in networks)
        assert torch.equal(first, same)
        assert not torch.equal(first, other)


def test_a_new_generator_does_not_fold_the_line() -> None:
    config = MLPConfig()
    generator = Generator(config)
    initialise(generator, seeded())
    z = torch.linspace(-1, 1, 101).unsqueeze(1)
    torch.testing.assert_close(generator(z), z)


def test_a_new_discriminator_bends_all_over_the_data() -> None:
    config = MLPConfig(discriminator_width=64, data_radius=3.0)
    discriminator = Discriminator(config)
    initialise(discriminator, seeded())
    first = first_layer(discriminator)
    bends = (-first.bias / first.weight[:, 0]).detach()
    assert bends.abs().max() <= 3.0
    assert all(((bends > start) & (bends < start + 1.5)).any() for start in (-3.0, -1.5, 0.0, 1.5))


def test_z_is_uniform_on_the_square() -> None:
    z = draw_z(20_000, MLPConfig(z_size=2), seeded())
    assert z.shape == (20_000, 2)
    assert z.abs().max() <= 1
    torch.testing.assert_close(z.var(dim=0), torch.full((2,), 1 / 3), rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["z_size", "x_size", "generator_width", "discriminator_width", "hidden_layers"])
def test_a_network_without_units_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        MLPConfig(**{name: 0})
