"""Command: ``python -m train.export RUN``. A run's folder in; its G in a format that other programs read out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".

Every format takes z, float32 (B, z_size), and gives images, float32 (B, 3, R, R) in [-1, 1], RGB, for any B; where the
networks are conditional it takes labels too, int64 (B,). Batch norm has fixed statistics: an image depends on its z
alone. `describe` is what each file says of itself.
"""

import importlib.metadata
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.torch
import torch
import typer
from rich.markup import escape

from pipelines.cli import Debug, Quiet, console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError, IntegrityError
from pipelines.store import write_atomically
from train.config import NormStatistics, Prior, TrainConfig
from train.dcgan import Generator
from train.randomness import Stream, seeded_generator
from train.runs import OpenedRun, Weights, open_run
from train.samples import Inputs, stream_inputs
from train.statistics import Statistics, prepare, stream_calibration, usual_statistics

OPSET = 18  # of ONNX: what torch's exporter translates to without a conversion
TOLERANCE = 1e-4  # of an image in [-1, 1]; one of 256 levels is 0.008
TRACED_ROWS, CHECKED_ROWS = 2, (1, 5)
METADATA_KEY = "cleanshards"  # what `describe` gives, as JSON; in TorchScript's archive a file of that name


class Format(StrEnum):
    """What to write."""

    SAFETENSORS = "safetensors"  # the weights alone, for `train.dcgan.Generator`
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


PRIORS = {Prior.UNIFORM: "uniform on [-1, 1]", Prior.NORMAL: "standard normal"}
SUFFIXES = {Format.SAFETENSORS: ".safetensors", Format.ONNX: ".onnx", Format.TORCHSCRIPT: ".pt"}

app = new_app("Export a trained G.")


