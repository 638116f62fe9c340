"""World: all that there is on the replayed web, and the truth about it.

Everything follows from where its people come from; pictures are made when somebody asks for them, or all at once by
`World.prepare`.
"""

import csv
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2

from facescrape.replay.exhibit import Exhibit
from facescrape.replay.misbehaviour import Misbehaviour
from facescrape.replay.people import Resource
from facescrape.replay.pictures import Darkroom, File, Recipe
from facescrape.replay.virtuoso import PUBLIC, Virtuoso
from pipelines.errors import ConfigError
from pipelines.executors import Executor
from pipelines.portraits import Face
from pipelines.store import published

TRUTH_NAME, FACES_NAME, PICTURES_NAME = "truth.csv", "faces.csv", "pictures"
TRUTH_COLUMNS = ("url", "kind", "status", "what", "copy_of", "picture", "people")
FACES_COLUMNS = ("picture", "person", "left", "top", "width", "height", "yaw_deg", "smile", "glasses")
_RECIPES_PER_TASK = 16


class People(Protocol):
    """Where a world's people and their photographs come from."""

    @property
    def misbehaviour(self) -> Misbehaviour:
        """Of the web on which the photographs hang."""
        ...

    def resources(self) -> Iterator[Resource]:
        """All people, in any order."""
        ...

    def results(self) -> Iterator[tuple[str, Exhibit]]:
        """What searches find: a name and a photograph, each person's by rank."""
        ...


@dataclass(frozen=True, slots=True)
class PictureFace:
    """A face in a picture, which goes by the key of its recipe."""

    picture: str
    face: Face


class World:
    """The replayed web. It is served by one thread."""

    def __init__(self, people: People, virtuoso: Virtuoso = PUBLIC) -> None:
        """Lay it out; no picture is made yet.

        Args:
            people: who is in it.
            virtuoso: how DBpedia's endpoint is set up.

        Raises:
            SourceError: there are no photographs.
        """
        self.misbehaviour = people.misbehaviour
        self.virtuoso = virtuoso
        self.resources = tuple(people.resources())
        self.darkroom = Darkroom()
        self._results: dict[str, list[Exhibit]] = {}
        self._at: dict[tuple[str, str], Exhibit] = {}
        for name, exhibit in people.results():
            self._results.setdefault(name.casefold(), []).append(exhibit)
            self._at[exhibit.place] = exhibit

    @property
    def exhibits(self) -> Sequence[Exhibit]:
        """Each URL once."""
        return list(self._at.values())

    @property
    def people(self) -> int:
        """How many have photographs."""
        return len(self._results)

    @property
    def images_per_person(self) -> int:
        """Search results of the person with most."""
        return max(map(len, self._results.values()))

    def search(self, name: str) -> Sequence[Exhibit]:
        """Photographs of a person, by rank."""
        return self._results.get(name.casefold(), [])

    def find(self, host: str, path: str) -> Exhibit | None:
        """What hangs at a place."""
        return self._at.get((host, path))

    def prepare(self, folder: Path, executor: Executor, progress: Callable[[int, int], None] | None = None) -> None:
        """Make all pictures, which the world serves from now on, and write down the truth; or find it all done.

        The folder holds ``truth.csv`` (url, kind, status, what, copy_of, picture, people: a row for each URL),
        ``faces.csv`` (picture, person, left, top, width, height, yaw_deg, smile, glasses: a row for each face of a
        rendered picture) and ``pictures/``. It appears, in place of another world's, when all of it is written.

        Args:
            folder: to be made; may be there and empty, or hold another world.
            executor: makes the pictures.
            progress: called with the pictures made and all pictures.

        Raises:
            ConfigError: something else stands there.
            StageError: a worker process died.
        """
        truth = _as_csv(TRUTH_COLUMNS, [_truth_row(exhibit) for exhibit in self.exhibits])
        is_done = (folder / TRUTH_NAME).is_file() and (folder / TRUTH_NAME).read_text(encoding="utf-8") == truth
        if not is_done:
            _remove_world(folder)
            with published(folder) as filling:
                (filling / PICTURES_NAME).mkdir()
                faces = [_face_row(face) for face in self._make_pictures(filling / PICTURES_NAME, executor, progress)]
                (filling / FACES_NAME).write_text(_as_csv(FACES_COLUMNS, faces), encoding="utf-8")
                (filling / TRUTH_NAME).write_text(truth, encoding="utf-8")
        self.darkroom.folder = folder / PICTURES_NAME

    def faces(self, exhibit: Exhibit) -> Sequence[Face] | None:
        """The truth about a picture's faces; None where it is not known, or nobody gets the picture."""
        picture = exhibit.recipe.make() if exhibit.recipe is not None else None
        return picture.faces if picture is not None else None

    def _make_pictures(
        self, folder: Path, executor: Executor, progress: Callable[[int, int], None] | None
    ) -> Iterator[PictureFace]:
        recipes = dict.fromkeys(exhibit.recipe for exhibit in self.exhibits if exhibit.recipe is not None)
        made = [recipe for recipe in recipes if not isinstance(recipe, File)]
        tasks = [made[start : start + _RECIPES_PER_TASK] for start in range(0, len(made), _RECIPES_PER_TASK)]
        for done, faces in enumerate(executor.map(partial(_make_all, folder), tasks), 1):
            yield from faces
            if progress is not None:
                progress(min(done * _RECIPES_PER_TASK, len(made)), len(made))


def _make_all(folder: Path, recipes: Sequence[Recipe]) -> list[PictureFace]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        found = []
        for recipe in recipes:
            picture = recipe.make()
            (folder / recipe.key).write_bytes(picture.content)
            found += [PictureFace(recipe.key, face) for face in picture.faces or ()]
        return found
    finally:
        cv2.setNumThreads(threads)


def _remove_world(folder: Path) -> None:
    """Make room for another world, if it is one that stands there."""
    if (folder / TRUTH_NAME).is_file():
        shutil.rmtree(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already, and is no replayed world", hint="remove it")


def _truth_row(exhibit: Exhibit) -> tuple[str, ...]:
    return (
        exhibit.url,
        exhibit.kind,
        exhibit.kind.status,
        exhibit.what,
        exhibit.copy_of,
        exhibit.recipe.key if exhibit.recipe is not None else "",
        ";".join(exhibit.names),
    )


def _face_row(found: PictureFace) -> tuple[object, ...]:
    face = found.face
    box = [round(float(side), 2) for side in face.box]
    return found.picture, face.person, *box, round(face.yaw_deg, 1), round(face.smile, 2), int(face.glasses)


def _as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
