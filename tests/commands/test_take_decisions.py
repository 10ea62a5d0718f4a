"""`deixis take-decisions`: labels are found again by name or place, doubts are listed, other data sets refused."""

import os
from dataclasses import replace
from typing import get_args

import pandas as pd
import pytest

from commands.take_decisions import Format, take_decisions
from deixis.core.errors import ConfigError, DataError
from reviewing.log import DecisionLog
from reviewing.places import decisions_folder, images_table
from reviewing.returned import READERS
from reviewing.table import read_decisions
from tests.deixis.exports.labelled import row
from tests.reviewing.corrected import exported, rewrite, sizes
from tests.reviewing.decided import a_decision

LEFT, RIGHT, BELOW = [10.0, 10.0, 40.0, 30.0], [100.0, 10.0, 140.0, 40.0], [10.0, 60.0, 40.0, 80.0]
STOOD = a_decision(
    sample_id="a", image_id=0, expression="phrase of a", verdict="reject", box=None, label_box=tuple(LEFT)
)


def labelled(folder, *rows, size=(200, 100)):
    """Labels as `deixis label` leaves them; image 0 is x/0.jpg."""
    (folder / "prepared").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "labels.parquet")
    ids = sorted({one["image_id"] for one in rows})
    images = [{"image_id": i, "path": f"x/{i}.jpg", "width": size[0], "height": size[1]} for i in ids]
    pd.DataFrame(images).to_parquet(folder / "prepared/images.parquet")
    return folder / "labels.parquet"


def two(folder, **changes):
    return labelled(folder, row("a", 0, LEFT, None, **changes), row("b", 0, RIGHT, None))


def coco(labels, out, *boxes, **keys):
    """The export with its annotations replaced by these boxes, each with the keys of the label of that number."""
    exported(labels, "coco", out)

    def change(content):
        entries = [
            {"image_id": 0, "id": number, "bbox": sizes(tuple(box))}
            | {key: values[number] for key, values in keys.items()}
            for number, box in enumerate(boxes)
        ]
        return content | {"annotations": entries}

    return rewrite(out / "annotations.json", change)


def take(labels, file, **options):
    take_decisions(file, from_="coco", labels=labels, **({"who": "bob"} | options))
    return {one.sample_id: one.verdict for one in standing(labels).values()}


def standing(labels):
    return {one.sample_id: one for one in read_decisions(labels.parent / "decisions/decisions.parquet")}


def test_the_formats_offered_are_those_registered():
    assert get_args(Format) == tuple(READERS)


def test_labels_of_the_graph_have_their_log_with_the_data_set(tmp_path):
    in_graph = tmp_path / "data/labels/scenes/dvin/labels.parquet"
    assert decisions_folder(in_graph) == tmp_path / "data/decisions/scenes"
    assert images_table(in_graph) == tmp_path / "data/prepared/scenes/images.parquet"
    assert decisions_folder(tmp_path / "mine/labels.parquet") == tmp_path / "mine/decisions"
    assert images_table(tmp_path / "mine/labels.parquet") == tmp_path / "mine/prepared/images.parquet"


def test_labels_with_one_box_are_told_apart_only_if_all_stayed(tmp_path, capsys):
    labels = labelled(tmp_path / "one", row("a", 0, LEFT, None), row("b", 0, LEFT, None))
    assert take(labels, coco(labels, tmp_path / "both", LEFT, LEFT)) == {"a": "accept", "b": "accept"}
    labels = labelled(tmp_path / "other", row("a", 0, LEFT, None), row("b", 0, LEFT, None))
    assert take(labels, coco(labels, tmp_path / "moved", LEFT, [12, 10, 40, 30])) == {}
    assert take(labels, coco(labels, tmp_path / "gone", LEFT)) == {}
    assert "which box is its own is unclear: not decided" in capsys.readouterr().err


def test_a_box_that_two_labels_may_have_moved_to_is_listed(tmp_path):
    near = [12.0, 10.0, 42.0, 30.0]
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 0, near, None))
    file = coco(labels, tmp_path / "out", [11, 10, 41, 31])
    assert take(labels, file) == {}
    listed = pd.read_csv(tmp_path / "decisions/not_taken.csv")
    assert listed["label"].fillna("").tolist() == ["", "a", "b"] and set(listed["image"]) == {"x/0.jpg"}


def test_a_far_box_without_a_name_keeps_a_missing_label_from_being_rejected(tmp_path):
    labels = two(tmp_path)
    assert take(labels, coco(labels, tmp_path / "out", LEFT, BELOW)) == {"a": "accept"}


def test_a_new_box_is_listed_where_others_have_names(tmp_path, capsys):
    labels = two(tmp_path)
    assert take(labels, coco(labels, tmp_path / "out", LEFT, BELOW, sample_id=["a", None])) == {
        "a": "accept",
        "b": "reject",
    }
    assert "the box 10.00, 60.00, 40.00, 80.00 is no label's" in capsys.readouterr().err


