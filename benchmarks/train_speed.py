"""How many images a second does training take in, what does each technique bring, and how near is the ceiling?

    python -m benchmarks.train_speed [--device cuda] [--width 128] [--resolution 64] [--batch-size 128] [--steps 50]

Two models: the paper's (5×5 kernels, ``--width`` maps) and the one that PyTorch's DCGAN example trains (4×4 kernels,
half as many maps, 64 px), each by our step and by a plain loop (`benchmarks.plain_dcgan`): that example's, in fp32,
with its images ready in memory as floats; on a GPU also with TF32, torch's default. The programs run in turn
(`benchmarks.train_programs`); a rate is that of the best round, of which the first step is not counted. With one thread
of a CPU, the seconds are the processor's, so that what else it does counts for little.

The ladder adds one technique at a time. The ceiling is a large matrix product on the same device; operations are
counted by torch in one step of ours (15.3 GFLOP an image for the paper's model; a place outside of the maps counts,
though libraries may skip it). The plain loop needs about as many: it shares fake images between its steps, and computes
gradients of D's weights that it throws away.

The last tables compare our measures with those of eager fp32 by torch's own layers, from the same weights, images and
z. Each step of the game enlarges what rounding did: the first ones must agree closely, the means over all loosely.
"""

import argparse
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_dcgan import EXAMPLE_SIDE
from benchmarks.tables import console, print_machine, print_table
from benchmarks.train_programs import (
    EXAMPLE,
    PAPER,
    PLAIN,
    Task,
    Technique,
    begin,
    choose_clock,
    make_pictures,
    measure_rates,
    repeat,
    wait_for,
)
from train.config import ModelConfig, Precision, TrainConfig
from train.step import Stepper

FIRST_STEPS = 5
# Of a measure, per 1 + its size in eager fp32: how far it may be off in the first steps, and its mean over all.
TOLERANCES = {Precision.FP32: (0.005, 0.1), Precision.TF32: (0.02, 0.1), Precision.BF16: (0.1, 0.2)}


def choose_ladder(device: torch.device, compiles: bool) -> list[Technique]:
    """Every rung adds to the one before, but bf16 takes the place of TF32."""
    step = replace(PLAIN, name="+ our step: bytes sent, no waiting, D frozen", stepper=True)
    if device.type == "cuda":
        last = replace(PLAIN, name="+ channels last", channels_last=True)
        step = replace(step, channels_last=True)
        fused = replace(step, name="+ fused Adam", fused=True)
        tf32 = replace(fused, name="+ TF32", precision=Precision.TF32)
        half = replace(fused, name="+ bf16", precision=Precision.BF16)
        rungs = [PLAIN, last, step, fused, tf32, half]
    else:
        fused = replace(step, name="+ fused Adam", fused=True)
        products = replace(fused, name="+ gradients of small maps as products", products=True)
        kept = replace(products, name="+ freed memory kept", keeps_memory=True)
        half = replace(kept, name="+ bf16", precision=Precision.BF16)
        rungs = [PLAIN, step, fused, products, kept, half]
    if compiles:
        graphs = " and CUDA graphs" if device.type == "cuda" else ""
        rungs.append(replace(half, name=f"+ torch.compile{graphs}", compiled=True))
    return rungs


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

    clock, best_s = choose_clock(device), float("inf")
    for _ in range(6):  # the first of which warms up
        started = clock()
        for _ in range(products):
            left @ right
        wait_for(device)
        best_s = min(best_s, clock() - started)
    torch.backends.cuda.matmul.allow_tf32 = before
    return products * 2 * side**3 / best_s


def compare_measures(
    technique: Technique, config: TrainConfig, device: torch.device, steps: int
) -> list[tuple[str, ...]]:
    """A row for each measure: its mean in eager fp32, how far ours is off and may be, and whether that is kept."""
    images = make_pictures(config)
    eager = replace(technique, precision=Precision.FP32, compiled=False, products=False, keeps_memory=False)
    measured: list[list[dict[str, Tensor]]] = []
    for kind in (eager, technique):
        stepper = Stepper(begin(PAPER, kind, config, device), device, compiled=kind.compiled)
        feed = repeat(images, config, device)
        measured.append([stepper.step(*next(feed), trains_d=True, trains_g=True) for _ in range(steps)])
    of_first, of_mean = TOLERANCES[technique.precision]
    rows = []
    for name in measured[0][0]:
        exact, fast = (torch.stack([row[name] for row in rows]).double() for rows in measured)
        first = ((exact - fast).abs() / (1 + exact.abs()))[:FIRST_STEPS].max().item()
        mean = ((exact.mean() - fast.mean()).abs() / (1 + exact.mean().abs())).item()
        kept = "yes" if first <= of_first and mean <= of_mean else "NO"  # NO for NaN too
        numbers = (exact.mean().item(), first, of_first, mean, of_mean)
        rows.append((name, *(f"{number:.4f}" for number in numbers), kept))
    return rows


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
    default = [replace(PLAIN, name="plain loop, TF32", precision=Precision.TF32)] if on_gpu else []
    exact = [rung for rung in ladder if rung.precision is Precision.FP32][-1]
    compared = [PLAIN, *default, exact, ladder[-1]]
    ceilings = {each: measure_ceiling(each, device) for each in dict.fromkeys(rung.precision for rung in ladder)}
    rows = []
    for model in (PAPER, *([EXAMPLE] if size.resolution == EXAMPLE_SIDE else [])):
        techniques = [*ladder, *default] if model == PAPER else compared
        tasks = [
            Task(model=model, technique=technique, config=config, device=device, threads=torch.get_num_threads())
            for technique in techniques
        ]
        rates, taken_gb = measure_rates(tasks, steps, options.rounds)
        flops = count_flops(model, config, device)
        if model == PAPER:
            rungs = [
                (rung.name, f"{rate:,.1f}", f"{rate / before:.2f}", f"{rate / rates[0]:.2f}")
                for rung, rate, before in zip(ladder, rates, [rates[0], *rates], strict=False)
            ]
            print_table(f"{PAPER}: ladder", ("technique", "images/s", "times the rung before", "times plain"), rungs)
        for technique in compared:
            rate, gb = ((rates, taken_gb)[i][techniques.index(technique)] for i in range(2))
            ceiling = ceilings[technique.precision]
            rows.append(
                (
                    f"{model}: {'ours' if technique.stepper else 'plain loop'}",
                    f"{technique.precision}{', compiled' if technique.compiled else ''}",
                    f"{rate:,.1f}",
                    f"{rate / rates[0]:.2f}",
                    f"{flops / 1e9:.2f}",
                    f"{rate * flops / 1e12:,.3f}",
                    f"{ceiling / 1e12:,.3f}",
                    f"{rate * flops / ceiling:.0%}",
                    *([f"{gb:.2f}"] if on_gpu else []),
                )
            )
    columns = ["model", "precision", "images/s", "times plain", "GFLOP an image", "TFLOP/s", "matrix product", "share"]
    print_table("Beside the plain loop and the ceiling", columns + ["GB of GPU memory"] * on_gpu, rows)

    check_steps = options.check_steps or (200 if on_gpu else 10)
    for technique in (exact, ladder[-1]):
        print_table(
            f"Ours ({technique.precision}{', compiled' if technique.compiled else ''}) beside eager fp32, per 1 + size",
            (
                "measure",
                "its mean",
                f"off, first {FIRST_STEPS}",
                "allowed",
                f"mean of {check_steps}",
                "allowed",
                "kept",
            ),
            compare_measures(technique, config, device, check_steps),
        )
    console.print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
