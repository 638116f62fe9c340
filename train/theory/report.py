"""Report: an experiment in; ``theory.json``, pictures, an animation and one self-contained page out."""

import json
from pathlib import Path

from pipelines.page import data_uri, render_page
from pipelines.store import write_atomically
from train.samples import encode_png, encode_webp
from train.theory.experiment import Experiment
from train.theory.pictures import FRAME_MS, LAST_FRAME_MS, draw_fits, draw_frames, draw_strip

PAGE_NAME = "theory.html"
FITS_NAME = "fits.png"
PANELS = 6


def write_report(experiment: Experiment, folder: Path) -> None:
    """Write into ``folder``, over what another experiment left there; the page comes last."""
    snapshots, data = experiment.snapshots, experiment.data
    shown = [snapshots[i * (len(snapshots) - 1) // (PANELS - 1)] for i in range(PANELS)]
    pictures = {
        "theory.png": encode_png(draw_strip(shown, data)),
        "theory.webp": encode_webp(draw_frames(snapshots, data), FRAME_MS, last_ms=LAST_FRAME_MS),
    }
    if experiment.fits:
        titles = [f"G after {fit.step:,} steps" if fit.step else "G before its first step" for fit in experiment.fits]
        fits = [(title, fit.generated, fit.probability) for title, fit in zip(titles, experiment.fits, strict=True)]
        pictures[FITS_NAME] = encode_png(draw_fits(fits, data))
    else:
        (folder / FITS_NAME).unlink(missing_ok=True)
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    figures = experiment.to_json()
    write_atomically(folder / "theory.json", json.dumps(figures, indent=1).encode())
    uris = {name: data_uri(content, Path(name).suffix[1:]) for name, content in pictures.items()}
    page = render_page("train.theory", "theory.html.jinja", figures=figures, pictures=uris)
    write_atomically(folder / PAGE_NAME, page.encode())