def test_a_box_that_became_another_labels_is_the_runner_up_of_its_own(tmp_path):
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 0, RIGHT, None) | {"runner_up": LEFT})
    assert take(labels, coco(labels, tmp_path / "out", LEFT, LEFT)) == {"a": "accept", "b": "runner_up"}


def test_a_runner_up_that_may_be_what_stayed_of_two_labels_is_not_decided(tmp_path):
    third = row("c", 0, RIGHT, None) | {"runner_up": LEFT}
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 0, LEFT, None), third)
    assert take(labels, coco(labels, tmp_path / "out", LEFT)) == {}


def test_a_label_that_is_there_twice_is_decided_if_both_agree(tmp_path, capsys):
    labels = two(tmp_path)
    ids = ["a", "a", "b", "b"]
    file = coco(labels, tmp_path / "out", LEFT, [12, 10, 40, 30], RIGHT, RIGHT, sample_id=ids)
    assert take(labels, file) == {"b": "accept"}
    assert "x/0.jpg: a: it is there 2 times with different boxes" in capsys.readouterr().err


def test_phrases_find_labels_whose_ids_are_gone(tmp_path):
    labels = two(tmp_path, expression="  the\ttall\x07 one ")
    file = coco(labels, tmp_path / "out", BELOW, expression=["the tall one"])
    assert take(labels, file) == {"a": "box", "b": "reject"}


def test_what_did_not_go_out_is_not_missing(tmp_path):
    rows = [
        row("a", 0, LEFT, None, accept=False, reason="margin"),
        row("b", 0, RIGHT, None, score=0.5),
        row("c", 0, BELOW, None),
    ]
    for number, (options, rejected) in enumerate([
        ({}, {"b", "c"}), ({"min_score": 1.0}, {"c"}), ({"everything": True}, {"a", "b", "c"}),
    ]):  # fmt: skip
        labels = labelled(tmp_path / str(number), *rows)
        assert take(labels, coco(labels, tmp_path / f"out{number}"), **options) == dict.fromkeys(rejected, "reject")


def test_what_stayed_is_left_alone_if_asked(tmp_path, capsys):
    labels = two(tmp_path)
    file = coco(labels, tmp_path / "out", LEFT, [101, 10, 140, 40], sample_id=["a", "b"])
    assert take(labels, file, only_changes=True) == {"b": "box"}
    assert "1 unchanged and not taken" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    labels = two(tmp_path)
    take_decisions(coco(labels, tmp_path / "out", LEFT), from_="coco", labels=labels, who="bob", dry_run=True)
    assert not (tmp_path / "decisions").exists()
    assert "1 accept, 1 reject, 0 runner_up, 0 box (nothing was written)" in capsys.readouterr().err


def test_boxes_are_cut_at_the_border_and_empty_ones_are_listed(tmp_path, capsys):
    labels = two(tmp_path)
    file = coco(labels, tmp_path / "out", [-5, 10, 40, 30], [300, 10, 310, 40], sample_id=["a", "b"])
    assert take(labels, file) == {"a": "box"}
    assert standing(labels)["a"].box == (0, 10, 40, 30)
    assert "b: nothing of its box lies inside the image" in capsys.readouterr().err


def test_who_must_be_known(tmp_path):
    labels = two(tmp_path)
    with pytest.raises(ConfigError, match=r"does not say who made 2 of its decisions\. Say who: --who NAME"):
        take(labels, coco(labels, tmp_path / "out", LEFT), who=None)
    assert not (tmp_path / "decisions").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"rows": [row("a", 5, LEFT, None, expression="else")]},
         r"none of its 1 images \(the first: x/0.jpg; no image .* has this name\) has"),
        ({"rows": [row("a", 0, LEFT, None)], "size": (60, 60)}, r"none of its 1 images"),
        ({"rows": [row("a", 0, LEFT, None, expression="else"), row("b", 0, RIGHT, None, expression="other")]},
         r"2 of its 2 phrases or ids are not those of its images' labels"),
    ],
)  # fmt: skip
def test_corrections_of_another_data_set_are_refused(tmp_path, other, message):
    labels = two(tmp_path / "sent")
    ids, phrases = ["a", "b"], ["phrase of a", "phrase of b"]
    file = coco(labels, tmp_path / "out", LEFT, RIGHT, sample_id=ids, expression=phrases)
    strangers = labelled(tmp_path / "other", *other["rows"], size=other.get("size", (200, 100)))
    with pytest.raises(DataError, match=rf"{message}.*another dataset\. Name the labels that went out: --labels"):
        take(strangers, file)
    assert not (tmp_path / "other/decisions").exists()


