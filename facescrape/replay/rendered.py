"""RenderedPeople: people who do not exist, in photographs that are rendered, with planted copies. The default world."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from facescrape.replay.exhibit import Exhibit, hang
from facescrape.replay.misbehaviour import USUAL, Misbehaviour
from facescrape.replay.people import Resource, draw_name, draw_others, draw_people
from facescrape.replay.pictures import ALTERATIONS, Rendered

# Of every ten photographs of a person, one is a near-duplicate of another, and one has the bytes of a third.
_TURN = 10
_NEAR, _NEAR_OF = 4, 1
_EXACT, _EXACT_OF = 7, 2
_GROUP = 8  # of the first ten alone: a picture of two people, found for both
_AUTHORS = 50_000  # numbers from here on are those who made the photographs


@dataclass(frozen=True, slots=True)
class RenderedPeople:
    """Made-up people. More people, or more photographs, leave those that there were as they are.

    Attributes:
        seed: another seed gives other people.
        people: with photographs; there are more, whom nobody should look for.
        images_per_person: search results for each.
        misbehaviour: of the web on which the photographs hang.
    """

    seed: int = 0
    people: int = 24
    images_per_person: int = 20
    misbehaviour: Misbehaviour = USUAL

    def __post_init__(self) -> None:
        if min(self.people, self.images_per_person) < 1:
            raise ValueError(f"there must be people and images: {self}")

    def resources(self) -> Iterator[Resource]:
        """All people, in no order."""
        yield from draw_people(self.seed, self.people)
        yield from draw_others(self.seed, self.people)

    def results(self) -> Iterator[tuple[str, Exhibit]]:
        """What searches find: a name and a photograph, each person's by rank."""
        for person in range(self.people):
            for number in range(self.images_per_person):
                yield draw_name(self.seed, person), self._hang(person, number)

    def _hang(self, person: int, number: int) -> Exhibit:
        turn, place = divmod(number, _TURN)
        name = draw_name(self.seed, person)
        rng = np.random.default_rng([self.seed, person, number, 5])
        author = draw_name(self.seed, _AUTHORS + int(rng.integers(2000)))
        suffix = str(rng.choice([".jpg", ".webp", ".png"], p=[0.82, 0.14, 0.04]))
        if number == _GROUP and (person ^ 1) < self.people:
            pair = sorted((person, person ^ 1))
            if person == pair[1]:
                return self._hang(pair[0], number)
            names = tuple(draw_name(self.seed, one) for one in pair)
            shots = tuple((one, number) for one in pair)
            return hang(names, number, Rendered(self.seed, shots, suffix), author, what="group")
        if place in {_NEAR, _EXACT}:
            original = self._hang(person, number - place + (_NEAR_OF if place == _NEAR else _EXACT_OF))
            recipe, what = original.recipe, "exact"
            if place == _NEAR:
                what = ALTERATIONS[(person + turn) % len(ALTERATIONS)]
                shot = (person, number - place + _NEAR_OF)
                recipe = Rendered(self.seed, (shot,), ".jpg", what)
            assert recipe is not None  # originals of copies behave
            return hang((name,), number, recipe, author, what=what, copy_of=original.url)
        kind = self.misbehaviour.choose(person * 7 + number, 1.0 if place in {_NEAR_OF, _EXACT_OF} else rng.random())
        return hang((name,), number, Rendered(self.seed, ((person, number),), suffix), author, kind=kind)
