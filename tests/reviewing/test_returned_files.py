"""What readers refuse, and what they list instead of deciding it."""

import json
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from commands.export import export
from commands.take_decisions import take_decisions
from deixis.core.errors import DataError
from reviewing.returned import READERS, yolo
from reviewing.returned.taking import read_returned
from reviewing.table import read_decisions
from tests.deixis.exports.labelled import row, write_tables
from tests.reviewing import corrected

NAMES = {
    "coco": "annotations.json", "label-studio": "tasks.json", "cvat": "annotations.xml", "fiftyone": "samples.json",
    "parquet": "labels.parquet",
}  # fmt: skip
BOX = [10.0, 10.0, 40.0, 30.0]


@pytest.fixture
def one(tmp_path):
    """One label of one image, 90 x 60 pixels."""
    labels, images = write_tables(tmp_path / "tables", [row("s/1", 7, BOX, None)])
    (labels.parent / "prepared").mkdir()
    images.rename(labels.parent / "prepared/images.parquet")
    return labels


def taken(labels, file, kind, **options):
    take_decisions(file, from_=kind, labels=labels, **({"who": "bob"} | options))
    return {one.sample_id: one for one in read_decisions(labels.parent / "decisions/decisions.parquet")}


@pytest.mark.parametrize("kind", list(READERS))
@pytest.mark.parametrize("content", [b"", b"\x00\xff rubbish", b"[1, 2", b"{}", b"[[[[" * 50_000, b"<annotations>"])
def test_rubbish_is_refused_with_one_message_and_nothing_is_written(one, tmp_path, kind, content):
    file = tmp_path / "file"
    if kind == "yolo":
        (file / "labels").mkdir(parents=True)
        (file / "rows.json").write_bytes(content)
        (file / "labels/1.txt").write_bytes(b"0 0.5 nothing 0.1 0.1")
    else:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"file: (not labels as .* exports them|no task has an annotation)"):
        take_decisions(file, from_=kind, labels=one, who="bob")
    assert not (one.parent / "decisions").exists()


@pytest.mark.parametrize("kind", list(READERS))
def test_a_file_that_is_not_there_is_missing(tmp_path, kind):
    with pytest.raises(DataError, match=r"missing\. Unpack archives|no folder of YOLO's text files"):
        read_returned(tmp_path / "none", kind)


@pytest.mark.parametrize("kind", list(NAMES))
def test_a_folder_stands_for_the_file_in_it(tmp_path, kind):
    labels = corrected.make_tables(tmp_path / "labelled")
    out = corrected.exported(labels, kind, tmp_path / "out")
    if kind == "label-studio":
        corrected.label_studio(out, corrected.corrections(labels))
    assert read_returned(out, kind) == read_returned(out / NAMES[kind], kind)


def test_predictions_of_coco_are_not_taken(one, tmp_path):
    out = corrected.exported(one, "coco", tmp_path / "out")
    with pytest.raises(DataError, match="a list of results, which are predictions"):
        take_decisions(out / "results.json", from_="coco", labels=one, who="bob")


@pytest.mark.parametrize("declared", ['<!ENTITY a SYSTEM "file:///etc/hostname">', '<!ENTITY a "aaaaaaaa">'])
def test_xml_that_declares_entities_is_refused(tmp_path, declared):
    file = tmp_path / "annotations.xml"
    file.write_text(f"<!DOCTYPE annotations [{declared}]><annotations><image>&a;</image></annotations>")
    with pytest.raises(DataError, match="it has a DOCTYPE, which may define entities"):
        read_returned(file, "cvat")


def test_a_track_of_a_video_is_refused(tmp_path):
    (tmp_path / "annotations.xml").write_text("<annotations><track/></annotations>")
    with pytest.raises(DataError, match="tracks of a video"):
        read_returned(tmp_path, "cvat")


def test_turned_boxes_are_wrapped_and_listed(one, tmp_path, capsys):
    out = corrected.exported(one, "cvat", tmp_path / "cvat")
    text = (out / "annotations.xml").read_text()
    (out / "annotations.xml").write_text(text.replace("<box ", '<box rotation="90.0" '))
    assert taken(one, out, "cvat")["s/1"].box == pytest.approx((15, 5, 35, 35))  # about its middle
    assert "s/1: turned: taken as the upright box round it" in capsys.readouterr().err

    out = corrected.exported(one, "label-studio", tmp_path / "ls")
    task = json.loads((out / "tasks.json").read_text())[0]
    task["annotations"] = [{"id": 1, "result": task.pop("predictions")[0]["result"]}]
    task["annotations"][0]["result"][0]["value"]["rotation"] = 90
    (out / "tasks.json").write_text(json.dumps([task]))
    assert taken(one, out, "label-studio")["s/1"].box == pytest.approx(
        (0, 10, 10, 40)
    )  # about its corner; cut at the image's border
    assert "s/1: turned" in capsys.readouterr().err


