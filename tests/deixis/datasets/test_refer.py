"""The published folders: fabricated ones of every set come through whole, and each of their quirks is read right."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.datasets.published import PUBLISHED
from deixis.datasets.refer import ReferAdapter, ReferConfig
from deixis.imaging.images import ImageReader
from deixis.imaging.masks import area
from tests.fabricate import KINDS, fabricate
from tests.repackage import read_folder, write_refs

IMAGES = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    for kind in KINDS:
        fabricate(root / kind, kind, images=IMAGES, seed=3)
    return root


def ingest(raw, kind, out, **settings):
    what = KINDS[kind]
    given = {"split_by": what.split_by, "shared_images": what.shares_images, "max_quarantined": 0.0} | settings
    ReferAdapter(ReferConfig(adapter="refer", **given)).ingest(raw=raw, out=out, dataset=kind)
    return {path.stem: pd.read_parquet(path) for path in out.iterdir()}


def copy(folders, kind, tmp_path):
    return shutil.copytree(folders / kind, tmp_path / "raw")


@pytest.mark.parametrize("kind", KINDS)
def test_every_phrase_of_every_set_comes_through(folders, tmp_path, kind):
    tables = ingest(folders / kind, kind, tmp_path / "out")
    instances, refs = read_folder(folders / kind, split_by=KINDS[kind].split_by)
    sentences = {s["sent_id"]: s["raw"] for ref in refs for s in ref["sentences"]}
    pairs = tables["pairs"]
    assert dict(zip(pairs["sent_id"], pairs["expression"], strict=True)) == sentences
    assert pairs["sample_id"].tolist() == tables["truth"]["sample_id"].tolist()
    assert pairs["text"].tolist() == [text.lower().rstrip(" !").replace("™", "tm") for text in pairs["expression"]]
    assert set(pairs["split"]) == {"train", *KINDS[kind].splits} and len(tables["images"]) == IMAGES
    assert set(tables["quarantine"]["code"]) <= {"W_BOX_LOOSE"}
    assert sum(map(len, tables["objects"]["categories"])) == len(instances["annotations"]) > len(refs)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_union_of_their_parts_and_boxes_are_corners(folders, tmp_path, kind):
    tables = ingest(folders / kind, kind, tmp_path / "out")
    instances, refs = read_folder(folders / kind, split_by=KINDS[kind].split_by)
    annotations = {row["id"]: row for row in instances["annotations"]}
    of_sample = {f"{kind}/{ref['ref_id']}/{number}": annotations[ref["ann_id"]]
                 for ref in refs for number in ref["sent_ids"]}  # fmt: skip
    for sample_id, box, mask, _, size in tables["truth"].itertuples(index=False):
        given = of_sample[sample_id]
        left, top, width, height = given["bbox"]
        assert box.tolist() == [left, top, left + width, top + height]
        assert size == area(mask)
        if KINDS[kind].is_coco:
            assert size > 0.9 * given["area"]  # polygons, whose union has no holes
        else:
            assert size == given["area"] < sum(area(part) for part in given["segmentation"])  # its parts overlap


def test_images_under_the_names_of_2017_are_found_by_id(tmp_path):
    by_name = {}
    for names in ("2014", "2017"):
        fabricate(tmp_path / names, "refcoco_unc", images=8, seed=0, names=names)
        by_name[names] = ingest(tmp_path / names, "refcoco_unc", tmp_path / f"out{names}")["images"]
    assert by_name["2014"]["path"][0] == "COCO_train2014_000000098304.jpg"
    assert by_name["2017"]["path"][0] == "000000098304.jpg"
    assert by_name["2014"].drop(columns="path").equals(by_name["2017"].drop(columns="path"))


def test_images_of_referit_are_found_in_the_folders_of_their_collection(folders, tmp_path):
    raw = copy(folders, "referit_berkeley", tmp_path)
    (raw / "images" / "00" / "images").mkdir(parents=True)
    for path in (raw / "images").glob("*.jpg"):
        path.rename(raw / "images" / "00" / "images" / path.name)
    assert ingest(raw, "referit_berkeley", tmp_path / "out")["images"]["path"][0] == "00/images/25.jpg"


def test_images_elsewhere_are_written_with_their_full_path(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    elsewhere = (raw / "images").rename(tmp_path / "coco")
    images = ingest(raw, "refcoco_unc", tmp_path / "out", image_root=str(elsewhere))["images"]
    reader = ImageReader(images, root=raw / "images", side=32)
    assert reader.pixels(98304).shape[2] == 3 and len(images) == IMAGES


def test_a_linked_image_folder_is_read_like_its_own(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    (raw / "images").rename(tmp_path / "coco")
    (raw / "images").symlink_to(tmp_path / "coco")
    assert len(ingest(raw, "refcoco_unc", tmp_path / "out")["images"]) == IMAGES


def test_no_folder_of_images(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    shutil.rmtree(raw / "images")
    with pytest.raises(DataError, match=r"raw/images: no such folder.*image_root.*dvc repro prepare"):
        ingest(raw, "refcoco_unc", tmp_path / "out")


def test_text_as_typed_or_as_cleaned(folders, tmp_path):
    typed = ingest(folders / "refcocog_umd", "refcocog_umd", tmp_path / "raw_out")["pairs"]
    cleaned = ingest(folders / "refcocog_umd", "refcocog_umd", tmp_path / "sent_out", text="sent")["pairs"]
    assert typed["expression"].tolist() == cleaned["expression"].tolist()
    raw = copy(folders, "refcocog_umd", tmp_path)
    _, refs = read_folder(raw, split_by="umd")
    refs[0]["sentences"][0]["sent"] = "as cleaned"
    write_refs(raw, refs, split_by="umd")
    number = refs[0]["sentences"][0]["sent_id"]
    for text, expected in (("sent", "as cleaned"), ("raw", refs[0]["sentences"][0]["raw"].strip().lower())):
        pairs = ingest(raw, "refcocog_umd", tmp_path / f"out_{text}", text=text)["pairs"].set_index("sent_id")
        assert pairs["text"][number] == expected
        assert pairs["expression"][number] == refs[0]["sentences"][0]["raw"]


def test_splits_by_object_share_images_only_where_the_entry_says_so(folders, tmp_path):
    raw = folders / "refcocog_google"
    pairs = ingest(raw, "refcocog_google", tmp_path / "shared")["pairs"]
    by_split = pairs.groupby("split")["image_id"].agg(set)
    assert by_split["val"] & by_split["train"]
    with pytest.raises(DataError, match="E_SPLIT_OVERLAP"):
        ingest(raw, "refcocog_google", tmp_path / "apart", shared_images=False)


def test_an_annotation_referred_to_twice_keeps_all_its_phrases(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    _, refs = read_folder(raw, split_by="unc")
    again = [{"sent_id": 9000 + k, "raw": f"once more {k}", "sent": "", "tokens": []} for k in range(2)]
    write_refs(raw, [*refs, refs[0] | {"ref_id": 900, "sentences": again}], split_by="unc")
    tables = ingest(raw, "refcoco_unc", tmp_path / "out")
    of_both = tables["pairs"]["ref_id"].isin([refs[0]["ref_id"], 900])
    assert of_both.sum() == 4 and tables["truth"]["box"][of_both].map(list).map(tuple).nunique() == 1


def test_ids_may_be_text(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    expected = ingest(raw, "refcoco_unc", tmp_path / "numbers")
    instances, refs = read_folder(raw, split_by="unc")
    for row in instances["images"]:
        row["id"] = f"n{row['id']}"
    for row in (*instances["annotations"], *refs):
        row["image_id"] = f"n{row['image_id']}"
    for row in refs:
        row["ref_id"] = f"{row['ref_id']:03d}"
    (raw / "instances.json").write_text(json.dumps(instances))
    write_refs(raw, refs, split_by="unc")
    tables = ingest(raw, "refcoco_unc", tmp_path / "text")
    for name in ("pairs", "images", "objects"):
        assert set(tables[name]["image_id"]) == {f"n{value}" for value in expected[name]["image_id"]}
    texts = [one["pairs"].set_index("sent_id")["text"].sort_index() for one in (tables, expected)]
    assert texts[0].equals(texts[1]) and tables["pairs"]["ref_id"][0].startswith("0")
    masks = [sorted(mask["counts"] for mask in one["truth"]["mask"]) for one in (tables, expected)]
    assert masks[0] == masks[1]


def test_numbers_and_text_mixed_in_one_column_become_text(folders, tmp_path):
    raw = copy(folders, "refcoco_unc", tmp_path)
    _, refs = read_folder(raw, split_by="unc")
    refs[0]["ref_id"] = "first"
    write_refs(raw, refs, split_by="unc")
    pairs = ingest(raw, "refcoco_unc", tmp_path / "out")["pairs"]
    assert {"first", "1", "2"} <= set(pairs["ref_id"]) and pairs["image_id"].dtype == np.int64


CONVENTIONS = {
    "xywh_inclusive": lambda left, top, width, height: [left, top, width - 1, height - 1],
    "xyxy_inclusive": lambda left, top, width, height: [left, top, left + width - 1, top + height - 1],
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_box_convention_is_converted_and_a_wrong_one_is_refused(folders, tmp_path, convention):
    expected = ingest(folders / "referit_berkeley", "referit_berkeley", tmp_path / "expected")
    raw = copy(folders, "referit_berkeley", tmp_path)
    instances = json.loads((raw / "instances.json").read_text())
    for row in instances["annotations"]:
        row["bbox"] = CONVENTIONS[convention](*row["bbox"])
    (raw / "instances.json").write_text(json.dumps(instances))
    tables = ingest(raw, "referit_berkeley", tmp_path / "right", box=convention)
    for name in ("truth", "objects"):
        column = "box" if name == "truth" else "boxes"
        assert [list(box) for box in tables[name][column]] == [list(box) for box in expected[name][column]]
    with pytest.raises(ConfigError, match=rf"datasets\.referit_berkeley\.box: {convention}, then run: dvc repro"):
        ingest(raw, "referit_berkeley", tmp_path / "wrong", max_quarantined=1.0)


def test_other_counts_than_the_published_ones_end_the_run(folders, tmp_path, capsys):
    raw = folders / "refcoco_unc"
    with pytest.raises(DataError, match=r"(?s)published as refcoco_unc:.*train +images +found +6 +published +16,994"):
        ingest(raw, "refcoco_unc", tmp_path / "out", expect="refcoco_unc")
    assert not (tmp_path / "out").exists()
    ingest(raw, "refcoco_unc", tmp_path / "out", expect="refcoco_unc", allow_other_counts=True)
    assert "testB  refs" in capsys.readouterr().err


def test_the_published_counts_themselves_pass(folders, tmp_path, monkeypatch, capsys):
    refs = read_folder(folders / "refcoco_unc", split_by="unc")[1]
    counts = {}
    for split in ("train", "val", "testA", "testB", "all"):
        of_split = [ref for ref in refs if split in ("all", ref["split"])]
        sizes = (
            len({ref["image_id"] for ref in of_split}),
            len(of_split),
            sum(len(ref["sentences"]) for ref in of_split),
        )
        counts[split] = type(PUBLISHED["refcoco_unc"]["val"])(*sizes)
    monkeypatch.setitem(PUBLISHED, "refcoco_unc", counts)
    ingest(folders / "refcoco_unc", "refcoco_unc", tmp_path / "out", expect="refcoco_unc")
    assert "counts" not in capsys.readouterr().err
