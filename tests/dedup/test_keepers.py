"""Which image of a group is kept."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_set import picture, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from dedup.keepers import Keeping, rank_images

ROWS = [
    {"key": "a", "source": "x", "width": 10, "height": 10, "size_bytes": 500, "sharpness": 3.0},
    {"key": "b", "source": "y", "width": 20, "height": 10, "size_bytes": 400, "sharpness": 1.0},
    {"key": "c", "source": "x", "width": 10, "height": 20, "size_bytes": 450, "sharpness": 2.0},
    {"key": "d", "source": "y", "width": 10, "height": 10, "size_bytes": 500, "sharpness": 3.0},
]


@pytest.mark.parametrize(
    ("keeping", "order"),
    [
        (Keeping(), "cbad"),
        (Keeping("first"), "abcd"),
        (Keeping("sharpest"), "adcb"),
        (Keeping(prefer="y"), "bdca"),
        (Keeping("first", prefer="y"), "bdac"),
    ],
)
@given(rows=st.permutations(ROWS))
def test_the_order_of_keepers_is_that_of_the_policy(
    keeping: Keeping, order: str, rows: list[dict[str, object]]
) -> None:
    rank = rank_images(pa.Table.from_pylist(rows), keeping)
    assert [rows[int(place)]["key"] for place in rank.argsort()] == list(order)


@pytest.mark.parametrize(("policy", "kept"), [("largest", "a.png"), ("sharpest", "b.png"), ("first", "a.png")])
def test_the_policy_is_obeyed_from_the_front_door(tmp_path: Path, policy: str, kept: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sharp = picture(1)
    blurred = sharp.resize((144, 115), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1.5))
    for name, image in (("a.png", blurred), ("b.png", sharp), ("c.png", picture(2)), ("d.png", picture(3))):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (folder / name).write_bytes(buffer.getvalue())
    result = run(tmp_path, None, "--source", f"folder:{folder}", "--keep", policy)
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "set" / "duplicates.parquet").to_pylist()
    assert [row["kept_key"] for row in rows] == [kept]
