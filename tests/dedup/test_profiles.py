"""Profiles: what an option of the command changes, and what it may not be."""

import math

import pytest

from dedup.profiles import choose_profile
from dedup.verification.verify import THRESHOLD
from pipelines.errors import ConfigError


def test_options_change_what_they_name() -> None:
    plain, chosen = choose_profile("default", seed=0), choose_profile("default", seed=0, threshold=4.5, radius=9)
    assert plain.matching.threshold == THRESHOLD
    assert (chosen.matching.threshold, chosen.matching.radius) == (4.5, 9)
    assert chosen.matching.chance_pairs is None, "a radius that was asked for is kept"
    assert choose_profile("default", seed=0, threshold=4.5).matching.chance_pairs == plain.matching.chance_pairs
    assert choose_profile("paper", seed=0).matching.threshold is None


@pytest.mark.parametrize("threshold", [-9.1, 20.5, math.nan, math.inf, -math.inf])
def test_a_threshold_beyond_all_scores_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="the threshold is") as error:
        choose_profile("default", seed=0, threshold=threshold)
    assert error.value.hint == "give -9 to 20; 1 is the default"


@pytest.mark.parametrize(("option", "values"), [("--radius", {"radius": 3}), ("--threshold", {"threshold": 3.0})])
def test_equal_codes_have_neither_radius_nor_threshold(option: str, values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"profile paper takes equal codes and no {option}"):
        choose_profile("paper", seed=0, **values)  # type: ignore[arg-type]


def test_an_unknown_profile_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="no profile 'exact'") as error:
        choose_profile("exact", seed=0)
    assert "paper" in error.value.hint
