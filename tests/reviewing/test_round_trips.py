"""Fifty corrections a format go out, are made as the tool makes them, and come back one by one."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from commands.take_decisions import take_decisions
from reviewing.log import DecisionLog
from reviewing.table import read_decisions
from tests.reviewing import corrected

WAYS = {
    "coco": ("coco", corrected.coco),
    "coco as CVAT hands it back": ("coco", partial(corrected.coco, keys=("attributes",))),
    "coco without foreign keys": ("coco", partial(corrected.coco, keys=())),
    "cvat": ("cvat", corrected.cvat),
    "cvat without sample_ids": ("cvat", partial(corrected.cvat, keeps_ids=False)),
    "label-studio": ("label-studio", corrected.label_studio),
    "label-studio without meta": ("label-studio", partial(corrected.label_studio, keeps=("data",))),
    "label-studio without ids": ("label-studio", partial(corrected.label_studio, keeps=())),
    "fiftyone": ("fiftyone", corrected.fiftyone),
    "fiftyone as its database writes it": ("fiftyone", partial(corrected.fiftyone, extended=True)),
    "yolo": ("yolo", corrected.yolo),
    "yolo without rows.json": ("yolo", partial(corrected.yolo, keeps_rows=False)),
    "parquet": ("parquet", corrected.parquet),
}


@pytest.mark.parametrize(("kind", "correct"), list(WAYS.values()), ids=list(WAYS))
def test_every_correction_comes_back(tmp_path, kind, correct, capsys):
    labels = corrected.make_tables(tmp_path / "labelled")
    told = corrected.corrections(labels)
    file = correct(corrected.exported(labels, kind, tmp_path / "out"), told)
    take_decisions(file, from_=kind, labels=labels, who="bob")
    found = {one.sample_id: one for one in read_decisions(tmp_path / "labelled/decisions/decisions.parquet")}
    assert {name: one.verdict for name, one in found.items()} == {name: verdict for name, (verdict, _) in told.items()}
    for name, (_, box) in told.items():
        assert (found[name].box is None) == (box is None)
        np.testing.assert_allclose(found[name].box or (), box or (), atol=0.05)
    assert "10 accept, 15 reject, 15 runner_up, 20 box\n" in capsys.readouterr().err
    table = pd.read_parquet(labels).set_index("sample_id")
    for name, one in found.items():
        assert one.label_box == tuple(table.loc[name, "box"]) and one.source == kind
        assert one.verdict != "accept" or one.box == one.label_box
        assert one.who == ("ann@x.org" if kind == "label-studio" else "bob")
        says_when = kind in ("cvat", "label-studio") or "database" in str(correct)
        assert not says_when or one.when == "2026-11-30T10:00:00.500000+00:00"

    take_decisions(file, from_=kind, labels=labels, who="bob")
    assert "0 accept, 0 reject, 0 runner_up, 0 box; 60 already known\n" in capsys.readouterr().err
    with DecisionLog(tmp_path / "labelled/decisions/log.sqlite") as log:
        assert {len(history) for history in log.history().values()} == {1}


@pytest.mark.parametrize(("kind", "correct"), list(WAYS.values()), ids=list(WAYS))
def test_what_stayed_is_no_change_in_any_form(tmp_path, kind, correct, capsys):
    labels = corrected.make_tables(tmp_path / "labelled")
    table = pd.read_parquet(labels)
    told = {name: ("accept", tuple(box)) for name, box in zip(table["sample_id"], table["box"], strict=True)}
    file = correct(corrected.exported(labels, kind, tmp_path / "out"), told)
    take_decisions(file, from_=kind, labels=labels, who="bob", only_changes=True)
    assert " 0 accept, 0 reject, 0 runner_up, 0 box" in capsys.readouterr().err
