import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from pipelines.store import hash_file
from train.arrays import Array, read_arrays
from train.config import Critic, NormStatistics, Prior
from train.import_theano import app
from train.runs import open_run
from train.sample import app as sample_app

# D of the SVHN model and of ImageNet-32's, and G of the former, with 3 and 2 maps in the place of 64 and 128.
SVHN_STEPS = (2, 2, 2)
IMAGENET_STEPS = (1, 2, 1, 2, 1, 2)
IMAGES = 4
Import = Callable[..., int]


@pytest.fixture
def bring(in_process: Callable[..., Import]) -> Import:
    """`python -m train.import_theano` in this process; returns its exit code."""
    return in_process(app, "train.import_theano")


def draw_norm(rng: np.random.Generator, maps: int) -> list[Array]:
    return [rng.normal(1, 0.2, maps).astype(np.float32), rng.normal(0, 0.2, maps).astype(np.float32)]


def draw_critic(widths: tuple[int, ...], side: int, seed: int) -> list[Array]:
    """D's arrays in the authors' order."""
    rng = np.random.default_rng(seed)
    arrays = []
    for index, (maps, wider) in enumerate(zip((3, *widths), widths, strict=False)):
        arrays.append(rng.normal(0, 0.2, (wider, maps, side, side)).astype(np.float32))
        arrays.extend(draw_norm(rng, wider) if index else [])
    return [*arrays, rng.normal(0, 0.2, (widths[-1] * 16, 1)).astype(np.float32)]


