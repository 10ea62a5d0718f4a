"""What an ingest promises: scan first, nothing lost, nothing changed, the same answer twice."""

import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deixis.core.errors import DataError
from deixis.datasets.pairs import PairsAdapter
from deixis.imaging.decoding import open_image, open_upright
from tests.deixis.datasets.pairs.corpora import BAD, codes, good_rows, image, ingest, turned, write_csv, write_jsonl


def fingerprint(folder) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_scan_reports_and_writes_nothing(tmp_path):
    raw = tmp_path / "raw"
    write_jsonl(raw, [*good_rows(raw), {"image": "nowhere.png", "text": "x", "split": "train"}])
    before = fingerprint(tmp_path)
    adapter = PairsAdapter(PairsAdapter.Config(boxes="xyxy_abs"))
    report = adapter.scan(raw=raw, dataset="mine", again="deixis scan")
    assert fingerprint(tmp_path) == before
    assert (report["rows"], report["pairs"], report["pictures"], report["sources"]) == (7, 6, 6, {"pairs.jsonl": 7})
    assert report["codes"]["E_IMG_MISSING"]["examples"] == [
        "pairs.jsonl row 6: E_IMG_MISSING nowhere.png: no such image"
    ]


def test_the_same_corpus_gives_the_same_bytes_wherever_it_lies(tmp_path):
    digests = []
    for place in ("one", "two"):
        raw = tmp_path / place / "raw"
        names = good_rows(raw)
        image(raw / "images" / "turned.jpg", 5, exif=turned(3))
        write_jsonl(raw, [*names, names[0] | {"id": "t", "image": "turned.jpg"}])
        before = fingerprint(raw)
        ingest(raw, tmp_path / place / "out")
        ingest(raw, tmp_path / place / "out")  # again over what is there
        assert fingerprint(raw) == before
        digests.append(fingerprint(tmp_path / place / "out"))
    assert digests[0] == digests[1]
    assert not [name for name in digests[0] if "ingest" in name]
    assert len(digests[0]) == 7  # five tables, the manifest, the upright copy


def test_the_manifest_follows_the_settings_and_the_corpus(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw)
    hashes = set()
    for edit in ({}, {"licence": "CC0-1.0"}, {"text": "green ball"}):
        write_jsonl(raw, [rows[0] | {"text": edit.get("text", "red ball")}, *rows[1:]])
        ingest(raw, tmp_path / "out", licence=edit.get("licence", "unknown"))
        hashes.add(json.loads((tmp_path / "out" / "manifest.json").read_text())["sha256"])
    assert len(hashes) == 3


def test_order_of_rows_follows_images_groups_and_the_file(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 3)
    extra = [rows[0] | {"id": f"more-{group}", "group": group, "text": f"x {group}"} for group in ("b", "a", None)]
    write_jsonl(raw, [rows[2], *extra, rows[1], rows[0]])
    pairs = ingest(raw, tmp_path / "out")["pairs"]
    names = ["more-a", "good-0", "more-b", "more-None", "good-1", "good-2"]
    assert pairs["sample_id"].tolist() == [f"mine/{name}" for name in names]
    assert pairs["ref_id"].fillna(-1).tolist() == [0, 0, 1, -1, 2, 3]
    assert pairs["sent_id"].tolist() == list(range(6))


