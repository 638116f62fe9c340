"""The plain loop that `benchmarks.train_speed` compares with: PyTorch's DCGAN example, written anew.

Its networks for 64 px (4×4 kernels), and its loop: its order of operations, and the four numbers that it prints fetched
at each step. Networks are given; with those of `train.dcgan`, `use_torchs_layers` first.
"""

import torch
from torch import Tensor, nn

from train.convolutions import Convolution, Upsampling
from train.dcgan import draw_z
from train.state import TrainingState

EXAMPLE_SIDE = 64  # pixels


class ExampleGenerator(nn.Module):
    """G of PyTorch's DCGAN example."""

    def __init__(self, z_size: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(z_size, 8 * width, 4, bias=False)]
        for maps, wider in ((8, 4), (4, 2), (2, 1)):
            layers += [nn.BatchNorm2d(maps * width), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(maps * width, wider * width, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor, labels: None = None) -> Tensor:
        """z (B, z_size) → images (B, 3, 64, 64) in [-1, 1]."""
        images: Tensor = self.layers(z[:, :, None, None])
        return images


class ExampleDiscriminator(nn.Module):
    """D of PyTorch's DCGAN example."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for maps, wider in ((1, 2), (2, 4), (4, 8)):
            layers += [nn.Conv2d(maps * width, wider * width, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(wider * width), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classify = nn.Conv2d(8 * width, 1, 4, bias=False)

    def forward(self, images: Tensor, labels: None = None) -> Tensor:
        """Images (B, 3, 64, 64) → float32 logits (B,)."""
        logits: Tensor = self.classify(self.layers(images))
        return logits.flatten().float()


def use_torchs_layers(network: nn.Module) -> None:
    """Let a network's convolutions be torch's own, of the same weights, where they are of `train.convolutions`."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, Convolution | Upsampling):
                kind = nn.Conv2d if isinstance(child, Convolution) else nn.ConvTranspose2d
                layer = kind.__new__(kind)
                layer.__dict__ = child.__dict__
                module.add_module(name, layer)


def step_plainly(state: TrainingState, images: Tensor) -> tuple[float, ...]:
    """One iteration of PyTorch's DCGAN example, in its order, with all that it fetches to print.

    Args:
        state: networks, optimisers and noise; changed in place.
        images: float32 (B, 3, R, R) in [-1, 1], on the device.
    """
    generator, discriminator = state.generator, state.discriminator
    criterion = nn.BCELoss()
    # D on real images, then on fake ones.
    discriminator.zero_grad()
    labels = torch.full((len(images),), 1.0, device=images.device)
    output = torch.sigmoid(discriminator(images))
    real_loss = criterion(output, labels)
    real_loss.backward()
    d_real = output.mean().item()
    fake = generator(draw_z(len(images), state.config.model, state.noise).to(images.device))
    labels.fill_(0.0)
    output = torch.sigmoid(discriminator(fake.detach()))
    fake_loss = criterion(output, labels)
    fake_loss.backward()
    d_fake = output.mean().item()
    state.discriminator_optimiser.step()
    # G through D, by the same fake images.
    generator.zero_grad()
    labels.fill_(1.0)
    output = torch.sigmoid(discriminator(fake))
    loss = criterion(output, labels)
    loss.backward()
    d_fooled = output.mean().item()
    state.generator_optimiser.step()
    return (real_loss + fake_loss).item(), loss.item(), d_real, d_fake, d_fooled
