import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError, IntegrityError
from train.data import PackedImages, Pixels
from train.evaluation.extractors import RandomExtractor, extract
from train.evaluation.features import Features
from train.evaluation.inception import InceptionExtractor
from train.evaluation.self_trained import SelfTrainedExtractor

Paint = Callable[..., Pixels]
Pack = Callable[..., PackedImages]


def test_random_weights_are_the_same_on_every_machine() -> None:
    extractor = RandomExtractor(seed=0)
    assert extractor.label == "random, seed 0"
    assert extractor.sha256 == "c5d5cdbd67eb444a4241c428b30bfbe5ffffcddf369a4a81604105228383eec4"
    assert RandomExtractor(seed=1).sha256 != extractor.sha256


@pytest.mark.parametrize("side", [32, 64, 128])
def test_features_have_the_size_that_is_said_and_ask_no_global_generator(side: int, paint: Paint) -> None:
    pixels = paint(3, 0, side)
    torch.manual_seed(1)
    first = RandomExtractor().features(pixels)
    torch.manual_seed(2)
    assert np.array_equal(RandomExtractor().features(pixels), first)
    assert first.shape == (3, RandomExtractor.dimensions)


@pytest.mark.parametrize("sizes", [[20], [1, 19], [7, 0, 13]])
def test_blocks_may_have_any_size(sizes: list[int], paint: Paint) -> None:
    pixels = paint(20, 0)
    features = extract(np.split(pixels, np.cumsum(sizes)[:-1]), RandomExtractor())
    np.testing.assert_allclose(features, RandomExtractor().features(pixels), rtol=1e-5, atol=1e-6)


def test_no_image_has_no_feature() -> None:
    assert extract(iter([]), RandomExtractor()).shape == (0, RandomExtractor.dimensions)


def test_features_that_are_not_finite_are_never_passed_on(paint: Paint) -> None:
    class Broken(RandomExtractor):
        def features(self, pixels: Pixels) -> Features:
            return super().features(pixels) / np.float32(np.nan)

    with pytest.raises(IntegrityError, match="features of random, seed 0 are not finite"):
        extract([paint(2, 0)], Broken())


@pytest.fixture
def self_trained(paint: Paint, pack: Pack) -> SelfTrainedExtractor:
    return SelfTrainedExtractor.fit(pack(paint(60, 0)), "waves", steps=3)


def test_a_self_trained_extractor_says_what_it_was_trained_on(self_trained: SelfTrainedExtractor) -> None:
    label = self_trained.label
    assert label.startswith("self-trained on waves at 32 px (data 0123456789ab), weights ")
    assert label.endswith(self_trained.sha256[:12])
    assert "nception" not in label


def test_it_is_the_same_after_saving(tmp_path: Path, self_trained: SelfTrainedExtractor, paint: Paint) -> None:
    path = tmp_path / "new" / "extractor.safetensors"
    self_trained.save(path)
    opened = SelfTrainedExtractor.open(path)
    assert (opened.label, opened.sha256, opened.origin) == (
        self_trained.label,
        self_trained.sha256,
        self_trained.origin,
    )
    pixels = paint(5, 1)
    assert np.array_equal(opened.features(pixels), self_trained.features(pixels))


def test_training_repeats_itself_and_touches_no_global_generator(paint: Paint, pack: Pack) -> None:
    images = pack(paint(30, 0))
    before = torch.get_rng_state()
    digests = {SelfTrainedExtractor.fit(images, "waves", seed=seed, steps=2).sha256 for seed in (4, 4, 5)}
    assert len(digests) == 2
    assert torch.equal(torch.get_rng_state(), before)


def test_training_makes_views_of_an_image_alike(paint: Paint, pack: Pack) -> None:
    images = paint(80, 0)
    moved = np.roll(images, 3, axis=2)  # another crop of the same
    untrained, trained = (SelfTrainedExtractor.fit(pack(images), "waves", steps=steps) for steps in (1, 15))

    def found_again(extractor: SelfTrainedExtractor) -> float:
        likeness = extractor.features(moved) @ extractor.features(images).T
        return float((likeness.argmax(1) == np.arange(len(images))).mean())

    assert found_again(trained) > found_again(untrained)


def test_features_of_the_images_trained_on_have_one_length(self_trained: SelfTrainedExtractor, paint: Paint) -> None:
    lengths = np.linalg.norm(self_trained.features(paint(10, 3)), axis=1)
    np.testing.assert_allclose(lengths, self_trained.dimensions**0.5, rtol=1e-5)


def test_a_changed_file_is_refused(tmp_path: Path, self_trained: SelfTrainedExtractor) -> None:
    path = tmp_path / "extractor.safetensors"
    self_trained.save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not those that were saved"):
        SelfTrainedExtractor.open(path)
    path.write_bytes(content[:100])
    with pytest.raises(IntegrityError, match="cannot be read"):
        SelfTrainedExtractor.open(path)
    with pytest.raises(ConfigError, match="no extractor"):
        SelfTrainedExtractor.open(tmp_path / "other")


def test_one_image_trains_nothing(paint: Paint, pack: Pack) -> None:
    with pytest.raises(ConfigError, match="1 images are too few"):
        SelfTrainedExtractor.fit(pack(paint(1, 0)), "waves")


@pytest.fixture(scope="module")
def unknown_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights of Inception's shapes that torch drew: the known ones cannot be had without a network."""
    library = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "empty.pth")

    class Drawn(library.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        def load_state_dict(self, weights: object) -> None:
            pass

    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = Drawn("inception-v3-compat", ["2048"], feature_extractor_weights_path=folder / "empty.pth")
    path = folder / "drawn.pth"
    torch.save(drawn.state_dict(), path)
    yield path
    path.unlink()


def test_inception_with_other_weights_says_so_and_gives_what_torch_fidelity_does(
    unknown_weights: Path, paint: Paint
) -> None:
    library = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    extractor = InceptionExtractor(unknown_weights)
    assert extractor.name == "inception_unknown"
    assert extractor.label == f"Inception v3, unknown weights {extractor.sha256[:12]}: not the FID of the literature"
    network = library.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=unknown_weights
    )
    pixels = paint(2, 0)
    (expected,) = network(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    features = extractor.features(pixels)
    assert features.shape == (2, extractor.dimensions)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_file_of_code_is_never_run(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(), 2))
    torch.save({"fc.weight": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(IntegrityError, match="no weights of Inception v3"):
            InceptionExtractor(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_another_network_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(IntegrityError, match="no weights of Inception v3") as error:
        InceptionExtractor(tmp_path / "other.pth")
    assert "\n" not in error.value.message
    with pytest.raises(ConfigError, match="cannot be read") as missing:
        InceptionExtractor(tmp_path / "none.pth")
    assert "6726825d" in missing.value.hint


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ConfigError, match="needs torch-fidelity") as error:
        InceptionExtractor(tmp_path / "weights.pth")
    assert error.value.hint == "pip install 'cleanshards[metrics]'"
