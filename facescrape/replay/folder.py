"""FolderPeople: photographs that are at hand, a folder for each person, on the replayed web."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facescrape.replay.exhibit import Exhibit, hang
from facescrape.replay.misbehaviour import BEHAVED, Misbehaviour
from facescrape.replay.people import Resource, describe
from facescrape.replay.pictures import File
from pipelines.errors import SourceError

BIRTH_DATE = "1980-01-01"  # of all of them: it is not known, and DBpedia is asked by it
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class FolderPeople:
    """People with a folder of photographs each: ``lionel_messi/000.jpg`` shows Lionel Messi.

    Attributes:
        path: the folder of folders.
        misbehaviour: of the web on which the photographs hang.
    """

    path: Path
    misbehaviour: Misbehaviour = BEHAVED

    def resources(self) -> Iterator[Resource]:
        """All people, those with most photographs the most linked.

        Raises:
            SourceError: there are none.
        """
        for name, files in self._people():
            yield describe(name, (BIRTH_DATE,), len(files))

    def results(self) -> Iterator[tuple[str, Exhibit]]:
        """What searches find: a name and a photograph, each person's by file name.

        Raises:
            SourceError: there are none.
        """
        for person, (name, files) in enumerate(self._people()):
            for number, file in enumerate(files):
                chance = np.random.default_rng([person, number]).random()
                kind = self.misbehaviour.choose(person * 7 + number, chance)
                yield name, hang((name,), number, File(file), "unknown", kind=kind)

    def _people(self) -> list[tuple[str, list[Path]]]:
        folders = sorted(folder for folder in self.path.iterdir() if folder.is_dir()) if self.path.is_dir() else []
        people = []
        for folder in folders:
            files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
            if files and not folder.name.startswith("."):
                name = " ".join(part.capitalize() for part in folder.name.replace("_", " ").split())
                people.append((name, files))
        if not people:
            raise SourceError(
                f"{self.path} holds no folders of photographs",
                hint="give a folder with one folder per person, such as photos/ada_lovelace/1.jpg",
            )
        return people