def label_studio_annotations(one, tmp_path, *annotations):
    """A task with these annotations, each a dict over the whole prediction as it went out."""
    shutil.rmtree(tmp_path / "ls", ignore_errors=True)
    out = corrected.exported(one, "label-studio", tmp_path / "ls")
    task = json.loads((out / "tasks.json").read_text())[0]
    result = task["predictions"][0]["result"]
    task["annotations"] = [{"was_cancelled": False, "result": result} | changes for changes in annotations]
    (out / "tasks.json").write_text(json.dumps([task]))
    return out


def test_the_newest_annotation_counts_and_others_are_listed(one, tmp_path, capsys):
    out = label_studio_annotations(
        one, tmp_path,
        {"id": 2, "updated_at": "2026-11-30T12:00:00Z", "completed_by": 4, "result": []},
        {"id": 1, "updated_at": "2026-11-30T11:00:00Z", "completed_by": {"email": "ann@x.org"}},
        {"id": 3, "updated_at": "2026-11-30T13:00:00Z", "was_cancelled": True},
    )  # fmt: skip
    decision = taken(one, out, "label-studio", who=None)["s/1"]
    assert (decision.verdict, decision.who, decision.when) == ("reject", "user 4", "2026-11-30T12:00:00.000000+00:00")
    assert "annotation 1 by ann@x.org says something else than the newest" in capsys.readouterr().err


def test_half_a_character_in_json_breaks_nothing(one, tmp_path):
    out = label_studio_annotations(one, tmp_path, {"id": 1, "completed_by": {"email": "ann\ud83d"}})
    corrected.rewrite(out / "tasks.json", lambda tasks: [*tasks, tasks[0] | {"data": {"image": "else\ud83d"}}])
    assert taken(one, out, "label-studio", who=None)["s/1"].who == "ann?"


def test_predictions_alone_decide_nothing(one, tmp_path):
    out = label_studio_annotations(one, tmp_path, {"id": 1, "was_cancelled": True})
    with pytest.raises(DataError, match="no task has an annotation; predictions decide nothing"):
        take_decisions(out, from_="label-studio", labels=one)


def test_a_region_on_a_turned_image_is_refused(one, tmp_path):
    out = label_studio_annotations(one, tmp_path, {"id": 1})
    corrected.rewrite(out / "tasks.json", lambda tasks: json.loads(
        json.dumps(tasks).replace('"image_rotation": 0', '"image_rotation": 90')
    ))  # fmt: skip
    with pytest.raises(DataError, match="drawn on a turned image; turn the image back"):
        take_decisions(out, from_="label-studio", labels=one)


def test_yolo_predictions_and_outlines_are_listed_and_reject_nothing(one, tmp_path, capsys):
    out = corrected.exported(one, "yolo", tmp_path / "out")
    next((out / "boxes/labels").rglob("*.txt")).write_text("0 0.1 0.1 0.1 0.1 0.9\n0 0 0 0 1 1 1\n")
    assert taken(one, out, "yolo") == {}
    told = capsys.readouterr().err
    assert "row 1: 6 numbers, and predictions decide nothing" in told and "row 2: 7 numbers, and outlines" in told
    assert "s/1: its box is gone, but others of the image are whose label is unclear" in told


def test_lists_of_images_and_classes_are_no_rows(one, tmp_path):
    (tmp_path / "out/some").mkdir(parents=True)
    for name, text in {"train": "data/a red & blue #1.jpg\n", "classes": "object\n", "some/red & blue #1": ""}.items():
        (tmp_path / f"out/{name}.txt").write_text(text)
    assert taken(one, tmp_path / "out", "yolo")["s/1"].verdict == "reject"


@pytest.mark.parametrize(
    "name", ["red & blue #1.jpg", "/home/ann/a/red & blue #1.jpg", "images/red%20%26%20blue%20%231.jpg"]
)
def test_images_are_found_by_the_end_of_their_names(one, tmp_path, name):
    out = corrected.exported(one, "coco", tmp_path / "out")
    corrected.rewrite(out / "annotations.json", lambda content: content | {
        "images": [content["images"][0] | {"file_name": name}]
    })  # fmt: skip
    assert taken(one, out, "coco")["s/1"].verdict == "accept"


def test_a_box_that_is_gone_while_its_mask_stays_is_listed(tmp_path, capsys):
    labels = corrected.make_tables(tmp_path / "labelled")
    out = corrected.exported(labels, "cvat", tmp_path / "out")
    tree = ET.parse(out / "annotations.xml")
    image = next(tree.iter("image"))
    image.remove(image.find("box"))  # of 0/0, which has a mask
    tree.write(out / "annotations.xml")
    assert "0/0" not in taken(labels, out, "cvat")
    assert "some/000.jpg: 0/0: it is there without its box: not decided" in capsys.readouterr().err


