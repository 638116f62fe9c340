"""Inception: the extractor by which the literature computes FID and KID, with weights that the user gives as a file.

Stands between the images of "clean shards → DCGAN" and the metrics. The network and its resizer are torch-fidelity's
(an optional dependency), which reproduces that of TensorFlow, 2015-12-05; nothing is downloaded.
"""

import hashlib
import importlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.errors import ConfigError, IntegrityError
from train.data import Pixels
from train.evaluation.extractors import whole_precision
from train.evaluation.features import CPU, Features

# Of torch-fidelity's release file weights-inception-2015-12-05-6726825d.pth (pytorch-fid's pt_inception-… is the same).
KNOWN_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LAYER = "2048"  # the last average pooling


class InceptionExtractor:
    """Inception v3's 2048 pooled features. With other weights than the known ones its name and label say so."""

    resizer = "bilinear to 299 px, as TensorFlow 1 does (torch-fidelity)"
    dimensions = 2048

    def __init__(self, path: Path, device: torch.device = CPU) -> None:
        """Read weights, a file of tensors by name as torch writes it.

        Raises:
            ConfigError: torch-fidelity is not installed, or there is no such file.
            IntegrityError: the file is damaged, or holds another network.
        """
        try:
            # By name: it is optional and has no types.
            library: Any = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise ConfigError(
                "--inception needs torch-fidelity, which is not installed", hint="pip install 'cleanshards[metrics]'"
            ) from error
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the Inception weights {path} cannot be read ({error.strerror})",
                hint="give --inception the file weights-inception-2015-12-05-6726825d.pth of torch-fidelity's releases",
            ) from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        is_known = self.sha256 == KNOWN_SHA256
        self.name = "inception" if is_known else "inception_unknown"
        self.label = (
            "Inception v3, weights of 2015-12-05"
            if is_known
            else f"Inception v3, unknown weights {self.sha256[:12]}: not the FID of the literature"
        )
        try:
            # torch-fidelity would run what code a file holds; this reads tensors alone, and refuses the rest.
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            with torch.random.fork_rng(devices=[]):  # it draws weights before it reads them
                network = library.FeatureExtractorInceptionV3(
                    "inception-v3-compat", [LAYER], feature_extractor_weights_path=io.BytesIO(content)
                )
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
            first_line = str(error).partition("\n")[0]
            raise IntegrityError(
                f"{path} holds no weights of Inception v3 ({first_line})", hint="bring the file once more"
            ) from error
        self._device = device
        self._network = network.to(device)

    def features(self, pixels: Pixels) -> Features:
        """Features of each image: uint8 RGB (N, R, R, 3) → float32 (N, 2048)."""
        with whole_precision():
            images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            (found,) = self._network(images.permute(0, 3, 1, 2))
            features: Features = found.cpu().numpy()
            return features
