"""Preparing a raw folder: the contract's tables, and every bad row named by its code."""

import os
import random
import struct
import zlib

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from deixis.core.errors import DataError
from deixis.datasets.quarantine import Quarantine
from deixis.datasets.refer import ReferConfig, read_source
from deixis.datasets.referring import read_tables
from stages.prepare import prepare
from tests.factories import read_refer, refer_folder, write_refer


def read(folder):
    quarantine, config = Quarantine(), ReferConfig(adapter="refer")
    tables = read_tables(read_source(folder, config), config, raw=folder, dataset="toy", quarantine=quarantine)
    pa.Table.from_pandas(quarantine.table())  # whatever was found in the files can be written
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


SQUARE, WIDE = [10, 8, 30, 8, 30, 24, 10, 24], [10, 8, 64, 8, 64, 24, 10, 24]


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


def missing(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_image(path):
    path.write_text("hello")


def empty(path):
    path.write_bytes(b"")


def transposed(path):
    Image.new("RGB", (48, 64)).save(path)


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def link_out(path):
    path.rename(path.parents[1] / "outside.jpg")
    path.symlink_to(path.parents[1] / "outside.jpg")


def link_ring(path):
    path.unlink()
    path.symlink_to(path)


def bomb(side: int):
    """A PNG whose header claims a square of this side; its few bytes unpack to nothing of the kind."""

    def write(path):
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 64))]
        parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                 for kind, data in chunks]  # fmt: skip
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    return write


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (missing, "E_IMG_MISSING"), (folder, "E_IMG_MISSING"), (pipe, "E_IMG_MISSING"), (cut, "E_IMG_TRUNC"),
        (no_image, "E_IMG_KIND"), (empty, "E_IMG_EMPTY"), (transposed, "E_IMG_SIZE"), (link_out, "E_IMG_PATH"),
        (link_ring, "E_IMG_PATH"), (bomb(9_000), "E_IMG_HUGE"), (bomb(12_000), "E_IMG_HUGE"),
        (bomb(60_000), "E_IMG_HUGE"),
    ],
)  # fmt: skip
def test_a_bad_image_takes_its_own_pairs_and_no_others(raw, harm, code):
    harm(raw / "images" / "000002.jpg")
    tables, codes = read(raw)
    assert (ids(tables), codes) == (without(2), [code]) and [row[0] for row in tables.images] == [0, 1, 3]


def sentence(**changes):
    return lambda _, refs: refs[2]["sentences"][1].update(changes)


def annotation(**changes):
    return lambda instances, _: instances["annotations"][2].update(changes)


def image(**changes):
    return lambda instances, _: instances["images"][2].update(changes)


def ref(**changes):
    return lambda _, refs: refs[2].update(changes)


def again(table: str, **changes):
    return lambda instances, _: instances[table].append(instances[table][2] | changes)


def run_length(counts):
    return annotation(segmentation=[{"size": [48, 64], "counts": counts}])