def test_boxes_without_names_that_lie_elsewhere_are_of_another_data_set(tmp_path):
    labels = two(tmp_path)
    file = coco(labels, tmp_path / "out", LEFT, BELOW, [150, 60, 190, 90])
    with pytest.raises(DataError, match=r"2 of its 3 boxes lie where no label does\. .*another dataset"):
        take(labels, file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, r"labels of schema 2; this version knows 1"),
        ({"image_id": "zero"}, r"image ids are .*; allowed: whole numbers"),
        ({"sample_id": "a"}, r"a is there twice"),
        ({"teacher": None}, r"row 0 has no teacher"),
    ],
)
def test_labels_of_another_schema_are_refused(tmp_path, changes, message):
    labels = two(tmp_path)
    file = coco(labels, tmp_path / "out", LEFT)
    pd.read_parquet(labels).assign(**changes).to_parquet(labels)
    with pytest.raises(DataError, match=rf"labels\.parquet: {message}.*--labels"):
        take(labels, file)


def test_images_that_the_labels_do_not_have_are_listed(tmp_path, capsys):
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 1, RIGHT, None))
    file = coco(labels, tmp_path / "out", LEFT)
    pd.read_parquet(labels).iloc[:1].to_parquet(labels)
    assert take(labels, file) == {"a": "accept"}
    assert "x/1.jpg: no image of the labels has this name" in capsys.readouterr().err


def at(file, when):
    os.utime(file, (pd.Timestamp(when).timestamp(),) * 2)
    return file


def test_the_newer_of_two_decisions_counts_and_both_are_told(tmp_path, capsys):
    labels = two(tmp_path)
    with DecisionLog(tmp_path / "decisions/log.sqlite") as log:
        log.append([STOOD, replace(STOOD, sample_id="b")])
    ids = {"sample_id": ["a", "b"]}
    older = at(coco(labels, tmp_path / "older", LEFT, RIGHT, **ids), "2026-11-30T10:00Z")
    assert take(labels, older) == {"a": "reject", "b": "reject"}
    told = capsys.readouterr().err
    assert "2 against decisions that stood" in told
    assert "a: reject by ann, 2026-11-30T11:00 (serve), against accept by bob, 2026-11-30T10:00: the one before" in told
    newer = at(coco(labels, tmp_path / "newer", BELOW, **ids), "2026-11-30T12:00Z")
    assert take(labels, newer) == {"a": "box", "b": "reject"}
    assert "the file's is newer and counts" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "decisions/not_taken.csv")) == 1


def test_a_copied_file_does_not_undo_what_was_decided_since(tmp_path):
    labels = two(tmp_path)
    file = at(coco(labels, tmp_path / "out", LEFT, RIGHT, sample_id=["a", "b"]), "2026-11-30T10:00Z")
    take(labels, file)
    with DecisionLog(tmp_path / "decisions/log.sqlite") as log:
        log.append([STOOD])
    assert take(labels, at(file, "2026-11-30T12:00Z")) == {"a": "reject", "b": "accept"}


def test_phrases_of_one_object_are_decided_together(tmp_path):
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 0, [11, 10, 40, 30], None), row("c", 0, RIGHT, None))
    ids, phrases = [["a", "b"]], [["phrase of a", "phrase of b"]]
    file = coco(labels, tmp_path / "out", LEFT, sample_ids=ids, expressions=phrases)
    expected = {"a": "accept", "b": "box", "c": "reject"}
    assert take(labels, file) == expected
    lines = [{"sample_id": "a\nb", "expression": "phrase of a\nphrase of b"}]
    assert take(labels, coco(labels, tmp_path / "cvat", LEFT, attributes=lines)) == {
        "a": "accept",
        "b": "box",
        "c": "reject",
    }


def test_the_list_is_safe_to_open_in_a_spreadsheet(tmp_path):
    labels = labelled(tmp_path, row("=1+1", 0, LEFT, None))
    take(labels, coco(labels, tmp_path / "out", LEFT, BELOW, sample_id=["=1+1", "=1+1"]))
    assert pd.read_csv(tmp_path / "decisions/not_taken.csv")["label"].tolist() == ["'=1+1"]


def test_an_image_without_labels_decides_nothing_about_a_namesake(tmp_path):
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 1, LEFT, None))
    images = pd.read_parquet(images_table(labels))
    images["path"] = ["train/0.jpg", "val/0.jpg"]
    images.to_parquet(images_table(labels), index=False)
    pd.read_parquet(labels).query("sample_id == 'a'").to_parquet(labels, index=False)
    file = coco(labels, tmp_path / "out")

    def only_the_other(content):
        return content | {"images": [content["images"][0] | {"file_name": "val/0.jpg"}], "annotations": []}

    with pytest.raises(
        DataError, match=r"none of its 1 images \(the first: val/0\.jpg; no image of the labels has this"
    ):
        take(labels, rewrite(file, only_the_other))
