import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipelines.errors import IntegrityError
from train import checkpoint, export
from train.checkpoint import find_checkpoints
from train.config import ModelConfig, NormStatistics, TrainConfig, from_json, to_toml
from train.dcgan import Generator, draw_z
from train.ema import MovingAverage
from train.export import METADATA_KEY, app
from train.runs import CONFIG_NAME, Weights, open_run
from train.state import TrainingState
from train.statistics import Statistics, prepare, stream_calibration

CPU = torch.device("cpu")
TOLERANCE = 1e-4
Export = Callable[..., int]


def config(**of_model: Any) -> TrainConfig:
    model = ModelConfig(resolution=32, z_size=16, generator_width=8, discriminator_width=8, **of_model)
    return TrainConfig(model=model, batch_size=8)


KINDS = {
    "running": config(),
    "batch": config(norm_statistics=NormStatistics.BATCH),
    "conditional": config(classes=3),
}
missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
FORMATS = ["safetensors", pytest.param("onnx", marks=needs_onnx), "torchscript"]


@pytest.fixture
def run_exporter(in_process: Callable[..., Export]) -> Export:
    """`python -m train.export` in this process; returns its exit code."""
    return in_process(app, "train.export")


def make_run(folder: Path, kind: str) -> Path:
    """A run with some images behind it: its G has running averages, and a moving average with other weights."""
    state = TrainingState.begin(KINDS[kind], "digest", CPU)
    average = MovingAverage(state.generator, 0.9)
    with torch.no_grad():
        for _ in range(3):
            state.generator(*inputs_of(kind, 8))
        for parameter in state.generator.parameters():
            parameter.mul_(1.5)
    average.update(state.generator)
    folder.mkdir()
    (folder / CONFIG_NAME).write_text(to_toml(KINDS[kind]))
    path = checkpoint.write(state.pack(), folder)
    torch.save(torch.load(path, weights_only=True) | {"ema": average.state_dict()}, path)
    return folder


def inputs_of(kind: str, rows: int) -> tuple[torch.Tensor, ...]:
    model = KINDS[kind].model
    z = draw_z(rows, model, torch.Generator().manual_seed(rows))
    return (z, torch.arange(rows) % model.classes) if model.classes else (z,)


def draw_exported(path: Path, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Images drawn by an exported file as a stranger would."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        named = {name: tensor.numpy() for name, tensor in zip(["z", "labels"], inputs, strict=False)}
        return torch.from_numpy(np.asarray(session.run(["images"], named)[0]))
    if path.suffix == ".pt":
        images: torch.Tensor = torch.jit.load(path)(*inputs)
        return images.detach()
    generator = Generator(from_json(read_facts(path)["config"]).model)
    generator.load_state_dict(load_file(path))
    return generator.eval()(*inputs).detach()


def read_facts(path: Path) -> dict[str, Any]:
    metadata: dict[str, str] = {METADATA_KEY: ""}
    if path.suffix == ".onnx":
        import onnx

        metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    elif path.suffix == ".pt":
        torch.jit.load(path, _extra_files=metadata)
    else:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
    facts: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return facts


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_g_draws_the_same_images(
    run_exporter: Export, tmp_path: Path, kind: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = make_run(tmp_path / "run", kind)
    assert run_exporter(run_folder, "--format", format) == 0
    (path,) = run_folder.glob("generator.*")
    assert str(path) in capsys.readouterr().out

    opened = open_run(run_folder)
    assert opened.weights is Weights.EMA
    statistics = Statistics.RECALIBRATED if kind == "batch" else Statistics.RUNNING
    ready = prepare(opened.generator, opened.config.model, statistics, stream_calibration(opened.config, CPU))
    for rows in (1, 3, 8):
        inputs = inputs_of(kind, rows)
        torch.testing.assert_close(draw_exported(path, inputs), ready(*inputs), atol=TOLERANCE, rtol=0)

    facts = read_facts(path)
    assert from_json(facts["config"]).model.z_size == 16
    assert (facts["data_digest"], facts["weights"], facts["statistics"]) == ("digest", "ema", statistics)
    assert facts["inputs"].keys() == ({"z", "labels"} if kind == "conditional" else {"z"})


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_the_same_command_writes_the_same_file_without_paths(run_exporter: Export, tmp_path: Path, format: str) -> None:
    run_folder = make_run(tmp_path / "run", "running")
    outs = [tmp_path / "new" / name for name in ("first", "again")]
    for out in outs:
        assert run_exporter(run_folder, "--format", format, "--out", out) == 0
    if format != "torchscript":  # whose names count the traces of a process
        assert outs[0].read_bytes() == outs[1].read_bytes()
    assert str(Path.cwd()).encode() not in outs[0].read_bytes()


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_the_weights_asked_for_are_exported(run_exporter: Export, tmp_path: Path, weights: str) -> None:
    run_folder = make_run(tmp_path / "run", "running")
    assert run_exporter(run_folder, "--format", "safetensors", "--weights", weights) == 0
    content = checkpoint.read(find_checkpoints(run_folder)[-1])
    stored = content["ema"]["generator"] if weights == "ema" else content["generator"]
    exported = load_file(run_folder / "generator.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in exported.values())
    assert exported.keys() == {name for name in stored if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(tensor, stored[name]) for name, tensor in exported.items())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("format", ["torchscript", pytest.param("onnx", marks=needs_onnx)])
def test_a_file_that_draws_other_images_is_not_written(
    run_exporter: Export,
    tmp_path: Path,
    format: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_folder = make_run(tmp_path / "run", "running")
    before = sorted(run_folder.rglob("*"))
    monkeypatch.setattr(export, "TOLERANCE", -1.0)  # no file is as near as that
    assert run_exporter(run_folder, "--format", format) == 1
    assert "would draw other images" in capsys.readouterr().err
    assert sorted(run_folder.rglob("*")) == before


def test_images_that_are_not_finite_or_of_another_shape_are_not_the_same() -> None:
    images = torch.zeros(2, 3, 4, 4)
    export.require_same_images(images, images + 1e-5, "ONNX")
    for other in (images + 1e-3, images * torch.nan, images[:1]):
        with pytest.raises(IntegrityError):
            export.require_same_images(images, other, "ONNX")


def test_a_missing_package_is_named_with_its_command(
    run_exporter: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    run_folder = make_run(tmp_path / "run", "running")
    assert run_exporter(run_folder, "--format", "onnx") == 1
    error = capsys.readouterr().err
    assert "onnx, which is not installed" in error
    assert "pip install 'cleanshards[export]'" in error
    assert not list(run_folder.glob("generator.*"))


def test_refusals_say_what_to_try(run_exporter: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_exporter(tmp_path, "--format", "safetensors") == 1
    assert "there is no run in" in capsys.readouterr().err
    assert run_exporter(tmp_path, "--format", "keras") == 2
    assert run_exporter(tmp_path) == 2