def test_too_many_bad_rows_end_the_run_and_are_listed(tmp_path):
    raw = tmp_path / "raw"
    good = [json.dumps(row).encode() for row in good_rows(raw)]
    (raw / "pairs.jsonl").write_bytes(b"\n".join([*good, BAD["bomb"].make(raw, 0)]))
    with pytest.raises(DataError, match=r"1 of 14 rows.*1 E_IMG_HUGE.*row 6.*max_quarantined.*dvc repro prepare@mine"):
        ingest(raw, tmp_path / "out", max_quarantined=0.01)
    assert pd.read_parquet(tmp_path / "out" / "quarantine.parquet")["code"].tolist() == ["E_IMG_HUGE"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["quarantine.parquet"]


def test_a_corpus_without_one_pair_is_refused(tmp_path):
    raw = tmp_path / "raw"
    write_jsonl(raw, [good_rows(raw)[0] | {"text": "!"}])
    with pytest.raises(DataError, match="no usable pair"):
        ingest(raw, tmp_path / "out")


def test_splits_are_drawn_by_image_where_there_are_boxes(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 60)
    for row in rows:
        del row["split"]
    for row in rows[:20]:
        del row["box"]
    rows += [row | {"id": f"again-{row['id']}", "text": "again"} for row in rows]
    write_jsonl(raw, rows)
    tables = ingest(raw, tmp_path / "out", val_share=0.5)
    of_image = tables["pairs"].groupby("image_id")["split"].agg(set)
    assert of_image.map(len).max() == 1
    drawn = tables["pairs"].loc[tables["pairs"]["split"] == "val", "sample_id"]
    assert 20 <= len(drawn) <= 60  # of forty images with two phrases each, half
    assert set(drawn) <= set(tables["truth"]["sample_id"])
    write_jsonl(raw, [row for row in rows if "5" not in row["image"]])
    fewer = ingest(raw, tmp_path / "out", val_share=0.5)["pairs"]
    assert set(fewer.loc[fewer["split"] == "val", "sample_id"]) == {name for name in drawn if "5" not in name}
    write_jsonl(raw, [{key: row[key] for key in ("image", "text", "id")} for row in rows])
    assert ingest(raw, tmp_path / "out")["pairs"]["split"].unique().tolist() == ["train"]


def test_splits_may_be_chosen_and_renamed(tmp_path):
    raw = tmp_path / "raw"
    rows = good_rows(raw, 4)
    for row, split in zip(rows, ("train", "dev", "test", "extra"), strict=True):
        row["split"] = split
    write_jsonl(raw, rows)
    assert sorted(ingest(raw, tmp_path / "out")["pairs"]["split"]) == ["extra", "test", "train", "val"]
    chosen = ingest(raw, tmp_path / "out", splits={"train": "train", "test": "testA"})
    assert sorted(chosen["pairs"]["split"]) == ["testA", "train"]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_is_copied_upright_for_every_reader(tmp_path, orientation):
    raw, out = tmp_path / "data/raw/mine", tmp_path / "data/prepared/mine"
    upright = np.zeros((20, 30, 3), np.uint8)
    upright[:10, :15] = 255  # a bright quarter at the top left
    stored = {
        2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    (raw / "images").mkdir(parents=True)
    Image.fromarray(np.ascontiguousarray(stored)).save(raw / "images" / "a.png", exif=turned(orientation))
    write_jsonl(raw, [{"image": "a.png", "text": "ball"}])
    tables = ingest(raw, out, boxes=None)
    row = tables["images"].iloc[0]
    assert (row["width"], row["height"], row["source"]) == (30, 20, "a.png")
    assert codes(tables) == ["W_EXIF"]
    opened = open_image(raw / "images" / row["path"])
    assert np.array_equal(np.asarray(opened), upright)
    (raw / "images").rename(tmp_path / "elsewhere")  # as when the folder is a link, or absent
    assert np.array_equal(np.asarray(open_image(raw / "images" / row["path"])), upright)
    (raw / "images").symlink_to(tmp_path / "elsewhere")
    assert np.array_equal(np.asarray(open_image(raw / "images" / row["path"])), upright)


@pytest.mark.parametrize(("suffix", "mode"), [(".jpg", "RGB"), (".jpg", "L"), (".jpg", "CMYK"), (".webp", "RGB")])
def test_a_turned_photographs_copy_has_the_very_pixels_and_is_not_turned_again(tmp_path, suffix, mode):
    raw = tmp_path / "raw"
    photograph = image(raw / "images" / f"a{suffix}", 0, mode=mode, size=(37, 25), exif=turned(6), quality=60)
    write_jsonl(raw, [{"image": photograph.name, "text": "ball"}])
    row = ingest(raw, tmp_path / "out", boxes=None)["images"].iloc[0]
    copy = raw / "images" / row["path"]
    stored = np.asarray(open_image(photograph))
    assert np.array_equal(np.asarray(open_image(copy)), np.rot90(stored, -1))
    assert open_upright(copy).orientation == 1


def test_image_names_of_other_systems_are_found(tmp_path):
    raw = tmp_path / "raw"
    image(raw / "images" / "sub" / "caf\u00e9.png", 0)
    image(raw / "images" / "at 3.15\u202fPM.png", 1)
    image(raw / "photos" / "c.png", 2)
    names = ["sub\\cafe\u0301.png", "at 3.15\u202fPM.png", "photos/c.png", "images/sub/caf\u00e9.png"]
    write_jsonl(raw, [{"image": name, "text": f"ball {number}"} for number, name in enumerate(names)])
    tables = ingest(raw, tmp_path / "out", boxes=None)
    assert codes(tables) == ["W_IMG_DUP"]  # two spellings of one image
    assert sorted(tables["images"]["path"]) == ["../photos/c.png", "at 3.15\u202fPM.png", "sub/caf\u00e9.png"]
    assert len(tables["pairs"]) == 4


def test_the_folder_of_images_may_be_a_link(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    image(tmp_path / "photos" / "a.png", 0)
    (raw / "images").symlink_to(tmp_path / "photos")
    write_jsonl(raw, [{"image": str(tmp_path / "photos" / "a.png"), "text": "ball"}])
    assert ingest(raw, tmp_path / "out", boxes=None)["images"]["path"].tolist() == ["a.png"]


def test_what_a_killed_ingest_left_is_cleared(tmp_path):
    raw = tmp_path / "raw"
    write_csv(raw, good_rows(raw))
    (tmp_path / "out" / ".ingest-left").mkdir(parents=True)
    (tmp_path / "out" / ".ingest-left" / "ledger.sqlite").write_bytes(b"half")
    ingest(raw, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".ingest-*"))


def test_no_path_of_this_machine_gets_into_the_tables(tmp_path):
    raw = tmp_path / "raw"
    good = [json.dumps(row).encode() for row in good_rows(raw)]
    bad = [BAD[kind].make(raw, number) for number, kind in enumerate(BAD)]
    (raw / "pairs.jsonl").write_bytes(b"\n".join([*good, *bad]))
    tables = ingest(raw, tmp_path / "out")
    text = pd.concat([table.astype(str) for table in tables.values()]).to_csv()
    assert str(tmp_path) not in text
    assert os.sep + "tmp" not in text
