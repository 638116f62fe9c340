"""How many images a second does training take in, what does each technique bring, and how near is the ceiling?

    python -m benchmarks.train_speed [--device cuda] [--width 128] [--resolution 64] [--batch-size 128] [--steps 50]

Two models: the paper's (5×5 kernels, ``--width`` maps) and the one that PyTorch's DCGAN example trains (4×4 kernels,
half as many maps, 64 px), each by our step and by a plain loop: that example's order of operations, written anew here,
in fp32, with its images ready in memory as floats, and the four numbers that it prints fetched at each step. All
programs have networks of their own and run in turn in the same process; a rate is that of the best round.

The ladder adds one technique at a time. The ceiling is a large matrix product on the same device; operations are
counted by torch in one step of ours (15.3 GFLOP an image for the paper's model). The plain loop needs about as many: it
shares fake images between its steps, and computes gradients of D's weights that it throws away. The last table compares
our fastest step's measures with those of eager fp32, from the same weights, images and z.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tables import best_seconds, console, print_machine, print_table
from pipelines.images import centre_square
from pipelines.rooms import render_room
from train.checkpoint import TrainingState
from train.config import ModelConfig, Precision, TrainConfig
from train.data import PackedImages
from train.dcgan import Discriminator, Generator, draw_z, from_pixels, initialise
from train.feed import Minibatch, open_feed
from train.step import Stepper

PICTURES = 64  # rendered; minibatches are drawn from as many copies as one needs
PAPER, EXAMPLE = "paper, 5×5", "example, 4×4"
EXAMPLE_SIDE = 64  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """What a program does for speed."""

    name: str
    uint8: bool = False  # images are sent as bytes, or lie on the GPU as such
    channels_last: bool = False
    stepper: bool = False  # our step: nothing waits, no gradient is computed for nothing
    fused: bool = False  # Adam in one kernel
    precision: Precision = Precision.FP32
    compiled: bool = False


PLAIN = Technique(name="plain loop")


def choose_ladder(device: torch.device, compiles: bool) -> list[Technique]:
    """Every rung adds to the one before, but bf16 takes the place of TF32."""
    rungs = [
        PLAIN,
        bytes_ := replace(PLAIN, name="+ uint8 images on the device", uint8=True),
        last := replace(bytes_, name="+ channels last", channels_last=True),
        step := replace(last, name="+ our step: no waiting, D frozen", stepper=True),
        fused := replace(step, name="+ fused Adam", fused=True),
    ]
    if device.type == "cuda":
        rungs.append(replace(fused, name="+ TF32", precision=Precision.TF32))
    rungs.append(half := replace(fused, name="+ bf16", precision=Precision.BF16))
    if compiles:
        graphs = " and CUDA graphs" if device.type == "cuda" else ""
        rungs.append(replace(half, name=f"+ torch.compile{graphs}", compiled=True))
    return rungs


class ExampleGenerator(nn.Module):
    """G of PyTorch's DCGAN example, for 64 px."""

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
    """D of PyTorch's DCGAN example, for 64 px."""

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


