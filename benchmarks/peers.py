"""Peers: a folder of image files in, the pairs that another tool links out. Each runs as a command of another Python.

The tools pin packages that are not ours (and fastdup packages that are not imagededup's), so this file is also the
program that runs in the Python that has them, by its path and with the standard library alone; it prints the result as
JSON. A peer runs in a network namespace of its own that has no interface up, whatever its telemetry would do:
fastdup reports runs and errors to sentry.io unless told not to.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

PACKAGES = ("imagededup", "fastdup", "cleanvision", "imagehash")
QUIET = {"SENTRY_OPT_OUT": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
BITS_64 = 10  # imagededup's default of 64 bits
BITS_256 = 84  # on pictures that are not held out, the most before pairs by chance multiply: 4 of 2,400 become 20 at 88

Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What a peer linked.

    Attributes:
        links: pairs of file names.
        seconds: of the whole command, imports included.
        cpu_s: processor time of the command and all its processes.
    """

    links: Sequence[Link]
    seconds: float
    cpu_s: float


def run_peer(method: str, python: str, images: Path) -> Found:
    """Run one of `METHODS` on a folder of files, with another Python and without a network."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **QUIET, "HOME": folder, "TMPDIR": folder}
        output = Path(folder) / "links.json"
        program = [str(Path(python).absolute()), "-W", "ignore", __file__]
        command = [*_without_network(), *program, method, str(images.absolute()), str(output)]
        seconds, cpu_s = run_timed(command, environment, cwd=Path(folder))
        links = json.loads(output.read_bytes())
    return Found([(a, b) for a, b in links], seconds, cpu_s)


def run_timed(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command that has to succeed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=dict(environment), cwd=cwd, capture_output=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).decode(errors='replace')[-2000:]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def find_pythons(pythons: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Package → the first of these Pythons that has it, and the version there."""
    program = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions() if d.name}))"
    )
    found: dict[str, tuple[str, str]] = {}
    for python in pythons:
        done = subprocess.run([python, "-c", program], capture_output=True, check=True)
        versions = json.loads(done.stdout)
        for package in PACKAGES:
            if package in versions:
                found.setdefault(package, (python, versions[package]))
    return found


@cache
def _without_network() -> tuple[str, ...]:
    for command in (("unshare", "--net"), ("unshare", "--net", "--map-root-user")):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    sys.exit("peers are run without a network, which needs unshare (util-linux) and the right to use it")


def link_imagededup(hash_name: str, images: str) -> list[Link]:
    """imagededup's hash of 64 bits within 10 bits, its defaults: all pairs."""
    methods = importlib.import_module("imagededup.methods")
    neighbours = getattr(methods, hash_name)(verbose=False).find_duplicates(
        image_dir=images, max_distance_threshold=BITS_64
    )
    return [(a, b) for a in sorted(neighbours) for b in neighbours[a] if a < b]


def link_cleanvision(images: str) -> list[Link]:
    """cleanvision's exact and near duplicates: each member of a set with the set's first."""
    lab = importlib.import_module("cleanvision").Imagelab(data_path=images, verbose=False)
    issues = ("exact_duplicates", "near_duplicates")
    lab.find_issues({issue: {} for issue in issues}, verbose=False)
    sets = [sorted(Path(name).name for name in names) for issue in issues for names in lab.info[issue]["sets"]]
    return [(names[0], name) for names in sets for name in names[1:]]


def link_imagehash(images: str) -> list[Link]:
    """ImageHash's perceptual hash of 256 bits: all pairs within `BITS_256`."""
    numpy: Any = importlib.import_module("numpy")
    paths = sorted(Path(images).iterdir())
    with Pool() as pool:
        hashes = numpy.packbits(numpy.stack(pool.map(_hash_256, paths, 64)).reshape(len(paths), 256), axis=1)
    ones = numpy.array([number.bit_count() for number in range(256)], numpy.uint8)
    links = []
    for number, path in enumerate(paths):
        distances = ones[hashes[number + 1 :] ^ hashes[number]].sum(axis=1)
        links += [(path.name, paths[number + 1 + other].name) for other in numpy.flatnonzero(distances <= BITS_256)]
    return links


def _hash_256(path: Path) -> Any:
    with importlib.import_module("PIL.Image").open(path) as image:
        return importlib.import_module("imagehash").phash(image, hash_size=16).hash


def link_fastdup(images: str) -> list[Link]:
    """fastdup's features within a cosine of 0.90, its defaults otherwise: each with its two nearest at most."""
    fastdup = importlib.import_module("fastdup")
    dataset = fastdup.create(work_dir=str(Path.cwd() / "fastdup"), input_dir=images)
    dataset.run(threshold=0.9, print_summary=False)
    pairs = dataset.similarity()
    near = pairs[pairs["distance"] >= 0.9]
    names = zip(near["filename_from"], near["filename_to"], strict=True)
    links = {tuple(sorted((Path(a).name, Path(b).name))) for a, b in names}
    return sorted((a, b) for a, b in links)


METHODS: Mapping[str, tuple[str, str, Callable[[str], list[Link]]]] = {  # method → package, heading, function
    "phash": ("imagededup", "imagededup PHash", partial(link_imagededup, "PHash")),
    "dhash": ("imagededup", "imagededup DHash", partial(link_imagededup, "DHash")),
    "cleanvision": ("cleanvision", "cleanvision", link_cleanvision),
    "phash256": ("imagehash", "pHash 256", link_imagehash),
    "fastdup": ("fastdup", "fastdup 0.90", link_fastdup),
}


def main() -> None:
    """Run as a peer: METHOD FOLDER OUTPUT."""
    method, images, output = sys.argv[1:]
    links = METHODS[method][2](images)
    Path(output).write_text(json.dumps(links), encoding="utf-8")


if __name__ == "__main__":
    main()