def test_a_table_of_parquet_may_say_who_and_when(one, tmp_path):
    out = corrected.exported(one, "parquet", tmp_path / "out")
    table = pd.read_parquet(out / "labels.parquet").assign(who="eve", when="2026-11-30T12:00:00+01:00")
    table.to_parquet(out / "labels.parquet")
    decision = taken(one, out, "parquet", who=None)["s/1"]
    assert (decision.who, decision.when) == ("eve", "2026-11-30T11:00:00.000000+00:00")


def test_what_the_teacher_refused_is_not_rejected_by_a_table_that_says_so(tmp_path):
    labels = corrected.make_tables(tmp_path / "labelled")
    table = pd.read_parquet(labels)
    table.assign(accept=table.index > 0).to_parquet(labels)
    images = labels.parent / "prepared/images.parquet"
    export(labels, to="parquet", images=images, out=tmp_path / "out", everything=True)
    found = taken(labels, tmp_path / "out", "parquet", everything=True)
    assert set(found) == set(table["sample_id"][1:]) and {one.verdict for one in found.values()} == {"accept"}


def test_a_box_that_is_no_number_is_refused(one, tmp_path):
    out = corrected.exported(one, "coco", tmp_path / "out")
    corrected.rewrite(out / "annotations.json", lambda content: content | {
        "annotations": [content["annotations"][0] | {"bbox": [1, 2, float("nan"), 4]}]
    })  # fmt: skip
    with pytest.raises(DataError, match="not labels as coco exports them"):
        take_decisions(out, from_="coco", labels=one, who="bob")
    assert np.isnan(json.loads((out / "annotations.json").read_text())["annotations"][0]["bbox"][2])


@pytest.mark.parametrize("no", [False, 0, 0.0, "False", "no", np.int8(0)])
def test_parquet_refuses_in_whatever_form_tools_write_it(one, tmp_path, no):
    out = corrected.exported(one, "parquet", tmp_path / "out")
    pd.read_parquet(out / "labels.parquet").assign(accept=no, who=np.nan).to_parquet(out / "labels.parquet")
    decided = taken(one, out, "parquet")["s/1"]
    assert (decided.verdict, decided.who) == ("reject", "bob")


def test_parquet_with_another_word_for_accepted_is_refused(one, tmp_path):
    out = corrected.exported(one, "parquet", tmp_path / "out")
    pd.read_parquet(out / "labels.parquet").assign(accept="maybe").to_parquet(out / "labels.parquet")
    with pytest.raises(DataError, match="accept is 'maybe'; allowed: true or false"):
        taken(one, out, "parquet")


def test_cvats_box_that_is_turned_by_no_number_is_refused(one, tmp_path):
    out = corrected.exported(one, "cvat", tmp_path / "out")
    text = (out / "annotations.xml").read_text().replace("<box ", '<box rotation="nan" ')
    (out / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match="turned by nan degrees"):
        taken(one, out, "cvat")


@pytest.mark.parametrize("image", [7, 1.5, None])
def test_an_image_whose_name_is_none_is_an_unknown_one(one, tmp_path, image):
    out = corrected.exported(one, "yolo", tmp_path / "out")
    rows = out / yolo.BOXES / yolo.ROWS
    written = json.loads(rows.read_text(encoding="utf-8"))
    rows.write_text(json.dumps([row | {"image": image} for row in written]), encoding="utf-8")
    assert taken(one, out, "yolo")["s/1"].verdict == "accept"  # by the name of its text file


def test_yolos_rows_begin_after_a_mark_and_with_a_number(one, tmp_path):
    out = corrected.exported(one, "yolo", tmp_path / "out")
    (path,) = (out / "boxes/labels").rglob("*.txt")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert taken(one, out, "yolo")["s/1"].verdict == "accept"
    path.write_text("object 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match="begins with 'object', and not with the number of a class"):
        taken(one, out, "yolo")


def test_names_of_images_in_either_form_of_accents(tmp_path):
    labels, images = write_tables(tmp_path / "tables", [row("s/1", 7, BOX, None)])
    (labels.parent / "prepared").mkdir()
    table = pd.read_parquet(images).assign(path="caf\u00e9.jpg")
    table.to_parquet(labels.parent / "prepared/images.parquet")
    out = corrected.exported(labels, "coco", tmp_path / "out")
    corrected.rewrite(
        out / "annotations.json",
        lambda content: (
            content
            | {
                "images": [content["images"][0] | {"file_name": "cafe\u0301.jpg"}],
                "annotations": [{"id": 1, "image_id": content["images"][0]["id"], "bbox": [10, 10, 30, 20]}],
            }
        ),
    )
    assert taken(labels, out, "coco")["s/1"].verdict == "accept"
