"""`deixis take-decisions` beside what is known: other people's tables, other teachers' files, labels that stayed."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from commands.take_decisions import take_decisions
from deixis.core.errors import DataError
from reviewing.log import DecisionLog
from reviewing.places import decisions_folder
from reviewing.table import write_decisions
from tests.commands.test_take_decisions import BELOW, LEFT, RIGHT, STOOD, at, coco, labelled, standing, take, two
from tests.deixis.exports.labelled import row
from tests.reviewing.corrected import exported, rewrite

NAMED = {"sample_id": ["a", "b"], "expression": ["phrase of a", "phrase of b"]}


def test_a_table_from_another_machine_is_taken_in_before_it_is_written(tmp_path):
    labels = two(tmp_path)
    write_decisions([replace(STOOD, sample_id="c")], tmp_path / "decisions/decisions.parquet")
    assert take(labels, coco(labels, tmp_path / "out", LEFT, RIGHT, **NAMED)) == {
        "a": "accept",
        "b": "accept",
        "c": "reject",
    }
    assert standing(labels)["c"].who == "ann"


def test_a_dry_run_takes_no_table_in(tmp_path):
    labels = two(tmp_path)
    write_decisions([replace(STOOD, sample_id="c")], tmp_path / "decisions/decisions.parquet")
    DecisionLog(tmp_path / "decisions/log.sqlite").close()
    take_decisions(coco(labels, tmp_path / "out", LEFT), from_="coco", labels=labels, who="bob", dry_run=True)
    with DecisionLog(tmp_path / "decisions/log.sqlite") as log:
        assert log.standing() == {}


@pytest.mark.parametrize("kind", ["coco", "label-studio", "cvat", "fiftyone", "yolo", "parquet"])
@pytest.mark.parametrize("change", [{"teacher": "refclip"}, {"checkpoint_sha256": "f" * 64}])
def test_a_file_of_another_teacher_is_refused(tmp_path, kind, change):
    labels = two(tmp_path / "sent")
    out = exported(labels, kind, tmp_path / "out")
    if kind == "label-studio":
        _submitted(out)
    others = two(tmp_path / "other")
    pd.read_parquet(others).assign(**change).to_parquet(others)
    with pytest.raises(DataError, match=r"its labels are of .*-.*, and those of --labels of .*Name the labels"):
        take_decisions(out, from_=kind, labels=others, who="bob")
    assert not (tmp_path / "other/decisions").exists()


def _submitted(out):
    """Every prediction handed in as it is."""

    def change(tasks):
        return [
            task | {"annotations": [{"id": 1, "result": task["predictions"][0]["result"], "completed_by": "bob"}]}
            for task in tasks
        ]

    rewrite(out / "tasks.json", change)


def test_a_label_that_merely_stayed_undoes_no_decision(tmp_path, capsys):
    labels = two(tmp_path)
    with DecisionLog(tmp_path / "decisions/log.sqlite") as log:
        log.append([STOOD])
    assert take(labels, coco(labels, tmp_path / "out", LEFT, RIGHT, **NAMED)) == {"a": "reject", "b": "accept"}
    assert "it stayed as it went out, and nothing says that somebody looked: not taken" in capsys.readouterr().err


def test_an_image_that_somebody_handed_in_says_that_they_looked(tmp_path):
    labels = two(tmp_path)
    with DecisionLog(tmp_path / "decisions/log.sqlite") as log:
        log.append([STOOD])
    out = exported(labels, "label-studio", tmp_path / "out")
    _submitted(out)
    take_decisions(out, from_="label-studio", labels=labels)
    assert {one.sample_id: one.verdict for one in standing(labels).values()} == {"a": "accept", "b": "accept"}


def test_what_a_file_says_once_more_is_listed_and_not_taken(tmp_path, capsys):
    labels = two(tmp_path)
    times = [f"2026-11-30T{hour}:00Z" for hour in (10, 11, 12)]
    for number, (box, when) in enumerate(zip((BELOW, [12.0, 60, 40, 80], BELOW), times, strict=True)):
        capsys.readouterr()
        take(labels, at(coco(labels, tmp_path / f"out{number}", box, RIGHT, **NAMED), when))
    assert standing(labels)["a"].box == (12, 60, 40, 80)
    assert "it was taken from such a file before, and changed since: not taken again" in capsys.readouterr().err


def both_images(folder):
    rows = [row("a", 0, LEFT, None), row("b", 1, RIGHT, None), row("c", 1, BELOW, None)]
    return labelled(folder, *rows)


def test_images_whose_names_were_swapped_decide_nothing(tmp_path, capsys):
    labels = both_images(tmp_path)
    out = exported(labels, "coco", tmp_path / "out")

    def swap(content):
        first, second = content["images"]
        first["file_name"], second["file_name"] = second["file_name"], first["file_name"]
        return content

    file = rewrite(out / "annotations.json", swap)
    with pytest.raises(DataError, match="its labels are another image's: not decided"):
        take(labels, file)


def test_a_label_pasted_into_another_image_is_not_taken(tmp_path, capsys):
    labels = both_images(tmp_path)
    out = exported(labels, "coco", tmp_path / "out")

    def paste(content):
        by_phrase = {note["expression"]: note for note in content["annotations"]}
        by_phrase["phrase of c"] |= {"sample_id": "a", "sample_ids": ["a"], "expression": "phrase of a"}
        return content

    assert take(labels, rewrite(out / "annotations.json", paste)) == {"a": "accept", "b": "accept", "c": "reject"}
    assert "x/1.jpg: a: it is a label of another image: not taken" in capsys.readouterr().err


def test_an_object_that_stayed_is_no_change(tmp_path, capsys):
    labels = labelled(tmp_path, row("a", 0, LEFT, None), row("b", 0, [11, 10, 40, 30], None))
    ids, phrases = [["a", "b"]], [["phrase of a", "phrase of b"]]
    file = coco(labels, tmp_path / "out", LEFT, sample_ids=ids, expressions=phrases)
    assert take(labels, file, only_changes=True) == {}
    assert "2 unchanged and not taken" in capsys.readouterr().err


def test_a_label_without_an_area_leaves_a_table_that_can_be_read(tmp_path):
    labels = two(tmp_path)
    file = coco(labels, tmp_path / "out", LEFT, RIGHT, **NAMED)
    table = pd.read_parquet(labels)
    table["box"] = [[30.0, 10.0, 30.0, 40.0], RIGHT]
    table.to_parquet(labels)
    assert take(labels, file)["a"] == "box"
    assert standing(labels)["a"].label_box is None


def test_times_to_come_are_now(tmp_path):
    labels = two(tmp_path)
    take(labels, at(coco(labels, tmp_path / "out", LEFT), "2099-01-01T00:00Z"))
    assert standing(labels)["a"].when < "2099"


def test_names_do_not_move_the_cursor(tmp_path):
    labels = two(tmp_path)
    out = exported(labels, "label-studio", tmp_path / "out")
    _submitted(out)
    content = json.loads((out / "tasks.json").read_text())
    content[0]["annotations"][0]["completed_by"] = {"email": "bob\x1b[2J\a@x\n"}
    (out / "tasks.json").write_text(json.dumps(content))
    take_decisions(out, from_="label-studio", labels=labels)
    assert {one.who for one in standing(labels).values()} == {"bob [2J @x"}


def test_a_detour_in_the_path_leads_to_the_same_log(tmp_path):
    detour = tmp_path / "data/labels/scenes/refclip/../dvin/labels.parquet"
    assert decisions_folder(detour) == tmp_path / "data/decisions/scenes"
