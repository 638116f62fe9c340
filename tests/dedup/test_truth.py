from pathlib import Path

import pytest

from dedup.truth import judge, read_truth
from pipelines.errors import ConfigError

TRUTH = {
    "a": ("", "original"),
    "a1": ("a", "crop2"),
    "a2": ("a", "crop2"),
    "a3": ("a", "odd:16bit-png"),
    "b": ("", "original"),
    "b1": ("b", "mirror"),
    "c": ("", "broken:empty"),
}


def test_found_means_in_one_group_whichever_is_kept() -> None:
    verdict = judge(TRUTH, {"a": "a1", "a2": "a1", "a3": "a1"})
    assert verdict.planted == {"crop2": 2, "mirror": 1}
    assert verdict.found == {"crop2": 2, "mirror": 0}
    assert verdict.recall == pytest.approx(2 / 3)
    assert verdict.across == ()
    assert verdict.dropped == 3


def test_pairs_across_pictures_are_named() -> None:
    assert judge(TRUTH, {"b1": "a", "a3": "a"}).across == (("b1", "a"),)


def test_keys_that_the_table_does_not_name_do_not_count() -> None:
    assert judge(TRUTH, {"unknown": "a"}).dropped == 0


def test_truth_is_read_from_csv_with_any_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("key,duplicate_of,what,room\na,,original,bedroom\na1,a,crop2,\n")
    assert read_truth(path) == {"a": ("", "original"), "a1": ("a", "crop2")}


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("name,of\na,b\n")
    with pytest.raises(ConfigError, match="no truth table"):
        read_truth(path)
    with pytest.raises(ConfigError, match="no truth table at"):
        read_truth(tmp_path / "missing.csv")
