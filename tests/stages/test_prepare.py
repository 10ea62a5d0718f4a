"""Preparing a raw folder: the contract's tables, and every bad row named by its code."""

import random

import pandas as pd
import pytest
from PIL import Image

from deixis.core.errors import DataError
from deixis.datasets.refer import read_refer_folder
from deixis.quarantine import Quarantine
from stages.prepare import prepare, read_tables
from tests.factories import read_refer, refer_folder, write_refer


def read(folder):
    quarantine = Quarantine()
    tables = read_tables(read_refer_folder(folder, split_by="unc"), dataset="toy", quarantine=quarantine)
    return tables, sorted(quarantine.table()["code"])


def ids(tables) -> list[str]:
    return [row[0] for row in tables.pairs]


def change(folder, edit) -> None:
    instances, refs = read_refer(folder)
    edit(instances, refs)
    write_refer(folder, instances, refs)


@pytest.fixture
def raw(tmp_path):
    return refer_folder(tmp_path / "raw", images=4)


ALL = ["toy/0/0", "toy/0/1", "toy/1/2", "toy/1/3", "toy/2/4", "toy/2/5", "toy/3/6", "toy/3/7"]


def without(*refs: int) -> list[str]:
    return [sample for sample in ALL if int(sample.split("/")[1]) not in refs]


def params(tmp_path, share: float):
    path = tmp_path / "params.yaml"
    path.write_text(f"datasets:\n  toy: {{adapter: refer, split_by: unc, max_quarantined: {share}}}\n")
    return path


