"""A row that no reader can hold costs itself alone; a file that none can read ends in a message that names it."""

import json
import pickle
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deixis.core.errors import DataError
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from deixis.datasets.jxu124 import Jxu124Config, read_rows, translate
from deixis.datasets.pairs.arrow_files import column_names
from tests.deixis.datasets.pairs.corpora import codes, good_rows, write_hf
from tests.deixis.datasets.pairs.corpora import ingest as ingest_pairs
from tests.factories import read_refer, refer_folder, write_refer
from tests.repackage import to_jxu124

ALL = [f"toy/{number // 2}/{number}" for number in range(8)]
LONG = 10**5000  # more digits than Python writes


@pytest.fixture
def raw(tmp_path):
    return refer_folder(tmp_path / "raw", images=4)


@pytest.fixture
def hosted(raw):
    to_jxu124(raw, *read_refer(raw))
    files = sorted((raw / "data").iterdir())
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    for file in files[1:]:
        file.unlink()
    rows.sort(key=lambda row: row["ref_id"])
    pq.write_table(pa.Table.from_pylist(rows), files[0])
    return files[0]


def ingest(raw: Path, adapter: str) -> tuple[list[str], list[str]]:
    """Samples that were read, and the codes of what was not."""
    kind = resolve(DATASETS, adapter, role="dataset adapter")
    kind(kind.Config(adapter=adapter, max_quarantined=1.0)).ingest(raw=raw, out=raw / "out", dataset="toy")
    refused = pd.read_parquet(raw / "out" / "quarantine.parquet")["code"]
    samples = pd.read_parquet(raw / "out" / "pairs.parquet")["sample_id"]
    return samples.tolist(), [code for code in refused if code.startswith("E_")]


def replace(path: Path, name: str, column: pa.Array) -> None:
    """Another column under a name."""
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


def not_utf8(texts: list[str]) -> pa.Array:
    spoilt = pa.array([text.encode() if place != 1 else b"\xff" for place, text in enumerate(texts)])
    return pa.Array.from_buffers(pa.string(), len(texts), spoilt.buffers())


@pytest.mark.parametrize("name", ["raw_anns", "split"])
def test_a_hosted_row_whose_text_is_not_utf8_is_refused_alone(raw, hosted, name):
    replace(hosted, name, not_utf8(pq.read_table(hosted)[name].to_pylist()))
    assert ingest(raw, "jxu124") == (ALL[:2] + ALL[4:], ["E_REF_BROKEN"])
    said = pd.read_parquet(raw / "out" / "quarantine.parquet")["value"].tolist()
    assert said == ["not a ref with sentences: a row that cannot be read ('utf-8' codec can't decode byte 0xff in "
                    "position 0: invalid start byte)"]  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["train"]] * 4),
        pa.array([{"train": 1}] * 4),
        pa.array([2**62] * 4).cast(pa.timestamp("us")),
        pa.array([7] * 4, pa.timestamp("s", "Nowhere/Else")),
        pa.StructArray.from_arrays([pa.array([1] * 4)] * 2, names=["a", "a"]),
    ],
    ids=["list", "struct", "far date", "unknown time zone", "field twice"],
)
def test_a_split_of_another_type_is_refused_row_by_row(raw, hosted, column):
    replace(hosted, "split", column)
    with pytest.raises(DataError, match="no usable pair of image and phrase"):
        ingest(raw, "jxu124")
    refused = pd.read_parquet(raw / "out" / "quarantine.parquet")["code"].tolist()
    assert refused == ["E_REF_BROKEN"] * 4


def test_an_own_row_with_a_date_beyond_the_calendar_is_refused_alone(tmp_path):
    rows = good_rows(tmp_path / "raw", 3)
    table = pa.table({name: [row[name] for row in rows] for name in ("image", "text")})
    dates = pa.array([None, 2**62, None], pa.int64()).cast(pa.timestamp("us"))
    pq.write_table(table.append_column("group", dates), tmp_path / "raw" / "pairs.parquet")
    tables = ingest_pairs(tmp_path / "raw", tmp_path / "out", boxes=None)
    assert (tables["pairs"]["expression"].tolist(), codes(tables)) == (["red ball 0", "red ball 2"], ["E_ROW_BROKEN"])


