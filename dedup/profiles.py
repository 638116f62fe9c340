"""Profile: the options that decide what a duplicate is, under one name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dedup.encoder import DEFAULT, PAPER, EncoderConfig
from dedup.verification.verify import THRESHOLD
from pipelines.errors import ConfigError

LOWEST_THRESHOLD, HIGHEST_THRESHOLD = -9.0, 20.0  # scores range from -10 to about 25 where pictures were examined


@dataclass(frozen=True, slots=True)
class Matching:
    """How pairs of duplicates are found.

    Attributes:
        radius: bits of 128 in which the codes of a candidate pair may differ, at most. 0: equal codes are duplicates.
        threshold: score that a candidate must have on the thumbnails (see `dedup.verification.verify`). None: being a
            candidate is enough, and mirrored pictures are not looked for.
        chance_pairs: unrelated candidates per image that are worth verifying; the radius shrinks in a set so large
            that chance would bring more. None: the radius stays.
        chance_pairs_in_all: what is worth verifying of a set however small.
    """

    radius: int
    threshold: float | None
    chance_pairs: float | None = None
    chance_pairs_in_all: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.radius <= 64:
            raise ConfigError(f"the radius is {self.radius} bits", hint="give 0 to 64")
        if self.threshold is not None and not LOWEST_THRESHOLD <= self.threshold <= HIGHEST_THRESHOLD:
            hint = f"give {LOWEST_THRESHOLD:g} to {HIGHEST_THRESHOLD:g}; {THRESHOLD:g} is the default"
            raise ConfigError(f"the threshold is {self.threshold:g}", hint=hint)

    @property
    def verified(self) -> bool:
        """Whether a candidate must also pass on the thumbnails."""
        return self.threshold is not None


@dataclass(frozen=True, slots=True)
class Profile:
    """A named choice of encoder and matching."""

    name: str
    encoder: EncoderConfig
    matching: Matching


PROFILES: Mapping[str, Profile] = {
    # The paper's section 4.1.1 to the letter: a duplicate is what has the same 128-bit code.
    "paper": Profile("paper", PAPER, Matching(radius=0, threshold=None)),
    # The same net and codes; trained on the family of near-duplicates, searched in a radius, verified on thumbnails.
    "default": Profile(
        "default", DEFAULT, Matching(radius=48, threshold=THRESHOLD, chance_pairs=6.0, chance_pairs_in_all=300_000)
    ),
}


def choose_profile(
    name: str, *, seed: int, radius: int | None = None, threshold: float | None = None, steps: int | None = None
) -> Profile:
    """The profile of that name with a seed and, if given, another radius, threshold and number of steps.

    Raises:
        ConfigError: no such profile, or a radius or threshold for one that has none.
    """
    if name not in PROFILES:
        raise ConfigError(f"no profile {name!r}", hint=f"there are {', '.join(PROFILES)}")
    profile = PROFILES[name]
    for option, value in (("--radius", radius), ("--threshold", threshold)):
        if value is not None and not profile.matching.verified:
            raise ConfigError(f"profile {name} takes equal codes and no {option}", hint="leave one of the two out")
    if radius is not None:
        profile = replace(profile, matching=replace(profile.matching, radius=radius, chance_pairs=None))
    if threshold is not None:
        profile = replace(profile, matching=replace(profile.matching, threshold=threshold))
    encoder = replace(profile.encoder, seed=seed, steps=steps or profile.encoder.steps)
    return replace(profile, encoder=encoder)
