import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.config import Loss
from train.losses import discriminator_loss, generator_loss

LOGITS = st.lists(st.floats(-15, 15), min_size=1, max_size=8).map(lambda x: torch.tensor(x, dtype=torch.float64))


def test_discriminator_loss_is_log_4_where_the_discriminator_knows_nothing() -> None:
    assert discriminator_loss(torch.zeros(6), torch.zeros(6)).item() == pytest.approx(math.log(4))


def test_discriminator_loss_nears_0_where_the_discriminator_is_never_wrong() -> None:
    assert discriminator_loss(torch.full((3,), 40.0), torch.full((3,), -40.0)).item() == pytest.approx(0, abs=1e-6)


@given(LOGITS, LOGITS)
def test_losses_are_the_logarithms_of_the_papers(real: torch.Tensor, fake: torch.Tensor) -> None:
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    expected = d_real.log().mean() + (1 - d_fake).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), -expected)
    torch.testing.assert_close(generator_loss(fake, Loss.NON_SATURATING), -d_fake.log().mean())
    torch.testing.assert_close(generator_loss(fake, Loss.MINIMAX), (1 - d_fake).log().mean())


def test_both_losses_pull_the_generator_the_same_way_but_one_saturates() -> None:
    gradients = {}
    for loss in Loss:
        fake = torch.tensor([-8.0], requires_grad=True)
        (gradients[loss],) = torch.autograd.grad(generator_loss(fake, loss), fake)
    d_fake = torch.tensor(-8.0).sigmoid().item()
    assert gradients[Loss.NON_SATURATING].item() == pytest.approx(d_fake - 1)
    assert gradients[Loss.MINIMAX].item() == pytest.approx(-d_fake)


def test_losses_stay_finite_where_a_sigmoid_would_round_to_0() -> None:
    far = torch.tensor([200.0])
    assert discriminator_loss(-far, far).item() == pytest.approx(400)
    assert generator_loss(-far, Loss.NON_SATURATING).item() == pytest.approx(200)
    assert generator_loss(far, Loss.MINIMAX).item() == pytest.approx(-200)
