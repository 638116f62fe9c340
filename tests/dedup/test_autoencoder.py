from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from dedup.autoencoder import (
    DEFAULT,
    PAPER,
    PRETRAINING,
    Encoder,
    EncoderConfig,
    choose_device,
    fit_encoder,
    load_encoder,
    load_shipped_encoder,
    save_encoder,
)
from dedup.codes import hamming_distance, mirror_codes
from dedup.corruption import add_noise, make_near_duplicates
from pipelines.images import centre_square, decode, make_thumbnail
from pipelines.planting import encode_image
from tests.dedup import pictures

SCENES = pictures.draw_scenes(400)
THUMBNAILS = pictures.shrink(SCENES)
QUICK = replace(DEFAULT, pretrained=False, steps=60, batch_size=128, learning_rate=2e-3)

# Of the shipped encoder on `draw_ramps()`: they change with the file, and with nothing else.
GOLDEN = (
    "1a9c950a9d5bffa2f5e64e537a7d07a8",
    "d8d8910a9f4fff32e5d6cf537e5d13a8",
    "d9ca81c69f07b733f6cccd567c5c1b20",
    "91c2a1ce9b07b7f3f6cee55e4cbc3b34",
    "91e222cab905a7f9f60fe51f44bc3b35",
    "b1622248b987e7f9f62fe11f4ab42e3d",
    "b3682208b987a6f9f62b68174a212c3f",
    "90188892f1b3025c90188892f1b3025c",
)


