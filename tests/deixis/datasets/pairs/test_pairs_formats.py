"""The same pairs in every layout give the same tables; each layout's own mistakes are refused."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deixis.core.errors import ConfigError, DataError
from tests.deixis.datasets.pairs.corpora import (
    WRITERS,
    codes,
    good_rows,
    image,
    ingest,
    write_csv,
    write_hf_set,
    write_jsonl,
    write_parquet,
)


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_tables(tmp_path, layout):
    raw = tmp_path / "raw"
    rows = good_rows(raw)
    WRITERS[layout](raw, rows)
    tables = ingest(raw, tmp_path / "out", boxes=None if layout == "coco" else "xyxy_abs")
    assert not codes(tables)
    assert tables["pairs"]["sample_id"].tolist() == [f"mine/good-{number}" for number in range(6)]
    assert tables["pairs"]["expression"].tolist() == [row["text"] for row in rows]
    assert tables["pairs"]["split"].unique().tolist() == ["train"]
    assert tables["pairs"]["ref_id"].tolist() == list(range(6))  # "a" of one image is not "a" of another
    assert [box.tolist() for box in tables["truth"]["box"]] == [[1, 2, 11, 12]] * 6
    assert tables["truth"]["area"].tolist() == [100.0] * 6
    assert tables["objects"].empty  # listing what phrases mean would give truth away
    assert tables["images"]["path"].tolist() == [row["image"] for row in rows]
    assert tables["images"][["width", "height"]].drop_duplicates().values.tolist() == [[30, 20]]


def test_tables_have_the_columns_and_types_of_every_dataset(tmp_path):
    raw = tmp_path / "raw"
    write_jsonl(raw, good_rows(raw))
    ingest(raw, tmp_path / "out")
    schemas = {
        name: {field.name: str(field.type) for field in pq.read_schema(tmp_path / "out" / f"{name}.parquet")}
        for name in ("pairs", "truth", "images", "objects", "quarantine")
    }
    text = "large_string"
    assert schemas["pairs"] == {
        "sample_id": text, "image_id": "int64", "ref_id": "int64", "sent_id": "int64", "expression": text,
        "text": text, "split": text,
    }  # fmt: skip
    rle = "struct<size: list<element: int64>, counts: string>"
    boxes = "list<element: double>"
    assert schemas["truth"] == {"sample_id": text, "box": boxes, "mask": rle, "category": text, "area": "double"}
    assert list(schemas["images"])[:6] == ["image_id", "path", "sha256", "width", "height", "licence"]
    assert schemas["objects"] == {"image_id": "int64", "boxes": boxes, "categories": "list<element: int64>"}
    assert schemas["quarantine"] == {"file": text, "line": "int64", "code": text, "value": text}


def test_a_folder_with_sidecars(tmp_path):
    raw = tmp_path / "raw"
    for folder in ("a", "b"):
        image(raw / "images" / folder / "cat.jpg", ord(folder))
        (raw / "images" / folder / "cat.txt").write_text(f"a cat in {folder}\n\nthe {folder} cat\r\n")
    image(raw / "images" / "dog.jpg", 1)
    image(raw / "images" / "dog.png", 2)
    (raw / "images" / "dog.txt").write_text("which dog")
    (raw / "images" / "ghost.txt").write_text("nobody")
    image(raw / "images" / "silent.png", 3)
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert tables["pairs"]["expression"].tolist() == ["a cat in a", "the a cat", "a cat in b", "the b cat"]
    assert tables["pairs"]["sample_id"].tolist()[1] == "mine/images/a/cat.txt:2"
    assert tables["images"]["path"].tolist() == ["a/cat.jpg", "b/cat.jpg"]
    assert codes(tables) == ["E_IMG_AMBIGUOUS", "E_IMG_MISSING", "W_IMG_NO_TEXT"]


def test_a_saved_dataset_with_splits_and_images_inside(tmp_path):
    raw, reached = tmp_path / "raw", tmp_path / "seen"
    for split, count in (("train", 3), ("validation", 2)):
        paths = [image(reached / f"{split}{number}.jpg", number + 10 * count) for number in range(count)]
        rows = [
            {"image": {"bytes": path.read_bytes(), "path": path.name}, "text": f"{split} ball", "box": [1.0, 1, 9, 9]}
            for path in paths
        ]
        write_hf_set(raw / split, rows, shards=1)
    (raw / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    tables = ingest(raw, tmp_path / "out")
    assert tables["pairs"]["split"].value_counts().to_dict() == {"train": 3, "val": 2}
    assert tables["pairs"]["sample_id"].iloc[0].startswith("mine/")
    for path, sha256 in tables["images"][["path", "sha256"]].itertuples(index=False):
        assert path == f"../../out/images/{sha256[:2]}/{sha256}.jpg"
        assert (tmp_path / "out" / "images" / sha256[:2] / f"{sha256}.jpg").exists()


def test_coco_with_a_caption_per_image_row_masks_and_other_objects(tmp_path):
    raw = tmp_path / "raw"
    image(raw / "images" / "a.png", 0)
    images = [
        {"id": 1, "file_name": "a.png", "width": 30, "height": 20, "caption": "left ball"},
        {"id": 2, "file_name": "a.png", "width": 30, "height": 20},
        {"id": 3, "file_name": "b.png", "width": 30, "height": 20},
    ]
    image(raw / "images" / "b.png", 1)
    square = [2, 2, 8, 2, 8, 6, 2, 6]
    far = [2, 2, 1e12, 2, 8, 1e12]
    notes = [
        {"id": 5, "image_id": 1, "bbox": [2, 2, 6, 4], "category_id": 3, "segmentation": [square]},
        {
            "id": 6,
            "image_id": 2,
            "bbox": [20, 2, 6, 4],
            "category_id": 3,
            "refexp": "right ball",
            "segmentation": [far],
        },
        {"id": 7, "image_id": 2, "bbox": [0, 0, 30, 20], "category_id": 4},
        {"id": 9, "image_id": 3, "bbox": [3, 3, 5, 5], "category_id": 3, "sentences": [{"raw": "the ball"}]},
        {"id": 8, "image_id": 99, "bbox": [0, 0, 30, 20], "caption": "of no image"},
    ]
    whole = {"images": images, "annotations": notes, "categories": [{"id": 3, "name": "ball"}]}
    (raw / "pairs.json").write_text(json.dumps(whole))
    tables = ingest(raw, tmp_path / "out", boxes=None, val_share=1.0)
    assert codes(tables) == ["E_MASK_BROKEN", "E_ROW_BROKEN"]
    truth = tables["truth"].set_index("sample_id")
    assert truth["category"].tolist() == ["ball"] * 3
    assert truth.loc["mine/9/0", "box"].tolist() == [3, 3, 8, 8]
    left = truth.loc["mine/pairs.json#images:0"]
    assert (left["box"].tolist(), left["mask"]["size"].tolist(), left["area"]) == ([2, 2, 8, 6], [20, 30], 24.0)
    assert truth.loc["mine/6", "mask"] is None
    assert tables["objects"]["categories"].map(list).tolist() == [[4, 3, 3], []]  # b.png has none that no phrase names


def test_values_of_csv_stay_the_text_that_they_are(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 5)
    for row, (name, text) in zip(
        rows,
        [("0012", "NA"), ("123", "null"), ("1e3", 'a "red", ball'), ("007", "two\nlines"), ("-1", "=1+1")],
        strict=True,
    ):
        row |= {"id": name, "text": text, "box": ""}
    write_csv(raw, rows)
    tables = ingest(raw, tmp_path / "out")
    assert dict(tables["pairs"][["sample_id", "expression"]].itertuples(index=False)) == {
        f"mine/{row['id']}": row["text"] for row in rows
    }


def test_numbers_as_ids_lose_the_point_that_gaps_give_them(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 3)
    table = pd.DataFrame(rows).assign(id=[123.0, float("nan"), 7.0])
    table.to_parquet(raw / "pairs.parquet")
    assert ingest(raw, tmp_path / "out")["pairs"]["sample_id"].tolist() == [
        "mine/123", "mine/pairs.parquet:1", "mine/7"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ("good1.png,red, round ball\n", 0),
        ("good1.png\n", 0),
        ('good1.png,"never closed\n', 0),
        ('good1.png,"half" closed\n', 0),
        ("good1.png," + "x" * (2 << 20) + "\n", 0),
        (",\n", 0),
    ],
    ids=["comma", "short", "open quote", "quote inside", "endless", "empty"],
)
def test_a_broken_record_of_csv_takes_no_other_with_it(tmp_path, broken, lost):
    raw = tmp_path / "raw"
    good_rows(raw, 4)
    lines = [f'good{number}.png,"the ""red"" ball, {number}"\n' for number in range(4)]
    (raw / "pairs.csv").write_text("image,text\n" + "".join(lines[:2]) + broken + "".join(lines[2:]))
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert len(tables["pairs"]) == 4 - lost
    assert len(codes(tables)) == 1
    assert tables["quarantine"]["line"].tolist() == [3]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_spreadsheets_save_text_in_many_ways(tmp_path, encoding):
    raw = tmp_path / "raw"
    good_rows(raw, 1)
    start = "\ufeff" if encoding == "utf-16-le" else ""
    (raw / "pairs.tsv").write_bytes(f"{start}image\ttext\ngood0.png\tcafé door\n".encode(encoding))
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert tables["pairs"]["expression"].tolist() == ["café door"]
    assert codes(tables) == (["W_ENCODING"] if encoding == "latin-1" else [])


def test_text_of_a_parquet_file_that_is_not_utf8(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 3)
    table = pa.Table.from_pylist([{"image": row["image"], "text": row["text"].encode()} for row in rows])
    spoilt = pa.array([b"red ball", b"caf\xe9", b"blue ball"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, spoilt.buffers())
    pq.write_table(table.set_column(1, "text", text), raw / "pairs.parquet")
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert tables["pairs"]["expression"].tolist() == ["red ball", "blue ball"]
    assert codes(tables) == ["E_TEXT_ENCODING"]


def test_columns_may_have_other_names(tmp_path):
    raw = tmp_path / "raw"
    names = {"image": "file", "text": "caption", "id": "key", "box": "bbox", "split": "subset", "group": "object"}
    write_parquet(raw, [{names[key]: value for key, value in row.items()} for row in good_rows(raw)])
    assert len(ingest(raw, tmp_path / "out", fields=names)["pairs"]) == 6
    with pytest.raises(DataError, match=r"no column image, text. Found: file, caption.*fields"):
        ingest(raw, tmp_path / "out")
    with pytest.raises(DataError, match="no column nowhere"):
        ingest(raw, tmp_path / "out", fields=names | {"id": "nowhere"})


def test_the_file_is_named_where_it_is_not_plain(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw)
    write_jsonl(raw, rows[:2])
    write_csv(raw, rows[2:])
    with pytest.raises(ConfigError, match=r"more than one way.*source"):
        ingest(raw, tmp_path / "out")
    assert len(ingest(raw, tmp_path / "out", source="pairs.jsonl")["pairs"]) == 2
    assert len(ingest(raw, tmp_path / "out", format="csv")["pairs"]) == 4
    for wrong, message in (("../raw", "it leaves"), ("nothing-*.csv", "nothing in")):
        with pytest.raises(ConfigError, match=message):
            ingest(raw, tmp_path / "out", source=wrong)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.jsonl", '{\n  "image": "a.png"\n}', "spread over several lines"),
        ("pairs.json", '{"pairs": []}', "not a COCO file"),
        ("pairs.json", '"text"', "Allowed: a list"),
        ("pairs.json", '[{"image": ', "not valid JSON"),
        ("pairs.csv", "", "an empty file"),
        ("pairs.parquet", "PAR1 but no more", "not a whole Parquet file"),
        ("state.json", '{"_data_files": [{"filename": "data.arrow"}]}', r"data\.arrow: missing\. Restore it"),
        ("state.json", '{"_data_files": [{"filename": "../../data.arrow"}]}', "outside its folder"),
        ("state.json", '{"_indices_data_files": [{"filename": "i.arrow"}]}', "flatten_indices"),
        ("notes.md", "nothing", "nothing to read"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_ends_the_run(tmp_path, name, content, message):
    raw = tmp_path / "raw"
    good_rows(raw, 1)
    (raw / name).write_text(content)
    with pytest.raises(DataError, match=message):
        ingest(raw, tmp_path / "out", boxes=None)