def test_a_hosted_file_damaged_anywhere_is_read_or_named(raw, hosted):
    whole = hosted.read_bytes()
    refused = 0
    for place in range(len(whole) % 31, len(whole), 31):
        hosted.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            translate(read_rows(raw), raw=raw, config=Jxu124Config(adapter="jxu124"))
        except DataError as error:
            assert f"{hosted}: " in str(error) and "dvc repro prepare" in str(error)
            refused += 1
    assert refused > 9


@pytest.mark.parametrize("number", [2**63, -(2**70)])
def test_an_integer_of_more_than_64_bits_costs_its_row_alone(raw, number):
    instances, refs = read_refer(raw)
    for harm in ({"category_id": number}, {"bbox": [0, 0, number, 5]}, {"image_id": number}, {"area": number}):
        changed = [row | harm if place == 1 else row for place, row in enumerate(instances["annotations"])]
        write_refer(raw, instances | {"annotations": changed}, refs)
        samples, _ = ingest(raw, "refer")
        assert set(ALL[:2] + ALL[4:]) <= set(samples)


@pytest.mark.parametrize("name", ["ref_id", "image_id", "ann_id", "category_id", "split", "sentences"])
def test_an_integer_that_python_does_not_write_costs_its_ref_alone(raw, name):
    _, refs = read_refer(raw)
    refs[1] |= {name: LONG}
    (raw / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    assert ingest(raw, "refer") == (ALL[:2] + ALL[4:], ["E_REF_BROKEN"])


def test_digits_without_end_are_no_number_of_an_image(raw):
    instances, refs = read_refer(raw)
    instances["images"][1] |= {"id": "9" * 5000, "file_name": None}
    refs[1] |= {"image_id": "9" * 5000}
    instances["annotations"][1] |= {"image_id": "9" * 5000}
    write_refer(raw, instances, refs)
    assert ingest(raw, "refer") == (ALL[:2] + ALL[4:], ["E_IMG_MISSING"])


@pytest.mark.parametrize("broken", ["{", "[", " [ "])
@pytest.mark.parametrize("place", [0, 2])
def test_a_line_of_one_bracket_is_refused_alone(tmp_path, broken, place):
    rows = good_rows(tmp_path / "raw", 3)
    lines = [json.dumps(row) for row in rows]
    lines[place] = broken
    (tmp_path / "raw" / "pairs.jsonl").write_text("\n".join(lines))
    tables = ingest_pairs(tmp_path / "raw", tmp_path / "out", max_quarantined=1.0)
    assert (len(tables["pairs"]), codes(tables)) == (2, ["E_ROW_BROKEN"])


@pytest.mark.parametrize("place", range(0, 40, 3))
def test_a_carriage_return_within_a_table_costs_at_most_its_line(tmp_path, place):
    rows = good_rows(tmp_path / "raw", 3)
    lines = ["image,text", *(f"{row['image']},{row['text']}" for row in rows)]
    text = "\n".join(lines) + "\n"
    start = len(lines[0]) + 1
    (tmp_path / "raw" / "pairs.csv").write_text(text[: start + place] + "\r" + text[start + place :], newline="")
    tables = ingest_pairs(tmp_path / "raw", tmp_path / "out", boxes=None)
    assert len(tables["pairs"]) >= 2


@pytest.mark.parametrize("splits", [7, None, "train", [7], ["../other"], ["\0"], ["\ud800"], [["a"]]])
def test_splits_of_a_saved_dataset_that_are_no_folders_of_it_are_named(tmp_path, splits):
    write_hf(tmp_path / "raw", good_rows(tmp_path / "raw", 2))
    (tmp_path / "raw" / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(DataError, match=r"dataset_dict\.json: splits is .*allowed: a list of names of folders"):
        ingest_pairs(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(DataError, match=r"dataset_dict\.json: splits is .*allowed: a list of names of folders"):
        column_names(tmp_path / "raw", "hf")