def draw_ramps() -> np.ndarray:
    """(8, 32, 32, 3) uint8 of whole-number arithmetic alone: ramps, waves of squares, and a blank one."""
    row, column, channel = np.indices((32, 32, 3))
    ramps = [(row * (3 + i) + column * (7 - i) + channel * 40 + (row * column * (i + 1)) // 16) % 256 for i in range(7)]
    return np.stack([*ramps, np.full((32, 32, 3), 200)]).astype(np.uint8)


def digest(encoder: Encoder) -> bytes:
    return encoder.weight.numpy().tobytes() + encoder.bias.numpy().tobytes()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return fit_encoder(THUMBNAILS, QUICK)


def test_the_net_is_the_papers(encoder: Encoder) -> None:
    assert encoder.weight.shape == (64, 3072)  # and their 64 mirror images
    paper = fit_encoder(THUMBNAILS, replace(PAPER, steps=2))
    assert paper.weight.shape == (128, 3072)
    assert paper.bias.shape == (128,)


@pytest.mark.parametrize("config", [replace(PAPER, steps=5), replace(DEFAULT, steps=5)])
def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads(config: EncoderConfig) -> None:
    threads = torch.get_num_threads()
    digests = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            digests.append(digest(fit_encoder(THUMBNAILS, config)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert digests[0] == digests[1]
    assert digest(fit_encoder(THUMBNAILS, replace(config, seed=1))) != digests[0]


def test_fitting_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    fit_encoder(THUMBNAILS, replace(QUICK, steps=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_code_is_where_the_relu_is_above_zero(encoder: Encoder) -> None:
    some = THUMBNAILS[:40]
    seen = np.empty((40, 32, 32, 3))
    for row, column in np.ndindex(32, 32):
        window = some[:, max(0, row - 11) : row + 12, max(0, column - 11) : column + 12].astype(float)
        std = np.sqrt(window.var(axis=(1, 2)).mean(axis=1, keepdims=True))
        seen[:, row, column] = (some[:, row, column] - window.mean(axis=(1, 2))) / (std + 7.5)
    seen = (seen.clip(-1.5, 1.5) * 64).round().reshape(40, 3072)
    activation = np.maximum(seen @ encoder.weight.double().numpy().T + encoder.bias.numpy(), 0)
    bits = np.unpackbits(encoder.codes(some), axis=1)[:, :64]
    assert (bits == (activation > 0)).mean() > 0.999  # float64 here; a pixel in thousands rounds the other way


def test_the_papers_code_is_exact() -> None:
    encoder = fit_encoder(THUMBNAILS, replace(PAPER, steps=20))
    pixels = THUMBNAILS.reshape(-1, 3072).astype(np.int64) * 2 - 255
    activation = np.maximum(pixels @ encoder.weight.numpy().astype(np.int64).T + encoder.bias.numpy(), 0)
    assert np.array_equal(encoder.codes(THUMBNAILS), np.packbits(activation > 0, axis=1))


def test_a_mirrored_pictures_code_has_its_halves_swapped(encoder: Encoder) -> None:
    assert np.array_equal(encoder.codes(THUMBNAILS[:, :, ::-1]), mirror_codes(encoder.codes(THUMBNAILS)))


@pytest.mark.parametrize("config", [replace(PAPER, steps=20), None])
def test_a_code_depends_on_its_picture_alone(config: EncoderConfig | None) -> None:
    encoder = load_shipped_encoder() if config is None else fit_encoder(THUMBNAILS, config)
    many = np.concatenate([THUMBNAILS, THUMBNAILS[::-1], THUMBNAILS[:200] // 2])  # more than one batch of the encoder
    codes, threads = encoder.codes(many), torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert np.array_equal(encoder.codes(many), codes)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(np.concatenate([encoder.codes(many[i : i + 1]) for i in range(100)]), codes[:100])
    order = np.random.default_rng(0).permutation(len(many))
    assert np.array_equal(encoder.codes(many[order]), codes[order])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", [replace(PAPER, steps=20), QUICK])
def test_codes_are_the_same_on_a_gpu(config: EncoderConfig, tmp_path: Path) -> None:
    encoder = fit_encoder(THUMBNAILS, config)
    save_encoder(tmp_path / "encoder.safetensors", encoder)
    on_gpu = load_encoder(tmp_path / "encoder.safetensors", "cuda")
    assert np.array_equal(on_gpu.codes(THUMBNAILS), encoder.codes(THUMBNAILS))


def test_the_shipped_encoder_is_the_one_that_it_was() -> None:
    assert load_shipped_encoder().config == PRETRAINING
    assert tuple(code.tobytes().hex() for code in load_shipped_encoder().codes(draw_ramps())) == GOLDEN


def test_decoding_at_a_reduced_scale_hardly_changes_a_code() -> None:
    encoder = load_shipped_encoder()
    for suffix in (".jpg", ".webp"):
        large = [cv2.resize(scene, (610, 520), interpolation=cv2.INTER_CUBIC) for scene in SCENES[:100]]
        files = [encode_image(scene, suffix) for scene in large]
        reduced = encoder.codes(np.stack([make_thumbnail(file)[1] for file in files]))
        full = encoder.codes(np.stack([centre_square(decode(file), 32) for file in files]))
        assert hamming_distance(reduced, full).max() <= 8


def test_codes_come_from_mapped_files_and_views_too(encoder: Encoder, tmp_path: Path) -> None:
    np.save(tmp_path / "thumbnails.npy", THUMBNAILS)
    mapped = np.load(tmp_path / "thumbnails.npy", mmap_mode="r")
    assert np.array_equal(encoder.codes(mapped), encoder.codes(THUMBNAILS))
    turned = THUMBNAILS[:, :, ::-1]
    assert np.array_equal(encoder.codes(turned), encoder.codes(turned.copy()))
    assert encoder.codes(THUMBNAILS[:0]).shape == (0, 16)


def test_bits_are_balanced(encoder: Encoder) -> None:
    on = np.unpackbits(encoder.codes(THUMBNAILS), axis=1).mean(axis=0)
    assert np.abs(on - 0.5).max() < 0.1


def test_copies_are_nearer_than_strangers(encoder: Encoder) -> None:
    codes = encoder.codes(THUMBNAILS)
    strangers = hamming_distance(codes, np.roll(codes, 1, axis=0))
    copies = [pictures.crop(SCENES, 3, 3, 120), pictures.caption(SCENES), pictures.change_tone(SCENES, 1.3, 1)]
    for copy in copies:
        distance = hamming_distance(codes, encoder.codes(pictures.shrink(copy)))
        assert np.median(distance) < 12
        assert np.quantile(distance, 0.95) < np.quantile(strangers, 0.05)


def test_tone_and_brightness_hardly_change_a_code(encoder: Encoder) -> None:
    dim = (THUMBNAILS * 0.5 + 40).astype(np.uint8)
    assert np.median(hamming_distance(encoder.codes(THUMBNAILS), encoder.codes(dim))) <= 2


def test_the_papers_profile_gives_equal_pictures_equal_codes() -> None:
    codes = fit_encoder(THUMBNAILS, replace(PAPER, steps=100)).codes(np.concatenate([THUMBNAILS, THUMBNAILS]))
    assert np.array_equal(codes[:400], codes[400:])
    assert len(np.unique(codes, axis=0)) > 300


def test_an_encoder_survives_the_disk(encoder: Encoder, tmp_path: Path) -> None:
    path, again = tmp_path / "encoder.safetensors", tmp_path / "again.safetensors"
    save_encoder(path, encoder)
    loaded = load_encoder(path)
    save_encoder(again, loaded)
    assert path.read_bytes() == again.read_bytes()
    assert loaded.config == encoder.config
    assert digest(loaded) == digest(encoder)
    assert np.array_equal(loaded.codes(THUMBNAILS), encoder.codes(THUMBNAILS))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(SafetensorError):
        load_encoder(path)


def test_an_encoder_of_an_older_version_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, replace(encoder, weight=encoder.weight.float()))
    with pytest.raises(ValueError, match="no encoder of this version"):
        load_encoder(path)
    save_file({"weight": encoder.weight}, path, metadata={"config": '{"steps": 500}'})
    with pytest.raises(TypeError):
        load_encoder(path)


def test_a_fit_can_start_from_the_shipped_encoder() -> None:
    started = fit_encoder(THUMBNAILS, replace(QUICK, pretrained=True, steps=1, learning_rate=1e-9))
    bits = np.unpackbits(started.codes(THUMBNAILS) ^ load_shipped_encoder().codes(THUMBNAILS), axis=1)
    assert bits.mean() < 0.15  # thresholds are balanced on these pictures


def test_one_thumbnail_is_enough_and_none_is_not() -> None:
    assert fit_encoder(THUMBNAILS[:1], replace(QUICK, steps=2)).codes(THUMBNAILS).shape == (400, 16)
    with pytest.raises(ValueError, match="no thumbnails"):
        fit_encoder(THUMBNAILS[:0], QUICK)


@pytest.mark.parametrize(
    "wrong",
    [{"corruption": "rain"}, {"dropout": 1.0}, {"temperature": 0.0}, {"steps": 0}, {"seed": -1}, {"contrast": -1.0}],
)
def test_senseless_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        replace(DEFAULT, **wrong)


def test_corruptions_stay_in_range_and_repeat() -> None:
    clean = torch.from_numpy(THUMBNAILS[:64]).permute(0, 3, 1, 2).float() / 255
    once, again = (make_near_duplicates(clean, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once, again)
    assert once.shape == clean.shape
    assert 0 <= float(once.min()) <= float(once.max()) <= 1
    masked = add_noise(clean, 0.25, 0.1, torch.Generator().manual_seed(5))
    assert float((masked == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_a_device_is_chosen() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
