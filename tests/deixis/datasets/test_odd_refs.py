"""Files of RefCOCO's kind that people made or filtered themselves: what they mean is kept, the rest is named."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deixis.core.errors import DataError
from deixis.datasets.quarantine import Quarantine
from deixis.datasets.refer import ReferAdapter, ReferConfig, read_source
from deixis.datasets.referring import read_tables
from stages.prepare import prepare
from tests.fabricate import fabricate
from tests.factories import read_refer, refer_folder, write_refer
from tests.repackage import read_folder, to_jxu124, to_mdetr, to_simrec

ALL = [f"toy/{number // 2}/{number}" for number in range(8)]


@pytest.fixture
def raw(tmp_path):
    return refer_folder(tmp_path / "raw", images=4)


def read(folder):
    quarantine, config = Quarantine(), ReferConfig(adapter="refer")
    tables = read_tables(read_source(folder, config), config, raw=folder, dataset="toy", quarantine=quarantine)
    return tables, quarantine.table()


def change(folder, edit) -> None:
    instances, refs = read_refer(folder)
    edit(instances, refs)
    write_refer(folder, instances, refs)


def samples(tables) -> list[str]:
    return [row[0] for row in tables.pairs]


def test_an_image_id_of_two_files_stands_for_neither(raw):
    Image.new("RGB", (64, 48)).save(raw / "images" / "other.jpg")
    change(raw, lambda instances, _: instances["images"].append(instances["images"][2] | {"file_name": "other.jpg"}))
    tables, quarantine = read(raw)
    assert (samples(tables), quarantine["code"].tolist()) == (ALL[:4] + ALL[6:], ["E_ID_DUP"])


def test_phrases_of_several_targets_or_none_are_named_and_those_of_one_are_read(raw):
    def as_lists(_, refs):
        refs[0] |= {"ann_id": [refs[0]["ann_id"]], "category_id": [refs[0]["category_id"]]}
        refs[1] |= {"ann_id": [0, 1], "category_id": [1, 1]}
        refs[2] |= {"ann_id": [-1], "category_id": [-1], "no_target": True}

    change(raw, as_lists)
    tables, quarantine = read(raw)
    assert samples(tables) == ALL[:2] + ALL[6:]
    assert quarantine["code"].tolist() == ["E_REF_BROKEN"] * 2
    said = " ".join(quarantine["value"].tolist())
    assert "it has 2 targets; only phrases about one object" in said and "it has no targets; only phrases" in said


def test_the_share_of_bad_refs_is_of_all_refs_and_a_share_of_one_tolerates_all(raw, tmp_path):
    change(raw, lambda _, refs: refs.extend([refs[0] | {"ref_id": 9 + n, "ann_id": [0, 1]} for n in range(20)]))
    half, whole = (ReferConfig(adapter="refer", max_quarantined=share) for share in (0.5, 1.0))
    with pytest.raises(DataError, match=r"20 of 32 rows are bad"):
        ReferAdapter(half).ingest(raw=raw, out=tmp_path / "out", dataset="toy")
    change(raw, lambda instances, _: instances["annotations"].extend([None] * 40))
    ReferAdapter(whole).ingest(raw=raw, out=tmp_path / "out", dataset="toy")
    assert len(pd.read_parquet(tmp_path / "out" / "pairs.parquet")) == 8


def test_ids_that_passed_through_a_table_with_gaps_and_splits_in_capitals(raw):
    expected, _ = read(raw)

    def as_floats(instances, refs):
        names = ("id", "image_id", "ann_id", "ref_id", "category_id", "sent_id")
        rows = [*instances["images"], *instances["annotations"], *instances["categories"], *refs]
        for row in [*rows, *(sentence for ref in refs for sentence in ref["sentences"])]:
            row |= {name: float(row[name]) for name in names if name in row}
        for ref in refs:
            ref["split"] = {"train": "Train", "val": "VALIDATION"}.get(ref["split"], ref["split"])

    change(raw, as_floats)
    tables, quarantine = read(raw)
    assert tables == expected and quarantine.empty
    assert {type(value) for row in tables.pairs for value in row[1:4]} == {int}


def test_a_pickle_of_numpys_numbers_names_them_and_the_way_out(raw):
    refs = read_refer(raw)[1]
    (raw / "refs(unc).p").write_bytes(pickle.dumps([refs[0] | {"ref_id": np.int64(3)}], protocol=2))
    message = r"refused: it names the object numpy\S+scalar\..*or write plain values if you made it: (.*), then run"
    with pytest.raises(DataError, match=message) as raised:
        read(raw)
    written = [*copy.deepcopy(refs), {"odd": np.int64(3), "odder": np.arange(2)}]
    way_out = str(raised.value).split("you made it: ")[1].split(", then run")[0]
    with (raw / "plain.p").open("wb") as file:
        exec(way_out, {"pickle": pickle, "json": json, "refs": written, "file": file})
    assert pickle.loads((raw / "plain.p").read_bytes())[-1] == {"odd": 3, "odder": [0, 1]}


def test_an_object_with_a_key_twice_is_refused_alone(raw):
    text = (raw / "instances.json").read_text()
    row = json.dumps(read_refer(raw)[0]["annotations"][2])
    (raw / "instances.json").write_text(text.replace(row, row[:-1] + ', "bbox": [0, 0, 5, 5]}'))
    tables, quarantine = read(raw)
    assert samples(tables) == ALL[:4] + ALL[6:]
    assert "an object with 'bbox' twice" in " ".join(quarantine["value"].tolist())


def simrec_floats(folder):
    path = folder / "anns" / "refcoco.json"
    splits = json.loads(path.read_text())
    for rows in splits.values():
        for row in rows:
            row |= {name: float(row[name]) for name in ("iid", "mask_id", "cat_id")}
    path.write_text(json.dumps({name.upper() if name == "train" else name: rows for name, rows in splits.items()}))


def jxu124_floats(folder):
    for path in (folder / "data").iterdir():
        table = pq.read_table(path)
        for name in ("ref_id", "image_id", "category_id"):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].cast(pa.float64()))
        pq.write_table(table, path)


def mdetr_floats(folder):
    for path in folder.glob("*.json"):
        whole = json.loads(path.read_text())
        for row in (*whole["images"], *whole["annotations"]):
            row |= {name: float(row[name]) for name in ("id", "image_id", "original_id") if name in row}
        path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("write", "harm", "adapter"),
    [(to_simrec, simrec_floats, "simrec"), (to_jxu124, jxu124_floats, "jxu124"), (to_mdetr, mdetr_floats, "mdetr")],
    ids=["simrec", "jxu124", "mdetr"],
)
def test_other_sources_with_ids_from_tables_with_gaps(tmp_path, write, harm, adapter):
    fabricate(tmp_path / "raw", "refcoco_unc", images=4, seed=5)
    write(tmp_path / "other", *read_folder(tmp_path / "raw", split_by="unc"))
    (tmp_path / "other" / "images").symlink_to(tmp_path / "raw" / "images")
    (tmp_path / "params.yaml").write_text(f"datasets: {{toy: {{adapter: {adapter}}}}}")
    tables = []
    for out in (tmp_path / "before", tmp_path / "after"):
        prepare(dataset="toy", raw=tmp_path / "other", out=out, params=tmp_path / "params.yaml")
        tables.append([pd.read_parquet(out / f"{name}.parquet") for name in ("pairs", "images")])
        harm(tmp_path / "other")
    assert all(before.equals(after) for before, after in zip(*tables, strict=True))


def test_a_column_of_a_hosted_set_that_is_there_twice_is_refused(tmp_path):
    fabricate(tmp_path / "raw", "refcoco_unc", images=4, seed=5)
    to_jxu124(tmp_path / "other", *read_folder(tmp_path / "raw", split_by="unc"))
    path = next((tmp_path / "other" / "data").iterdir())
    table = pq.read_table(path)
    pq.write_table(table.append_column("sentences", table["sentences"]), path)
    (tmp_path / "params.yaml").write_text("datasets: {toy: {adapter: jxu124}}")
    with pytest.raises(DataError, match=r"has sentences twice.*dvc repro prepare"):
        prepare(dataset="toy", raw=tmp_path / "other", out=tmp_path / "out", params=tmp_path / "params.yaml")
