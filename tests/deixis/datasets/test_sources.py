"""What others pass on of a set gives what its own folder gives."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from deixis.core.config import load_params, read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.registry import resolve
from deixis.datasets import DATASETS
from stages.prepare import prepare
from tests.fabricate import fabricate
from tests.repackage import read_folder, to_jxu124, to_mdetr, to_simrec

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    raw = tmp_path_factory.mktemp("published") / "raw"
    fabricate(raw, "refcoco_unc", images=10, seed=5)
    return raw


def ingest(tmp_path, raw, entry: str):
    params = tmp_path / "params.yaml"
    params.write_text(f"datasets:\n  toy: {{{entry}}}\n")
    out = tmp_path / f"out-{raw.name}"
    prepare(dataset="toy", raw=raw, out=out, params=params)
    return {path.stem: pd.read_parquet(path) for path in out.iterdir()}


WRITERS = {
    "simrec": (to_simrec, "adapter: simrec"),
    "simrec with masks": (to_simrec, "adapter: simrec, masks: masks/refcoco"),
    "jxu124": (to_jxu124, "adapter: jxu124, text: sent"),
    "mdetr": (to_mdetr, "adapter: mdetr"),
}


@pytest.mark.parametrize(("write", "entry"), WRITERS.values(), ids=WRITERS)
def test_the_same_phrases_and_boxes_as_in_the_published_folder(tmp_path, folder, write, entry):
    expected = ingest(tmp_path, folder, "adapter: refer, text: sent")
    write(tmp_path / "other", *read_folder(folder, split_by="unc"))
    (tmp_path / "other" / "images").symlink_to(folder / "images")
    tables = ingest(tmp_path, tmp_path / "other", f"{entry}, max_quarantined: 0.0")

    def rows(tables):
        joined = tables["pairs"].merge(tables["truth"], on="sample_id").merge(tables["images"], on="image_id")
        boxes = joined["box"].map(lambda box: tuple(round(value, 6) for value in box))
        return sorted(zip(joined["image_id"], joined["text"], joined["split"], boxes, joined["sha256"], strict=True))

    assert rows(tables) == rows(expected) and len(expected["pairs"]) > 40
    same_size = tables["pairs"].groupby("ref_id").size().value_counts()
    assert same_size.equals(expected["pairs"].groupby("ref_id").size().value_counts())
    has_masks = "masks" in entry or "jxu124" in entry
    assert tables["truth"]["mask"].notna().all() if has_masks else tables["truth"]["mask"].isna().all()
    if has_masks:
        assert sorted(tables["truth"]["area"]) == sorted(expected["truth"]["area"])
    assert not tables["quarantine"]["code"].str.startswith("E_").any() if len(tables["quarantine"]) else True


@pytest.mark.parametrize(("write", "entry"), WRITERS.values(), ids=WRITERS)
def test_sets_that_list_only_what_is_referred_to_have_no_objects(tmp_path, folder, write, entry):
    write(tmp_path / "other", *read_folder(folder, split_by="unc"))
    (tmp_path / "other" / "images").symlink_to(folder / "images")
    ingest(tmp_path, tmp_path / "other", entry)
    kinds = pq.read_schema(tmp_path / "out-other" / "objects.parquet")
    known = pq.read_schema(tmp_path / "out-other" / "truth.parquet")
    assert pq.read_metadata(tmp_path / "out-other" / "objects.parquet").num_rows == 0
    assert [str(kinds.field(name).type) for name in kinds.names] == [
        "int64", "list<element: double>", "list<element: int64>",
    ]  # fmt: skip
    assert str(known.field("mask").type) == "struct<size: list<element: int64>, counts: string>"


def break_simrec(folder):
    path = folder / "anns" / "refcoco.json"
    splits = json.loads(path.read_text())
    row = splits["train"][0]
    others = [None, [], row | {"mask_id": None}, row | {"iid": [1]}, row | {"refs": "text"}, {}]
    splits["train"] = [*others, *splits["train"], row | {"mask_id": 901, "bbox": [1]}]
    path.write_text(json.dumps(splits))
    return 6, 1  # the last keeps its phrases, since training needs no box


def break_jxu124(folder):
    path = next((folder / "data").glob("train*"))
    table = pq.read_table(path)
    row = table.slice(0, 1).to_pylist()[0]
    others = [
        row | {"raw_anns": text, "ref_id": 900 + number} for number, text in enumerate([None, "{", "[]", "7", "{}"])
    ]
    others += [row | {"raw_image_info": "[" * 100_000}, row | {"image_id": None}, row | {"sentences": None}]
    pq.write_table(type(table).from_pylist([*others, *table.to_pylist()], schema=table.schema), path)
    return 8, 0


def break_mdetr(folder):
    path = folder / "finetune_refcoco_train.json"
    content = json.loads(path.read_text())
    row, box = content["images"][0], content["annotations"][0]
    content["images"] = [
        None, [], row | {"id": None}, row | {"id": 901}, row | {"id": 902, "original_id": {}}, row | {"id": 903},
        *content["images"],
    ]  # fmt: skip
    content["annotations"] += [None, box | {"image_id": 903, "original_id": 2.5}, box | {"image_id": []}]
    path.write_text(json.dumps(content))
    return 6, 0


@pytest.mark.parametrize(
    ("write", "entry", "harm"),
    [(to_simrec, "adapter: simrec", break_simrec), (to_jxu124, "adapter: jxu124", break_jxu124),
     (to_mdetr, "adapter: mdetr", break_mdetr)],
    ids=["simrec", "jxu124", "mdetr"],
)  # fmt: skip
def test_broken_rows_take_no_valid_one_with_them(tmp_path, folder, write, entry, harm):
    raw = tmp_path / "other"
    write(raw, *read_folder(folder, split_by="unc"))
    (raw / "images").symlink_to(folder / "images")
    expected = ingest(tmp_path, raw, entry)
    refused, boxless = harm(raw)
    tables = ingest(tmp_path, raw, f"{entry}, max_quarantined: 1.0")
    codes = tables["quarantine"]["code"].value_counts()
    assert (codes["E_REF_BROKEN"], codes.get("E_BOX_BROKEN", 0)) == (refused, boxless)
    assert set(codes.index) <= {"E_REF_BROKEN", "E_BOX_BROKEN", "E_ROW_BROKEN", "W_DUP_TEXT", "W_BOX_LOOSE"}

    def texts(tables):
        return tables["pairs"].merge(tables["truth"], on="sample_id")["text"].value_counts()

    assert texts(tables).equals(texts(expected))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("adapter: simrec", r"anns/refcoco\.json: no such file"),
        ("adapter: jxu124", r"no Parquet file\. Put"),
        ("adapter: mdetr, name: refcoco+", r"no finetune_refcoco\+_<split>\.json"),
        ("adapter: refer", r"instances\.json: no such file"),
    ],
)
def test_nothing_there(tmp_path, entry, message):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=f"{message}.*dvc repro prepare"):
        ingest(tmp_path, tmp_path / "raw", entry)


def test_files_of_another_kind(tmp_path):
    raw = tmp_path / "raw"
    (raw / "anns").mkdir(parents=True)
    (raw / "anns" / "refcoco.json").write_text("[]")
    (raw / "finetune_refcoco_train.json").write_text('{"images": 1}')
    (raw / "train.parquet").write_bytes(b"PAR1")
    for entry, message in (("simrec", "per split"), ("mdetr", "lists images and"), ("jxu124", "not a whole Parquet")):
        with pytest.raises(DataError, match=f"{message}.*dvc repro prepare"):
            ingest(tmp_path, raw, f"adapter: {entry}")
    pd.DataFrame({"ref_id": [1]}).to_parquet(raw / "train.parquet")
    with pytest.raises(DataError, match=r"lacks category_id, image_id.*; has ref_id\."):
        ingest(tmp_path, raw, "adapter: jxu124")


@pytest.mark.parametrize("name", DATASETS)
def test_every_adapter_has_the_settings_that_the_stage_counts_on(tmp_path, name):
    adapter = resolve(DATASETS, name, role="dataset adapter")
    path = tmp_path / "params.yaml"
    path.write_text(f"datasets: {{toy: {{adapter: {name}, max_quarantined: 0.5}}}}")
    config = read_section(path, "datasets.toy", adapter.Config)
    assert (config.adapter, config.max_quarantined) == (name, 0.5) and adapter(config).ingest
    path.write_text(f"datasets: {{toy: {{adapter: {name}, colour: red}}}}")
    with pytest.raises(ConfigError, match='no setting "colour"'):
        read_section(path, "datasets.toy", adapter.Config)


@pytest.mark.parametrize("dataset", load_params(PARAMS)["datasets"])
def test_every_entry_of_params_is_read_by_its_adapter(dataset):
    entry = load_params(PARAMS)["datasets"][dataset]
    config = read_section(PARAMS, f"datasets.{dataset}", resolve(DATASETS, entry["adapter"], role="adapter").Config)
    assert all(getattr(config, name) == value for name, value in entry.items())


@pytest.mark.parametrize("entry", ["{}", "{adapter: 7}", "[]", "{split_by: unc}"])
def test_an_entry_without_an_adapter(tmp_path, entry):
    (tmp_path / "params.yaml").write_text(f"datasets: {{toy: {entry}}}")
    with pytest.raises(ConfigError, match=r"datasets\.toy"):
        prepare(dataset="toy", raw=tmp_path, out=tmp_path, params=tmp_path / "params.yaml")