WHOLE = 48 * 64
FAR = [[10, 8, 1e9, 8, 30, 24]]
BAD_ROWS = {
    "punctuation only": (sentence(raw="?!..."), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
    "invisible only": (sentence(raw=" \u200b\t- / "), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
    "no text": (sentence(raw=""), "E_TEXT_EMPTY", ALL[:5] + ALL[6:]),
    "text is no text": (sentence(raw=7), "E_TEXT_TYPE", ALL[:5] + ALL[6:]),
    "half a surrogate pair": (sentence(raw="red \ud800 ball"), "E_TEXT_ENCODING", ALL[:5] + ALL[6:]),
    "no sent_id": (sentence(sent_id=None), "E_ID_BAD", ALL[:5] + ALL[6:]),
    "sentence is a list": (lambda _, refs: refs[2]["sentences"].append([]), "E_ROW_BROKEN", ALL),
    "no sentence": (ref(sentences=[]), "E_TEXT_EMPTY", without(2)),
    "repeated sent_id": (sentence(sent_id=4), "E_ID_DUP", ALL[:5] + ALL[6:]),
    "repeated text is kept": (sentence(raw="Red ball, 0"), "W_DUP_TEXT", ALL),
    "no width": (annotation(bbox=[10, 8, 0, 16]), "E_BOX_DEGENERATE", without(2)),
    "negative height": (annotation(bbox=[10, 8, 20, -1]), "E_BOX_DEGENERATE", without(2)),
    "NaN box": (annotation(bbox=[10, 8, 20, float("nan")]), "E_BOX_DEGENERATE", without(2)),
    "infinite box": (annotation(bbox=[10, 8, float("inf"), 16]), "E_BOX_DEGENERATE", without(2)),
    "nothing remains": (annotation(bbox=[100, 100, 20, 20]), "E_BOX_DEGENERATE", without(2)),
    "no box": (annotation(bbox=None), "E_BOX_BROKEN", without(2)),
    "three numbers": (annotation(bbox=[10, 8, 20]), "E_BOX_BROKEN", without(2)),
    "text in the box": (annotation(bbox=["10", 8, 20, 16]), "E_BOX_BROKEN", without(2)),
    "truth value in the box": (annotation(bbox=[True, 8, 20, 16]), "E_BOX_BROKEN", without(2)),
    "number without end in the box": (annotation(bbox=[10**400, 8, 20, 16]), "E_BOX_BROKEN", without(2)),
    "box outside is kept": (annotation(bbox=[10, 8, 55, 16], segmentation=[WIDE]), "W_BOX_OUTSIDE", ALL),
    "box looser than its mask is kept": (annotation(bbox=[10, 8, 25, 16]), "W_BOX_LOOSE", ALL),
    "short polygon": (annotation(segmentation=[[1, 2, 3, 4]]), "E_MASK_EMPTY", without(2)),
    "one short part is dropped": (annotation(segmentation=[SQUARE, [1, 2, 3, 4]]), "W_MASK_PART", ALL),
    "no polygon": (annotation(segmentation=[]), "E_MASK_EMPTY", without(2)),
    "no mask": (annotation(segmentation=None), "E_MASK_BROKEN", without(2)),
    "mask is text": (annotation(segmentation="all of it"), "E_MASK_BROKEN", without(2)),
    "polygon far outside": (annotation(segmentation=FAR), "E_MASK_BROKEN", without(2)),
    "NaN in the polygon": (annotation(segmentation=[[*SQUARE[:-1], float("nan")]]), "E_MASK_BROKEN", without(2)),
    "run lengths cut short": (run_length([9]), "E_MASK_BROKEN", without(2)),
    "run lengths too long": (run_length([9, WHOLE]), "E_MASK_BROKEN", without(2)),
    "negative run length": (run_length([WHOLE + 5, -5]), "E_MASK_BROKEN", without(2)),
    "empty run lengths": (run_length([WHOLE]), "E_MASK_EMPTY", without(2)),
    "code that is no code": (run_length("~~~"), "E_MASK_BROKEN", without(2)),
    "code cut within a number": (run_length("oo"), "E_MASK_BROKEN", without(2)),
    "code that ends too early": (run_length(" 0"), "E_MASK_BROKEN", without(2)),
    "no counts": (run_length(None), "E_MASK_BROKEN", without(2)),
    "mask of another size": (annotation(segmentation={"size": [8, 8], "counts": [64]}), "E_MASK_BROKEN", without(2)),
    "annotation of another image": (annotation(image_id=3), "E_REF_BROKEN", without(2)),
    "annotation without an image": (annotation(image_id=None), "E_REF_BROKEN E_ROW_BROKEN", without(2)),
    "annotation without an id": (annotation(id=None), "E_REF_BROKEN E_ROW_BROKEN", without(2)),
    "annotation that is text": (lambda i, _: i["annotations"].append("none"), "E_ROW_BROKEN", ALL),
    "repeated annotation": (again("annotations", bbox=[0, 0, 1, 1]), "E_ID_DUP", ALL),
    "repeated image": (again("images", file_name="x.jpg"), "E_ID_DUP", ALL),
    "image without an id": (image(id=None), "E_REF_BROKEN E_ROW_BROKEN", without(2)),
    "image that is a list": (lambda i, _: i["images"].insert(0, []), "E_ROW_BROKEN", ALL),
    "stated width is text": (image(width="64"), "E_IMG_SIZE", without(2)),
    "name with a zero byte": (image(file_name="a\0b.jpg"), "E_IMG_PATH", without(2)),
    "name without end": (image(file_name="a" * 5000), "E_IMG_PATH", without(2)),
    "half a surrogate pair as name": (image(file_name="\udc80.jpg"), "E_IMG_PATH", without(2)),
    "name is a number": (image(file_name=7), "E_IMG_MISSING", without(2)),
    "name is a folder": (image(file_name="."), "E_IMG_MISSING", without(2)),
    "no ann_id": (lambda _, refs: refs[2].pop("ann_id"), "E_REF_BROKEN", without(2)),
    "unknown annotation": (ref(ann_id=99), "E_REF_BROKEN", without(2)),
    "unknown image": (ref(image_id=99), "E_REF_BROKEN", without(2)),
    "ref_id is a fraction": (ref(ref_id=2.5), "E_REF_BROKEN", without(2)),
    "ref_id is a truth value": (ref(ref_id=True), "E_REF_BROKEN", without(2)),
    "ref_id without end": (ref(ref_id=2**64), "E_REF_BROKEN", without(2)),
    "no category": (ref(category_id=None), "E_REF_BROKEN", without(2)),
    "no split": (ref(split=None), "E_REF_BROKEN", without(2)),
    "unknown split": (ref(split="elsewhere"), "E_SPLIT_BAD", without(2)),
}


@pytest.mark.parametrize(("edit", "codes", "remaining"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_has_its_code(raw, edit, codes, remaining):
    change(raw, edit)
    tables, quarantine = read(raw)
    assert (ids(tables), quarantine) == (remaining, codes.split())
    assert [row[0] for row in tables.truth] == remaining


def test_training_needs_no_box(raw):
    change(raw, lambda instances, _: instances["annotations"][0].update(bbox=[10, 8, 0, 0]))
    tables, codes = read(raw)
    assert (ids(tables), [row[0] for row in tables.truth]) == (ALL, without(0)) and set(codes) == {"E_BOX_DEGENERATE"}


def test_a_box_outside_is_stored_as_given(raw):
    change(raw, annotation(bbox=[-3, 8, 20, 50]))
    assert read(raw)[0].truth[4][1] == [-3.0, 8.0, 17.0, 58.0]


def test_an_image_in_two_splits_is_refused(raw):
    change(raw, lambda _, refs: refs.append(refs[0] | {"ref_id": 9, "split": "val"}))
    assert (ids(read(raw)[0]), read(raw)[1]) == (ALL, ["E_SPLIT_OVERLAP"])
    change(raw, lambda _, refs: refs.reverse())
    assert (ids(read(raw)[0]), read(raw)[1]) == (ALL, ["E_SPLIT_OVERLAP"])


def test_too_large_a_share_of_bad_rows_ends_the_run(tmp_path, raw):
    change(raw, sentence(raw="?"))
    with pytest.raises(DataError, match=r"1 of 12 rows are bad.*E_TEXT_EMPTY.*dvc repro prepare@toy"):
        prepare(dataset="toy", raw=raw, out=tmp_path / "out", params=params(tmp_path, 0.05))
    prepare(dataset="toy", raw=raw, out=tmp_path / "out", params=params(tmp_path, 0.1))
    assert len(pd.read_parquet(tmp_path / "out" / "pairs.parquet")) == 7