def draw_generator(widths: tuple[int, ...], z_size: int, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    seeds = widths[0] * 16
    arrays = [rng.normal(0, 0.2, (z_size, seeds)).astype(np.float32), *draw_norm(rng, seeds)]
    for maps, wider in pairwise(widths):
        arrays.append(rng.normal(0, 0.2, (maps, wider, 5, 5)).astype(np.float32))
        arrays.extend(draw_norm(rng, wider))
    return [*arrays, rng.normal(0, 0.2, (widths[-1], 3, 5, 5)).astype(np.float32)]


SVHN_D = draw_critic((3, 6, 12), 5, 0)
SVHN_G = draw_generator((8, 4, 2), 7, 1)
IMAGENET_D = draw_critic((2, 2, 4, 4, 8, 8), 3, 2)


def convolve(maps: np.ndarray, kernels: Array, step: int) -> np.ndarray:
    """A convolution as mathematics has it, of every ``step``-th place: sum of x[i - a] w[a], with a from the centre."""
    n, _, side, _ = maps.shape
    reach = kernels.shape[2] // 2
    padded = np.pad(maps, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    out = np.zeros((n, len(kernels), side // step, side // step))
    for i, j in np.ndindex(*out.shape[2:]):
        for a, b in np.ndindex(*kernels.shape[2:]):
            seen = padded[:, :, i * step + 2 * reach - a, j * step + 2 * reach - b]
            out[:, :, i, j] += np.einsum("nc,oc->no", seen, kernels[:, :, a, b])
    return out


def spread(maps: np.ndarray, kernels: Array, step: int) -> np.ndarray:
    """The gradient of `convolve` with respect to what it takes in: kernels (out, in, ·, ·) as above, places swapped."""
    n, _, side, _ = maps.shape
    reach = kernels.shape[2] // 2
    padded = np.zeros((n, kernels.shape[1], side * step + 2 * reach, side * step + 2 * reach))
    for i, j in np.ndindex(*maps.shape[2:]):
        for a, b in np.ndindex(*kernels.shape[2:]):
            sent = np.einsum("no,oc->nc", maps[:, :, i, j], kernels[:, :, a, b])
            padded[:, :, i * step + 2 * reach - a, j * step + 2 * reach - b] += sent
    return padded[:, :, reach:-reach, reach:-reach]


def normalise(maps: np.ndarray, gain: Array, bias: Array) -> np.ndarray:
    axes = (0, *range(2, maps.ndim))
    mean, variance = maps.mean(axes, keepdims=True), maps.var(axes, keepdims=True)
    shape = (1, -1, *(1,) * (maps.ndim - 2))
    return (maps - mean) / np.sqrt(variance + 1e-8) * gain.reshape(shape) + bias.reshape(shape)


def judge(images: np.ndarray, arrays: list[Array], steps: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Features of each layer of D, and its logits."""
    left = iter(arrays)
    for index, step in enumerate(steps):
        images = convolve(images, next(left), step)
        images = normalise(images, next(left), next(left)) if index else images
        images = np.where(images > 0, images, 0.2 * images)
        yield images
    yield (images.reshape(len(images), -1) @ next(left))[:, 0]


def draw(z: np.ndarray, arrays: list[Array]) -> np.ndarray:
    """Images by G."""
    left = iter(arrays)
    maps = np.maximum(normalise(z @ next(left), next(left), next(left)), 0).reshape(len(z), -1, 4, 4)
    for _ in SVHN_STEPS[1:]:
        maps = np.maximum(normalise(spread(maps, next(left), 2), next(left), next(left)), 0)
    return np.tanh(spread(maps, next(left), 2))


def save_old(arrays: list[Array], path: Path) -> None:
    """As joblib 0.8 of Python 2 did, which the authors used: a file for each array, and a pickle of their names."""
    content = [b"\x80\x02]("]  # protocol 2, a list
    for number, array in enumerate(arrays, start=1):
        name = f"{path.name}_{number:02d}.npy"
        np.save(path.with_name(name), array)
        content += [b"csklearn.externals.joblib.numpy_pickle\nNDArrayWrapper\n)\x81}("]
        content += [b"U\x08filename", b"U", bytes([len(name)]), name.encode()]
        content += [b"U\x08subclasscnumpy\nndarray\n", b"U\nallow_mmap\x88", b"ub"]
    path.write_bytes(b"".join([*content, b"e."]))


def save_new(arrays: list[Array], path: Path) -> None:
    joblib.dump(arrays, path)


def save_each(arrays: list[Array], path: Path) -> None:
    for number, array in enumerate(arrays):
        np.save(path.with_name(f"{path.name}_{number}.npy"), array)


def save_npz(arrays: list[Array], path: Path) -> None:
    np.savez(path.with_suffix(".npz"), *arrays)


def save_model(
    folder: Path,
    critic: list[Array],
    generator: list[Array],
    epoch: int = 200,
    save: Callable[[list[Array], Path], None] = save_npz,
) -> Path:
    folder.mkdir(exist_ok=True)
    save(critic, folder / f"{epoch}_discrim_params.jl")
    save(generator, folder / f"{epoch}_gen_params.jl")
    return folder


@pytest.mark.parametrize("save", [save_old, save_new, save_each, save_npz])
def test_the_svhn_model_computes_what_its_arrays_say(
    bring: Import, tmp_path: Path, save: Callable[[list[Array], Path], None]
) -> None:
    folder = save_model(tmp_path / "model", SVHN_D, SVHN_G, save=save)
    assert bring(folder, "--out", tmp_path / "run") == 0
    opened = open_run(tmp_path / "run")
    model = opened.config.model
    assert (model.z_prior, model.z_size, model.norm_statistics) == (Prior.NORMAL, 7, NormStatistics.BATCH)
    assert (model.generator_width, model.discriminator_width, model.norm_eps) == (2, 3, 1e-8)
    assert (opened.config.epochs, opened.images_seen) == (200, 200 * 63_257)
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    assert note["files"] == {path.name: hash_file(path) for path in folder.iterdir()}

    rng = np.random.default_rng(9)
    z, images = rng.normal(size=(IMAGES, 7)), rng.uniform(-1, 1, (IMAGES, 3, 32, 32))
    drawn = opened.generator(torch.from_numpy(z).float())
    np.testing.assert_allclose(drawn.numpy(), draw(z, SVHN_G), atol=1e-4)
    assert drawn.std() > 0.1
    require_alike(opened.discriminator, images, SVHN_D, SVHN_STEPS)


def test_the_imagenet_models_d_computes_what_its_arrays_say(
    bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_model(tmp_path / "model", IMAGENET_D, [], epoch=30)
    assert bring(folder, "--out", tmp_path / "run") == 0
    assert "G was not read" in capsys.readouterr().out
    opened = open_run(tmp_path / "run")
    assert (opened.config.model.critic, opened.config.model.discriminator_width) == (Critic.SIX_CONV, 2)
    images = np.random.default_rng(9).uniform(-1, 1, (IMAGES, 3, 32, 32))
    require_alike(opened.discriminator, images, IMAGENET_D, IMAGENET_STEPS)


def require_alike(critic: Any, images: np.ndarray, arrays: list[Array], steps: tuple[int, ...]) -> None:
    *expected, logits = judge(images, arrays, steps)
    given = torch.from_numpy(images).float()
    for features, truth in zip(critic.features(given), expected, strict=True):
        np.testing.assert_allclose(features.numpy(), truth, atol=1e-4)
        assert truth.std() > 0.1
    np.testing.assert_allclose(critic(given).numpy(), logits, atol=1e-4)


def test_an_imported_run_can_be_drawn_from(
    bring: Import, in_process: Callable[..., Import], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in (5, 200):
        save_model(tmp_path / "model", SVHN_D, SVHN_G, epoch)
    assert bring(tmp_path / "model", "--out", tmp_path / "new" / "run", "--epoch", "5") == 0
    assert "of epoch 5" in capsys.readouterr().out
    sample = in_process(sample_app, "train.sample")
    assert sample(tmp_path / "new" / "run", "--n", "4") == 0
    assert sample(tmp_path / "new" / "run", "--n", "4", "--statistics", "recalibrated") == 0


def test_refusals_say_what_to_try(bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "model", tmp_path / "run"

    def refuse(critic: list[Array], generator: list[Array], *options: object) -> str:
        save_model(model, critic, generator)
        assert bring(model, "--out", out, *options) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, "an error in one line, and a hint"
        assert not out.exists()
        return error

    assert bring(tmp_path, "--out", out) == 1
    assert f"there is no model in {tmp_path}" in capsys.readouterr().err
    assert "nothing of epoch 3" in refuse(SVHN_D, SVHN_G, "--epoch", "3")
    assert "D has 7 arrays, and the authors' have 8, 11, 17" in refuse(SVHN_D[:-1], SVHN_G)
    assert "G has 9 arrays in place of 10" in refuse(SVHN_D, SVHN_G[:2] + SVHN_G[3:])
    narrow = [*SVHN_D[:1], SVHN_D[1][:, :2], *SVHN_D[2:]]
    assert "array 2 of D (layers.1.0.weight) is of shape (6, 2, 5, 5), and (6, 3, 5, 5) fits" in refuse(narrow, SVHN_G)
    turned = [SVHN_G[0].T, *SVHN_G[1:]]
    assert "array 1 of G (project.0.weight) is of shape (128, 7), and (128, 128) fits" in refuse(SVHN_D, turned)
    assert "one of 4 axes fits" in refuse(SVHN_D[::-1], SVHN_G)
    broken = [*SVHN_D[:-1], np.full_like(SVHN_D[-1], np.nan)]
    assert "array 8 of" in refuse(broken, SVHN_G)
    out.mkdir()
    assert bring(model, "--out", out) == 1
    assert "exists already" in capsys.readouterr().err


def test_code_in_a_file_is_not_run(bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "marker"

    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return subprocess.check_call, ([sys.executable, "-c", f"open({str(marker)!r}, 'w')"],)

    model = save_model(tmp_path / "model", SVHN_D, SVHN_G)
    path = model / "200_discrim_params.npz"
    path.unlink()
    path = path.with_suffix(".jl")
    for content in (Malice(), [Malice()], {"a": Malice()}):
        path.write_bytes(pickle.dumps(content))
        assert bring(model, "--out", tmp_path / "run") == 1
        error = capsys.readouterr().err
        assert "subprocess.check_call, and not only arrays" in error
        assert len(error.splitlines()) == 2
    path.unlink()
    np.save(model / "200_discrim_params_1.npy", np.array([Malice()], object), allow_pickle=True)
    assert bring(model, "--out", tmp_path / "run") == 1
    assert "is damaged, or holds no list of arrays" in capsys.readouterr().err
    assert not marker.exists()


def test_damaged_files_are_named(bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_model(tmp_path / "model", SVHN_D, SVHN_G, save=save_old)
    path = model / "200_discrim_params.jl"
    whole = path.read_bytes()

    def refuse() -> str:
        assert bring(model, "--out", tmp_path / "run") == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2
        return error

    elsewhere = whole.replace(b"200_discrim_params.jl_01.npy", b"../_discrim_params.jl_01.npy")
    assert elsewhere != whole
    for damaged in (b"", whole[:-9], b"\x80\x02]K\x01a.", b"zip", elsewhere):
        path.write_bytes(damaged)
        assert f"{path} is damaged, or holds no list of arrays" in refuse()
    path.write_bytes(whole)
    (model / "200_discrim_params.jl_03.npy").unlink()
    assert "200_discrim_params.jl_03.npy" in refuse()
    path.unlink()
    for part in model.glob("200_discrim*"):
        part.unlink()
    assert "holds no 200_discrim_params.jl" in refuse()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_joblib_writes_is_read(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4, 5)), np.asfortranarray(rng.normal(size=(6, 2))), np.zeros((0, 3)), np.ones(())]
    arrays += [rng.normal(size=9).astype(">f4"), rng.normal(size=9).astype(np.float16)]
    joblib.dump(arrays, tmp_path / "arrays.jl", protocol=protocol)
    for array, read in zip(arrays, read_arrays(tmp_path / "arrays.jl"), strict=True):
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, array.astype(np.float32))