def test_written_tables_keep_the_contract(tmp_path, raw):
    out = tmp_path / "out"
    prepare(dataset="toy", raw=raw, out=out, params=params(tmp_path, 0.0))
    tables = {
        name: pd.read_parquet(out / f"{name}.parquet") for name in ("pairs", "truth", "images", "objects", "quarantine")
    }
    assert {name: list(table.columns) for name, table in tables.items()} == {
        "pairs": ["sample_id", "image_id", "ref_id", "sent_id", "expression", "text", "split"],
        "truth": ["sample_id", "box", "mask", "category", "area"],
        "images": ["image_id", "path", "sha256", "width", "height", "licence"],
        "objects": ["image_id", "boxes", "categories"],
        "quarantine": ["file", "line", "code", "value"],
    }
    assert tables["pairs"]["sample_id"].tolist() == tables["truth"]["sample_id"].tolist() == ALL
    assert tables["pairs"]["split"].tolist() == ["train"] * 2 + ["val"] * 2 + ["testA"] * 4
    assert tables["truth"]["box"][0].tolist() == [10.0, 8.0, 30.0, 24.0] and tables["truth"]["area"][0] == 320
    assert len(tables["images"]) == 4 and tables["images"]["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert tables["quarantine"].empty


def test_objects_are_all_that_is_annotated_and_do_not_tell_what_is_referred_to(raw):
    def add(instances, _):
        first = instances["annotations"][0]
        others = ([0.0, 0.0, 40.0, 30.0], [5.0, 5.0, 2.0, 3.0], [1.0, 1.0, 0.0, 9.0], "no box")
        instances["annotations"] += [
            first | {"id": 100 + number, "bbox": box, "category_id": 3} for number, box in enumerate(others)
        ]

    change(raw, add)
    objects = {image_id: (boxes, kinds) for image_id, boxes, kinds in read(raw)[0].objects}
    assert objects[0] == ([0.0, 0.0, 40.0, 30.0, 10.0, 8.0, 30.0, 24.0, 5.0, 5.0, 7.0, 8.0], [3, 1, 3])
    assert objects[1] == ([10.0, 8.0, 30.0, 24.0], [1]) and len(objects) == 4


def test_rows_are_sorted_whatever_the_order_of_the_file(raw):
    def shuffle(instances, refs):
        for rows in (refs, *(instances[name] for name in ("images", "annotations"))):
            random.Random(1).shuffle(rows)
        refs[0]["sentences"].reverse()

    expected, _ = read(raw)
    change(raw, shuffle)
    assert read(raw)[0] == expected


def test_expression_stays_raw_and_text_is_normalised(raw):
    change(raw, lambda _, refs: refs[0]["sentences"][0].update(raw="  The RED-ball, (left)!\t™ "))
    expression, text = read(raw)[0].pairs[0][4:6]
    assert expression == "  The RED-ball, (left)!\t™ " and text == "the red ball left tm"


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/hostname", "a/../../outside.jpg"])
def test_a_path_out_of_the_root_is_refused(raw, name):
    Image.new("RGB", (64, 48)).save(raw / "outside.jpg")
    (raw / "images" / "a").mkdir()
    change(raw, lambda instances, _: instances["images"][2].update(file_name=name))
    tables, codes = read(raw)
    assert (ids(tables), codes) == (without(2), ["E_IMG_PATH"]) and len(tables.images) == 3


def missing(raw):
    (raw / "images" / "000002.jpg").unlink()


def cut(raw):
    path = raw / "images" / "000002.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_image(raw):
    (raw / "images" / "000002.jpg").write_text("hello")


def transposed(raw):
    Image.new("RGB", (48, 64)).save(raw / "images" / "000002.jpg")


@pytest.mark.parametrize(
    ("harm", "code"),
    [(missing, "E_IMG_MISSING"), (cut, "E_IMG_TRUNC"), (no_image, "E_IMG_TRUNC"), (transposed, "E_IMG_SIZE")],
)
def test_a_bad_image_takes_its_own_pairs_and_no_others(raw, harm, code):
    harm(raw)
    tables, codes = read(raw)
    assert (ids(tables), codes) == (without(2), [code]) and [row[0] for row in tables.images] == [0, 1, 3]


def sentence(**changes):
    return lambda _, refs: refs[2]["sentences"][1].update(changes)


def annotation(**changes):
    return lambda instances, _: instances["annotations"][2].update(changes)


@pytest.mark.parametrize(
    ("edit", "code", "kept"),
    [
        (sentence(raw="?!..."), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
        (sentence(raw=" \u200b\t- / "), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
        (sentence(raw=""), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
        (sentence(sent_id=4), "E_ID_DUP", ALL[:5] + ALL[6:]),
        (annotation(bbox=[10, 8, 0, 16]), "E_BOX_DEGENERATE", without(2)),
        (annotation(bbox=[10, 8, 20, -1]), "E_BOX_DEGENERATE", without(2)),
        (annotation(bbox=[10, 8, 20, float("nan")]), "E_BOX_DEGENERATE", without(2)),
        (annotation(segmentation=[[1, 2, 3, 4]]), "E_MASK_EMPTY", without(2)),
        (annotation(segmentation=[]), "E_MASK_EMPTY", without(2)),
        (annotation(bbox=[-3, 8, 20, 50]), "W_BOX_OUTSIDE", ALL),
        (lambda _, refs: refs[2].pop("ann_id"), "E_REF_BROKEN", without(2)),
        (lambda _, refs: refs[2].update(ann_id=99), "E_REF_BROKEN", without(2)),
        (lambda _, refs: refs[2].update(image_id=99), "E_REF_BROKEN", without(2)),
    ],
    ids=[
        "punctuation only", "invisible only", "no text", "repeated sent_id", "no width", "negative height", "NaN box",
        "short polygon", "no polygon", "box outside is kept", "no ann_id", "unknown annotation", "unknown image",
    ],
)  # fmt: skip
def test_a_bad_row_has_its_code(raw, edit, code, kept):
    change(raw, edit)
    tables, codes = read(raw)
    assert (ids(tables), codes) == (kept, [code])
    assert [row[0] for row in tables.truth] == kept


def test_training_needs_no_box(raw):
    change(raw, lambda instances, _: instances["annotations"][0].update(bbox=[10, 8, 0, 0]))
    tables, codes = read(raw)
    assert (ids(tables), [row[0] for row in tables.truth]) == (ALL, without(0)) and set(codes) == {"E_BOX_DEGENERATE"}


def test_a_box_outside_is_stored_as_given(raw):
    change(raw, annotation(bbox=[-3, 8, 20, 50]))
    assert read(raw)[0].truth[4][1] == [-3.0, 8.0, 17.0, 58.0]


def test_a_box_of_which_nothing_remains_is_refused(raw):
    change(raw, annotation(bbox=[100, 100, 20, 20]))
    assert [row[0] for row in read(raw)[0].truth] == without(2)


def test_an_image_in_two_splits_is_refused(raw):
    change(raw, lambda _, refs: refs.append(refs[0] | {"ref_id": 9, "split": "val"}))
    assert (ids(read(raw)[0]), read(raw)[1]) == (ALL, ["E_SPLIT_OVERLAP"])


def test_too_large_a_share_of_bad_rows_ends_the_run(tmp_path, raw):
    change(raw, sentence(raw="?"))
    with pytest.raises(DataError, match=r"1 of 12 rows are bad.*E_TEXT_EMPTY.*dvc repro prepare@toy"):
        prepare(dataset="toy", raw=raw, out=tmp_path / "out", params=params(tmp_path, 0.05))
    prepare(dataset="toy", raw=raw, out=tmp_path / "out", params=params(tmp_path, 0.1))
    assert len(pd.read_parquet(tmp_path / "out" / "pairs.parquet")) == 7
