from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from dedup.autoencoder import (
    DEFAULT,
    PAPER,
    Encoder,
    EncoderConfig,
    choose_device,
    encoder_sha256,
    fit_encoder,
    load_encoder,
    save_encoder,
)
from dedup.codes import hamming_distance
from dedup.corruption import add_noise, make_near_duplicates
from tests.dedup import pictures

SCENES = pictures.draw_scenes(400)
THUMBNAILS = pictures.shrink(SCENES)
QUICK = replace(DEFAULT, steps=60, batch_size=128)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return fit_encoder(THUMBNAILS, QUICK)


def test_the_net_is_the_papers(encoder: Encoder) -> None:
    assert encoder.weight.shape == (128, 3072)
    assert encoder.bias.shape == (128,)


@pytest.mark.parametrize("config", [replace(PAPER, steps=5), replace(DEFAULT, steps=5)])
def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads(config: EncoderConfig) -> None:
    threads = torch.get_num_threads()
    digests = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            digests.append(encoder_sha256(fit_encoder(THUMBNAILS, config)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert digests[0] == digests[1]
    assert encoder_sha256(fit_encoder(THUMBNAILS, replace(config, seed=1))) != digests[0]


def test_fitting_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    fit_encoder(THUMBNAILS, replace(QUICK, steps=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_code_is_where_the_relu_is_above_zero(encoder: Encoder) -> None:
    pixels = THUMBNAILS.reshape(-1, 3072) / 255
    seen = (pixels - pixels.mean(axis=1, keepdims=True)) / (pixels.std(axis=1, keepdims=True) + 0.02)
    activation = np.maximum(seen @ encoder.weight.double().numpy().T + encoder.bias.double().numpy(), 0)
    assert np.array_equal(encoder.codes(THUMBNAILS), np.packbits(activation > 0, axis=1))


def test_a_code_depends_on_its_picture_alone(encoder: Encoder) -> None:
    many = np.tile(THUMBNAILS, (6, 1, 1, 1))  # more than one batch of the encoder
    assert np.array_equal(encoder.codes(many), np.tile(encoder.codes(THUMBNAILS), (6, 1)))
    assert np.array_equal(encoder.codes(THUMBNAILS[7:8]), encoder.codes(THUMBNAILS)[7:8])


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
    assert encoder_sha256(loaded) == encoder_sha256(encoder)
    assert np.array_equal(loaded.codes(THUMBNAILS), encoder.codes(THUMBNAILS))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(SafetensorError):
        load_encoder(path)


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
