"""The data set's card: what it says, and that no name or path can make it say more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from dedup.card import add_provenance, choose_licence, choose_size, make_card, without_places
from pipelines.registry import DatasetSpec, Registry

REPORT: dict[str, Any] = {
    "dataset": "rooms",
    "source": "lmdb:rooms",
    "profile": "default",
    "radius": 43,
    "read": 50_103,
    "kept": 41_000,
    "dropped": 9_100,
    "rejected": 3,
    "groups": 5_000,
    "rejected_by_reason": {"not_an_image": 2, "empty": 1},
    "dropped_by_rule": {"near": 9_000, "same_bytes": 100},
    "encoder": {"origin": "shipped", "fitted_to": 0, "sha256": "ab" * 32},
    "fingerprint": "cd" * 32,
    "version": "0.1.0",
    "decisions": {"same": 0, "different": 0},
    "sources": [{"name": "lmdb:rooms", "uri": None, "images": 50_103, "description": "", "terms": "", "credits": ""}],
    "command": "python -m dedup.run rooms",
}
REVIEW = {
    "judged": 100,
    "same": 97,
    "different": 1,
    "unsure": 2,
    "reviewers": 1,
    "disagreements": 0,
    "seed": 7,
    "false_rate": 0.0103,
    "low": 0.0003,
    "high": 0.0556,
    "confidence": 0.95,
    "strata": [],
    "near_misses": {"pairs": 214, "judged": 50, "same": 3, "missed": 12.8, "low": 2.7, "high": 35.3},
}
DECISIONS = {"same": 4, "different": 5}
TRUTH = {"recall": 0.75, "planted": 20, "found": 15, "dropped": 30, "by_kind": {}, "across": [["a", "b"]]}
CALIBRATION = {"recall": 0.987, "planted": 800, "expected_dropped": 9000.0, "expected_false": 3.2, "false_at_most": 8.1}


def front_matter(card: str) -> dict[str, Any]:
    head = re.match(r"---\n(.*?)\n---\n\n# ", card, re.DOTALL)
    assert head is not None
    read: dict[str, Any] = yaml.safe_load(head[1])
    return read


def text_of(card: str) -> str:
    return card.partition("\n---\n")[2]


def test_front_matter_is_what_the_hub_reads() -> None:
    assert front_matter(make_card(REPORT)) == {
        "pretty_name": "rooms",
        "license": "unknown",
        "size_categories": ["10K<n<100K"],
        "task_categories": ["unconditional-image-generation"],
        "tags": ["image", "deduplicated", "webdataset", "cleanshards"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.tar"}]}],
    }


def test_figures_are_the_reports(clean_run: Path) -> None:
    report = json.loads((clean_run / "report.json").read_bytes())
    card = (clean_run / "card.md").read_text(encoding="utf-8")
    figures = {name: int(n.replace(",", "")) for name, n in re.findall(r"^\| ([\w ]+) \| ([\d,]+) \|$", card, re.M)}
    assert figures == {
        "read": report["read"],
        "kept": report["kept"],
        "dropped as duplicates": report["dropped"],
        "rejected": report["rejected"],
    }
    assert figures["read"] == sum(figures.values()) - figures["read"]
    for counts in (report["dropped_by_rule"], report["rejected_by_reason"]):
        for name, count in counts.items():
            assert f"{name.replace('_', ' ')} {count:,}" in card
    for value in (report["fingerprint"], report["encoder"]["sha256"], f"cleanshards {report['version']}"):
        assert value in card
    truth = report["truth"]
    low, high = binomtest(truth["found"], truth["planted"]).proportion_ci(0.95, "exact")
    assert f"{truth['found']} of {truth['planted']}, {truth['found'] / truth['planted']:.1%}" in card
    assert f"95% interval {low:.1%} to {high:.1%}" in card
    assert "python -m dedup.run set --shard-size 8 --source lmdb:set_lmdb --truth truth.csv\n" in card
    assert "/tmp" not in card and str(clean_run.parent) not in card


def test_what_was_not_measured_is_said_with_the_command_that_would() -> None:
    text = text_of(make_card(REPORT))
    assert text.count("Not measured.") == 2
    assert "`python -m dedup.review rooms`" in text
    assert "`python -m dedup.run rooms --calibrate`" in text


def test_what_was_measured_is_said_with_its_interval() -> None:
    text = text_of(
        make_card({**REPORT, "review": REVIEW, "truth": TRUTH, "calibration": CALIBRATION, "decisions": DECISIONS})
    )
    assert "Not measured" not in text
    assert "of 100 dropped images" in text and "found 97 to be duplicates and 1 not, and could not tell of 2" in text
    assert "about 1.03% of what the method dropped is no duplicate (95% interval 0.03% to 5.56%)" in text
    assert "of 214 pairs just beyond the threshold, 50 were judged and 3 were duplicates" in text
    assert "about 12.8 of them were missed (95% interval 2.7 to 35.3)" in text
    assert "On 9 pairs the word of reviewers counted" in text and "4 are duplicates, 5 are not" in text
    assert "15 of 20, 75.0% (95% interval 50.9% to 91.3%)" in text
    assert "1 of 30 dropped images (95% interval 0.1% to 17.2%)" in text
    assert "98.7% of 800 near-duplicates" in text
    assert "3.2 are expected to be false, 8.1 at most" in text


def test_a_report_of_an_earlier_version_has_a_card_too() -> None:
    added = ("sources", "command", "decisions")
    text = text_of(make_card({name: value for name, value in REPORT.items() if name not in added}))
    assert "- `lmdb:rooms`: 50,103 images. Terms: not stated.\n" in text


def test_the_papers_profile_is_not_said_to_verify() -> None:
    text = text_of(make_card({**REPORT, "profile": "paper", "radius": 0}))
    assert "not verified" in text
    assert "compared once more" not in text


def test_sources_come_with_their_terms() -> None:
    unknown = {"description": "", "terms": "", "credits": ""}
    cats = {**unknown, "name": "cats", "uri": "folder:/home/me/cats", "images": 103, "description": "Cats of my street"}
    sources = [cats | {"terms": "CC BY 4.0"}, {**unknown, "name": "b", "uri": None, "images": 50}]
    card = make_card({**REPORT, "sources": sources})
    assert "- `cats`: 103 images. Cats of my street. Terms: CC BY 4.0.\n" in card
    assert "- `b`: 50 images. Terms: not stated.\n" in card
    assert "/home" not in card
    assert front_matter(card)["license"] == "other"
    assert front_matter(card)["license_name"] == "terms-of-the-sources"
    assert front_matter(make_card({**REPORT, "sources": sources[:1]}))["license"] == "cc-by-4.0"


@pytest.mark.parametrize(
    ("terms", "licence"),
    [
        ([""], "unknown"),
        (["", ""], "unknown"),
        (["MIT", "mit"], "mit"),
        (["CC0 1.0"], "cc0-1.0"),
        (["MIT", ""], "other"),
        (["MIT", "CC0-1.0"], "other"),
        (["ask me"], "other"),
        (["cc-by-5.0"], "other"),
    ],
)
def test_licence_is_an_id_of_the_hub_only_where_all_sources_have_it(terms: list[str], licence: str) -> None:
    assert choose_licence(terms)["license"] == licence


def test_size_categories() -> None:
    counts = (0, 999, 1000, 9_999, 3_033_042, 2 * 10**9)
    categories = ["n<1K", "n<1K", "1K<n<10K", "1K<n<10K", "1M<n<10M", "1B<n<10B"]
    assert [choose_size(count) for count in counts] == categories


def test_provenance_is_found_by_where_a_source_lies(tmp_path: Path) -> None:
    specs = [
        DatasetSpec("faces", "Faces", "shards:raw/crops", terms="each its owner's"),
        DatasetSpec("rooms", "Rooms", "lmdb:raw/rooms", terms="MIT"),
    ]
    registry = Registry({spec.name: spec for spec in specs}, ())
    (tmp_path / "faces/raw/report").mkdir(parents=True)
    (tmp_path / "faces/raw/report/attribution.html").touch()
    uris = (None, f"shards:{tmp_path}/faces/clean", f"f=shards:{tmp_path}/faces/raw/crops", "lmdb:/rooms")
    sources = [{"name": str(uri), "uri": uri, "images": 1} for uri in uris]
    told = add_provenance({**REPORT, "sources": sources}, tmp_path, registry, ["rooms"])["sources"]
    page = "raw/report/attribution.html"
    assert [(source["description"], source["terms"], source["credits"]) for source in told] == [
        ("Rooms", "MIT", ""),
        ("Faces", "each its owner's", page),
        ("Faces", "each its owner's", page),
        ("", "", ""),
    ]

    faces = {**REPORT, "dataset": "faces", "sources": [{"name": "shards:crops", "uri": None, "images": 1}]}
    card = make_card(add_provenance(faces, tmp_path, registry, ["faces"]))
    assert f"`{page}`" in card
    assert "Not to be used to identify" in card
    assert "identify" not in make_card(REPORT)


@pytest.mark.parametrize(
    ("given_arguments", "kept"),
    [
        (["rooms", "--data-root", "/mnt/me", "--workers=3", "-q", "--radius", "3"], ["rooms", "--radius", "3"]),
        (
            ["x", "--source", "lmdb:/home/me/rooms/", "--source=a=folder:~/b c"],
            ["x", "--source", "lmdb:rooms", "--source=a=folder:b c"],
        ),
        (
            ["x", "--source", "parquet:../me/*.parquet", "--truth", "C:\\me\\t.csv"],
            ["x", "--source", "parquet:*.parquet", "--truth", "t.csv"],
        ),
        (["x", "--prefer", "lmdb:/home/me/rooms", "--debug"], ["x", "--prefer", "lmdb:rooms"]),
    ],
)
def test_command_shows_no_path_of_this_machine(given_arguments: list[str], kept: list[str]) -> None:
    assert without_places(given_arguments) == kept


def test_command_of_the_console_script_is_the_modules() -> None:
    told = add_provenance(REPORT, Path("data"), Registry({}, ()), ["dedup", "rooms", "--seed", "1"])
    assert told["command"] == "python -m dedup.run rooms --seed 1"


HOSTILE = [
    "quote \" and \\ and '",
    "line\nbreak\r\n---\nlicense: mit",
    "`code` ``twice`` ` ",
    "<script>alert(1)</script> [link](javascript:alert(1)) ![i](x) **b** | cell | &lt;",
    "colon: - # ? {a} [b] @ ! % & *",
    "\u202e\u2028\x85\ufeff\x00\x7f odd",
    "caf\u00e9 \U0001f600 \udcff",
    "{{ report }} {% raw %}",
    "-",
    "null",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_what_they_are(text: str) -> None:
    plain, card = make_card(REPORT), make_card_of(text)
    assert front_matter(card).keys() - {"license_name"} == front_matter(plain).keys()
    assert {**front_matter(card), "pretty_name": ""} | {"license_name": "", "license": ""} == {
        **front_matter(plain),
        "pretty_name": "",
    } | {"license_name": "", "license": ""}
    assert len(card.splitlines()) == len(plain.splitlines()) + 1  # license_name
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(javascript|(?<!\\)!\[", without_code(text_of(card)))


def make_card_of(text: str) -> str:
    known = {"description": text, "terms": text, "credits": ""}
    sources = [{"name": text, "uri": f"folder:{text}", "images": 1, **known}]
    report = {**REPORT, "dataset": text, "source": text, "sources": sources, "command": f"run {text}"}
    return make_card(report)


def without_code(card: str) -> str:
    fenced = re.sub(r"^```bash\n.*\n```$", "", card, flags=re.M)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", fenced)


@given(st.text(max_size=30))
def test_any_text_gives_front_matter_that_parses(text: str) -> None:
    card = make_card_of(text)
    assert front_matter(card)["tags"][0] == "image"
    assert isinstance(front_matter(card)["pretty_name"], str)
    card.encode()
