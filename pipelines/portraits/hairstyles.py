"""Ways to wear hair."""

from dataclasses import dataclass

from pipelines.portraits.people import Person


@dataclass(frozen=True, slots=True)
class Style:
    """A way to wear hair; lengths in centimetres.

    Attributes:
        top: thickness above.
        side: thickness at the temples.
        falls: how far below the eyes hair hangs at the sides; 0: cut short around the ears.
        fringe: how far it hangs into the forehead.
        curl: 0 straight to 1 frizzy.
        back: how far below the eyes hair hangs behind the shoulders.
        sweep: lift above the forehead, to one side.
        parted: whether strands start at a parting rather than at the crown.
    """

    top: float
    side: float
    falls: float = 0.0
    fringe: float = 0.0
    curl: float = 0.0
    back: float = 0.0
    sweep: float = 0.0
    parted: bool = False


STYLES = {
    "bald": Style(0.0, 0.0),
    "buzz": Style(0.35, 0.25, curl=0.5),
    "short": Style(1.5, 0.6, fringe=0.4, sweep=0.5),
    "side part": Style(1.7, 0.7, sweep=1.0, parted=True),
    "swept": Style(2.4, 0.5, sweep=1.8),
    "curly": Style(2.4, 1.1, fringe=0.7, curl=0.8),
    "afro": Style(4.2, 3.4, curl=1.0),
    "long": Style(1.6, 1.0, falls=19.0, back=24.0, sweep=0.4, parted=True),
    "parted": Style(1.4, 0.9, falls=12.0, back=17.0, parted=True),
    "bob": Style(1.8, 1.4, falls=8.5, parted=True),
    "fringe": Style(1.7, 1.1, falls=11.0, fringe=2.9, back=16.0),
    "tied": Style(0.9, 0.45, sweep=0.3),
    "curls": Style(2.8, 2.2, falls=11.0, curl=0.75, back=15.0, sweep=0.5),
}


def style_of(person: Person) -> Style:
    """How a person wears their hair."""
    return STYLES[person.style]