def begin(model: str, technique: Technique, config: TrainConfig, device: torch.device) -> TrainingState:
    """Networks and optimisers of a program, the same weights for all that train the same model."""
    seed = torch.Generator().manual_seed(0)
    size = config.model
    if model == PAPER:
        networks: tuple[nn.Module, nn.Module] = Generator(size), Discriminator(size)
    else:
        width = max(size.generator_width // 2, 1)
        networks = ExampleGenerator(size.z_size, width), ExampleDiscriminator(width)
    layout = torch.channels_last if technique.channels_last else torch.contiguous_format
    for network in networks:
        initialise(network, size, seed)
        network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    generator, discriminator = networks
    adams = [
        Adam(network.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=technique.fused)
        for network in networks
    ]
    return TrainingState(
        config=replace(config, precision=technique.precision),
        data_digest="",
        generator=cast(Generator, generator),
        discriminator=cast(Discriminator, discriminator),
        generator_optimiser=adams[0],
        discriminator_optimiser=adams[1],
        noise=torch.Generator().manual_seed(1),
    )


def step_plainly(state: TrainingState, images: Tensor) -> tuple[float, ...]:
    """One iteration of PyTorch's DCGAN example, in its order, with all that it fetches to print."""
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


def make_pictures(config: TrainConfig) -> PackedImages:
    """Rendered rooms, at least two minibatches of them."""
    side = config.model.resolution
    rooms = [centre_square(render_room(seed=0, index=index).image, side) for index in range(PICTURES)]
    copies = -(-2 * config.batch_size // PICTURES)
    return PackedImages([np.stack(rooms * copies)], side, "digest")


def repeat(images: PackedImages, config: TrainConfig, device: torch.device) -> Iterator[Minibatch]:
    """Minibatches without end, by our feed."""
    feed = open_feed(images, config, device)
    epoch = 0
    while True:
        yield from feed.minibatches(epoch)
        epoch += 1


def make_program(
    model: str, technique: Technique, config: TrainConfig, images: PackedImages, device: torch.device, steps: int
) -> Callable[[], None]:
    """A function that takes so many steps and returns when the device has done them."""
    state = begin(model, technique, config, device)
    if technique.stepper:
        stepper = Stepper(state, device, compiled=technique.compiled)
        feed = repeat(images, config, device)

        def step() -> None:
            pixels, labels = next(feed)
            stepper.step(pixels, labels, trains_d=True, trains_g=True)
    else:
        size = config.batch_size
        pixels = [torch.from_numpy(images.take(np.arange(first, first + size))) for first in (0, size)]
        ready = [each.to(device) if technique.uint8 else from_pixels(each).contiguous() for each in pixels]
        turn = 0

        def step() -> None:
            nonlocal turn
            turn += 1
            given = ready[turn % 2]
            real = from_pixels(given) if technique.uint8 else given.to(device)
            layout = torch.channels_last if technique.channels_last else torch.contiguous_format
            step_plainly(state, real.contiguous(memory_format=layout))

    def run() -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def measure_rates(
    model: str, techniques: Sequence[Technique], config: TrainConfig, device: torch.device, steps: int, rounds: int
) -> list[float]:
    """Images a second of each technique, in turn, after a run that does not count."""
    images = make_pictures(config)
    programs = [make_program(model, technique, config, images, device, steps) for technique in techniques]
    for program in programs:
        program()
    return [steps * config.batch_size / seconds for seconds in best_seconds(programs, rounds)]


def count_flops(model: str, config: TrainConfig, device: torch.device) -> float:
    """Floating-point operations an image in one step of ours, forward and backward; a multiply-add is two."""
    small = replace(config, batch_size=2)
    stepper = Stepper(begin(model, PLAIN, small, device), device)
    pixels = torch.zeros(2, config.model.resolution, config.model.resolution, 3, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        stepper.step(pixels, None, trains_d=True, trains_g=True)
    return float(counter.get_total_flops()) / 2


def measure_ceiling(precision: Precision, device: torch.device) -> float:
    """Operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision is Precision.TF32
    products = 20 if device.type == "cuda" else 1

    def multiply() -> None:
        for _ in range(products):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()

    multiply()
    (seconds,) = best_seconds([multiply])
    torch.backends.cuda.matmul.allow_tf32 = before
    return products * 2 * side**3 / seconds


def compare_measures(
    technique: Technique, config: TrainConfig, device: torch.device, steps: int
) -> dict[str, tuple[float, float, float]]:
    """Of each measure: the largest and the mean difference from eager fp32, and its own mean there."""
    images = make_pictures(config)
    measured: list[list[dict[str, Tensor]]] = []
    for kind in (replace(technique, precision=Precision.FP32, compiled=False), technique):
        stepper = Stepper(begin(PAPER, kind, config, device), device, compiled=kind.compiled)
        feed = repeat(images, config, device)
        measured.append([stepper.step(*next(feed), trains_d=True, trains_g=True) for _ in range(steps)])
    table: dict[str, tuple[float, float, float]] = {}
    for name in measured[0][0]:
        exact, fast = (torch.stack([row[name] for row in rows]) for rows in measured)
        gaps = (exact - fast).abs()
        table[name] = (gaps.max().item(), gaps.mean().item(), exact.mean().item())
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--width", type=int, default=128, help="maps of the narrowest layer")
    parser.add_argument("--resolution", type=int, default=64, help="pixels")
    parser.add_argument("--batch-size", type=int, help="default: 128 on a GPU, 16 on a CPU")
    parser.add_argument("--steps", type=int, help="in a round; default: 50 on a GPU, 1 on a CPU")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--check-steps", type=int, help="default: 200 on a GPU, 10 on a CPU")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=has_gpu, help="default: on a GPU")
    options = parser.parse_args()
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    if options.threads:
        torch.set_num_threads(options.threads)
    steps = options.steps or (50 if on_gpu else 1)
    size = ModelConfig(resolution=options.resolution, generator_width=options.width, discriminator_width=options.width)
    config = TrainConfig(model=size, batch_size=options.batch_size or (128 if on_gpu else 16))
    print_machine("torch", "numpy")
    where = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads of the CPU"
    console.print(f"{where}; {size.resolution} px, width {options.width}, minibatches of {config.batch_size}")
    started = time.monotonic()

    ladder = choose_ladder(device, options.compile)
    models = [PAPER, *([EXAMPLE] if size.resolution == EXAMPLE_SIDE else [])]
    ceilings = {each: measure_ceiling(each, device) for each in dict.fromkeys(rung.precision for rung in ladder)}
    ours = ladder[-1]
    rows = []
    for model in models:
        techniques = ladder if model == PAPER else [PLAIN, ours]
        rates = measure_rates(model, techniques, config, device, steps, options.rounds)
        flops = count_flops(model, config, device)
        if model == PAPER:
            steps_up = [
                (rung.name, f"{rate:,.1f}", f"{rate / before:.2f}", f"{rate / rates[0]:.2f}")
                for rung, rate, before in zip(ladder, rates, [rates[0], *rates], strict=False)
            ]
            print_table(f"{PAPER}: ladder", ("technique", "images/s", "times the rung before", "times plain"), steps_up)
        for technique, rate in ((PLAIN, rates[0]), (ours, rates[-1])):
            ceiling = ceilings[technique.precision]
            rows.append(
                (
                    f"{model}: {'ours' if technique.stepper else technique.name}",
                    technique.precision.value,
                    f"{rate:,.1f}",
                    f"{rate / rates[0]:.2f}",
                    f"{flops / 1e9:.2f}",
                    f"{rate * flops / 1e12:,.3f}",
                    f"{ceiling / 1e12:,.3f}",
                    f"{rate * flops / ceiling:.0%}",
                )
            )
    columns = ("model", "precision", "images/s", "times plain", "GFLOP an image", "TFLOP/s", "matrix product", "share")
    print_table("Rates beside the plain loop's and the ceiling", columns, rows)

    check_steps = options.check_steps or (200 if on_gpu else 10)
    compared = compare_measures(ours, config, device, check_steps)
    print_table(
        f"Ours ({ours.precision}{', compiled' if ours.compiled else ''}) beside eager fp32, {check_steps} steps",
        ("measure", "largest difference", "mean difference", "its mean"),
        [(name, *(f"{number:.4f}" for number in numbers)) for name, numbers in compared.items()],
    )
    console.print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
