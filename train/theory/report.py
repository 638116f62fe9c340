"""Report: an experiment in; ``theory.json``, pictures, an animation and one self-contained page out."""

import base64
import json
from pathlib import Path

import cv2

from pipelines.page import render_page
from pipelines.store import write_atomically
from train.samples import Pixels
from train.theory.experiment import Experiment
from train.theory.pictures import draw_fits, draw_frames, draw_strip, encode_animation

PAGE_NAME = "theory.html"
FITS_NAME = "fits.png"
PANELS = 6


def write_report(experiment: Experiment, folder: Path) -> None:
    """Write into ``folder``, over what another experiment left there; the page comes last."""
    snapshots, data = experiment.snapshots, experiment.data
    shown = [snapshots[i * (len(snapshots) - 1) // (PANELS - 1)] for i in range(PANELS)]
    pictures = {
        "theory.png": _encode_png(draw_strip(shown, data)),
        "theory.webp": encode_animation(draw_frames(snapshots, data)),
    }
    if experiment.fits:
        titles = [f"G after {fit.step:,} steps" if fit.step else "G before its first step" for fit in experiment.fits]
        fits = [(title, fit.generated, fit.probability) for title, fit in zip(titles, experiment.fits, strict=True)]
        pictures[FITS_NAME] = _encode_png(draw_fits(fits, data))
    else:
        (folder / FITS_NAME).unlink(missing_ok=True)
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    figures = experiment.to_json()
    write_atomically(folder / "theory.json", json.dumps(figures, indent=1).encode())
    uris = {name: _data_uri(name, content) for name, content in pictures.items()}
    page = render_page("train.theory", "theory.html.jinja", figures=figures, pictures=uris)
    write_atomically(folder / PAGE_NAME, page.encode())


def _encode_png(picture: Pixels) -> bytes:
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()


def _data_uri(name: str, content: bytes) -> str:
    return f"data:image/{Path(name).suffix[1:]};base64,{base64.b64encode(content).decode()}"