@app.command()
def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: DATA_ROOT/DATASET/train/NAME.")],
    *,
    format: Annotated[
        Format, typer.Option(help="safetensors: weights alone. onnx, torchscript: the network, to run elsewhere.")
    ],
    weights: Annotated[
        Weights, typer.Option(help="auto: the moving average (ema) where the run keeps one.")
    ] = Weights.AUTO,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, or a name in the run.", show_default="the last")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write.", show_default="RUN/generator.SUFFIX")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the G of RUN for other programs: z in, images in [-1, 1] out.

    ONNX and TorchScript files are run before they are kept, and must
    draw what G draws. ONNX needs pip install 'cleanshards\\[export]'.

    Examples:

      python -m train.export data/demo/train/demo --format onnx

      python -m train.export data/demo/train/demo --format safetensors --weights raw --out G.safetensors
    """
    set_up_output(quiet=quiet)
    if format is Format.ONNX:
        require_onnx()
    opened = open_run(run, weights=weights, named=checkpoint)
    generator, statistics = freeze(opened)
    facts = describe(opened, statistics)
    match format:
        case Format.SAFETENSORS:
            content = to_safetensors(generator, facts)
        case Format.ONNX:
            content = to_onnx(generator, opened.config, facts)
        case Format.TORCHSCRIPT:
            content = to_torchscript(generator, opened.config, facts)
    target = out or run / f"generator{SUFFIXES[format]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
    console.print(
        f"G of {opened.checkpoint.name} ({opened.images_seen:,} images seen, {opened.weights} weights, "
        f"{statistics} statistics): [b]{escape(str(target))}[/b]",
        soft_wrap=True,
    )


def freeze(opened: OpenedRun) -> tuple[Generator, Statistics]:
    """A G on the CPU whose batch norm has fixed statistics: running ones, or recalibrated where the run keeps none."""
    config = opened.config
    statistics = Statistics.RECALIBRATED if usual_statistics(config) is Statistics.BATCH else Statistics.RUNNING
    on = next(opened.generator.parameters()).device
    generator = prepare(opened.generator, config.model, statistics, stream_calibration(config, on))
    generator.to(device="cpu", dtype=torch.float32, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return generator, statistics


def describe(opened: OpenedRun, statistics: Statistics) -> str:
    """What a file says of itself, as JSON; its ``config`` is of a G with running averages, as the exported one has."""
    config = opened.config
    model = replace(config.model, norm_statistics=NormStatistics.RUNNING)
    labels = {"labels": f"int64 (B,), 0 to {model.classes - 1}"} if model.classes else {}
    facts = {
        "cleanshards": importlib.metadata.version("cleanshards"),
        "torch": torch.__version__,
        "images_seen": opened.images_seen,
        "data_digest": opened.data_digest,
        "weights": opened.weights,
        "statistics": statistics,
        "inputs": {"z": f"float32 (B, {model.z_size}), {PRIORS[model.z_prior]}", **labels},
        "outputs": {"images": f"float32 (B, 3, {model.resolution}, {model.resolution}), RGB in [-1, 1]"},
        "config": replace(config, model=model).to_json(),
    }
    return json.dumps(facts)


def to_safetensors(generator: Generator, facts: str) -> bytes:
    """G's weights and batch norm's statistics under the names of `train.dcgan.Generator`, all float32."""
    state = generator.state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in state.items() if tensor.is_floating_point()}
    return safetensors.torch.save(tensors, {METADATA_KEY: facts})


def to_torchscript(generator: Generator, config: TrainConfig, facts: str) -> bytes:
    """A traced G, which ``torch.jit.load`` reads, with `METADATA_KEY` among its extra files.

    Raises:
        IntegrityError: read back, it draws other images.
    """
    buffer = io.BytesIO()
    with warnings_hidden():
        traced = torch.jit.trace(generator, example_inputs(config, TRACED_ROWS))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={METADATA_KEY: facts})
        loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))  # type: ignore[no-untyped-call]
    for rows in CHECKED_ROWS:
        inputs = example_inputs(config, rows)
        with torch.no_grad():
            require_same_images(generator(*inputs), loaded(*inputs), "TorchScript")
    return buffer.getvalue()


def to_onnx(generator: Generator, config: TrainConfig, facts: str) -> bytes:
    """G as an ONNX model, with inputs ``z`` (and ``labels``) and output ``images``, and the facts as a property.

    Raises:
        ConfigError: a package for it is not installed.
        IntegrityError: onnxruntime draws other images.
    """
    onnx, onnxruntime = require_onnx()
    names = ["z", "labels"] if config.model.classes else ["z"]
    batch = torch.export.Dim("batch")
    with warnings_hidden():
        program = torch.onnx.export(
            generator,
            example_inputs(config, TRACED_ROWS),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["images"],
            dynamic_shapes=tuple({0: batch} for _ in names),
            verbose=False,
        )
    model = program.model_proto  # type: ignore[union-attr]  # only the exporter of old returns None
    strip_notes(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: facts})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for rows in CHECKED_ROWS:
        inputs = example_inputs(config, rows)
        (images,) = session.run(None, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)))
        with torch.no_grad():
            require_same_images(generator(*inputs), torch.from_numpy(np.asarray(images)), "ONNX")
    return content


def require_onnx() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime; ConfigError where one that the export needs is not installed."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter imports it
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--format onnx needs {error.name}, which is not installed", hint="pip install 'cleanshards[export]'"
        ) from error
    return onnx, onnxruntime


def strip_notes(model: Any) -> None:
    """Remove what the exporter notes at each node and value: stack traces, with the paths of this machine."""
    graph = model.graph
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph):
        del item.metadata_props[:]


def example_inputs(config: TrainConfig, rows: int) -> Inputs:
    """What G is traced and checked with."""
    return next(stream_inputs(config.model, rows, seeded_generator(config.seed, Stream.SAMPLES)))


def require_same_images(expected: torch.Tensor, found: torch.Tensor, what: str) -> None:
    """Raise IntegrityError where images differ by more than `TOLERANCE`, or in shape."""
    if found.shape != expected.shape:
        raise IntegrityError(f"the {what} file would draw {tuple(found.shape)}, not {tuple(expected.shape)}")
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE:
        raise IntegrityError(
            f"the {what} file would draw other images than G: they differ by {difference:.2g}, more than {TOLERANCE}",
            hint="nothing was written; another version of the packages in cleanshards[export] may do better",
        )


@contextmanager
def warnings_hidden() -> Iterator[None]:
    """Keep to ourselves what torch plans for its exporters and how it names axes; files are checked all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    run_app(app, "python -m train.export")
