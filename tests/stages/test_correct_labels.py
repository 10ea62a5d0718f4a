"""Corrected labels: what people said holds, evaluation splits stay, masks follow their boxes, and the card counts."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.run_lists import RunParams, refuse_undecided
from deixis.imaging.masks import decode_mask, encode_mask
from deixis.labelling.label_columns import LABEL_COLUMNS
from models.blocks.build_sam import SmallSAMConfig
from models.segmenters.small_sam import SmallSAM
from reviewing.decisions import Decision
from reviewing.table import write_decisions
from stages.correct_labels import correct_labels
from stages.evaluate import describe

ROOT = Path(__file__).parents[2]
HERE, THERE, ELSEWHERE = [2.0, 2.0, 20.0, 20.0], [30.0, 4.0, 60.0, 40.0], [5.0, 22.0, 25.0, 40.0]
SAM = SmallSAMConfig(
    input_size=64, patch=16, width=16, depth=1, heads=2, global_blocks=(0,), window=4, prompt_width=16,
    decoder_depth=1, decoder_heads=2, decoder_feedforward=16,
)  # fmt: skip
TEACHERS_MASK = encode_mask(np.eye(48, 64, dtype=bool))
NAMES = ("stays", "accepted", "moved", "second", "rejected", "retrained", "val")


@pytest.fixture
def folder(tmp_path):
    """Seven labels of one image, the last of them in val; all but the first are decided."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "1.png")
    pd.DataFrame({"image_id": [1], "path": ["1.png"]}).to_parquet(tmp_path / "images.parquet")
    count = len(NAMES)
    table = pd.DataFrame({column: ["x"] * count for column in LABEL_COLUMNS}).assign(
        sample_id=NAMES, image_id=1, expression=NAMES, split=["train"] * 6 + ["val"], box=[HERE] * count,
        runner_up=[THERE] * count, accept=False, reason="margin", score=1.0, margin=1.0, mask=[TEACHERS_MASK] * count,
        mask_quality=0.5, mask_source="segmenter", schema_version=1,
    )  # fmt: skip
    table.loc[table["sample_id"].isin(["rejected", "retrained"]), ["accept", "reason"]] = [True, ""]
    table.to_parquet(tmp_path / "labels.parquet")
    save_checkpoint(SmallSAM(SAM), tmp_path / "segmenter", config={"model": asdict(SAM), "labels": "box"})
    (tmp_path / "card.json").write_text('{"teacher": "dvin", "num_parameters": 1, "sha256": "0"}')
    (tmp_path / "params.yaml").write_text("labels: {masks: segmenter}\n")
    decide(
        tmp_path, said("accepted", "accept", HERE), said("moved", "box", ELSEWHERE), said("second", "runner_up", THERE),
        said("rejected", "reject", None), said("retrained", "reject", None, label_box=THERE), said("val", "box", THERE),
    )  # fmt: skip
    return tmp_path


def said(name, verdict, box, *, label_box=HERE) -> Decision:
    return Decision(
        sample_id=name, image_id=1, expression=name, verdict=verdict, box=box and tuple(box),
        label_box=tuple(label_box), teacher="dvin", checkpoint_sha256="0", who="ann",
        when="2026-11-30T11:00:00+00:00", source="serve",
    )  # fmt: skip


def decide(folder, *decisions) -> None:
    write_decisions(decisions, folder / "decisions.parquet")


def corrected(folder, **changes) -> pd.DataFrame:
    files = {
        "labels": folder / "labels.parquet", "decisions": folder / "decisions.parquet", "card": folder / "card.json",
        "images": folder / "images.parquet", "image_root": folder, "segmenter": folder / "segmenter",
    }  # fmt: skip
    correct_labels(**(files | changes), out=folder / "out/labels.parquet", params=folder / "params.yaml", device="cpu")
    return pd.read_parquet(folder / "out/labels.parquet").set_index("sample_id")


def test_what_people_said_holds_for_training_labels(folder, capsys):
    table = corrected(folder)
    assert table["human"].to_dict() == dict(
        zip(NAMES, ["", "accept", "box", "runner_up", "reject", "", ""], strict=True)
    )
    assert table["accept"].tolist() == [False, True, True, True, False, True, False]
    assert table["reason"].tolist() == ["margin", "", "", "", "human", "", "margin"]
    boxes = {name: list(box) for name, box in table["box"].items()}
    assert boxes == dict.fromkeys(NAMES, HERE) | {"moved": ELSEWHERE, "second": THERE}
    assert "4 of 6 decisions, 2 other boxes; " in (told := capsys.readouterr().err)
    assert "1 of evaluation splits" in told and "1 rejections of a box that the teacher no longer gives" in told


def test_masks_are_drawn_anew_for_other_boxes_alone(folder):
    table = corrected(folder)
    for name in NAMES:
        is_teachers = table["mask"][name]["counts"] == TEACHERS_MASK["counts"]
        assert is_teachers == (name not in ("moved", "second"))
    assert decode_mask(table["mask"]["moved"]).shape == (48, 64)
    assert (table["mask_quality"][["stays", "accepted"]] == 0.5).all() and table["mask_quality"]["moved"] != 0.5


def test_a_teachers_own_mask_gives_way_with_its_box(folder):
    given = pd.read_parquet(folder / "labels.parquet")
    given.assign(prompted_mask=given["mask"], mask_source="teacher").to_parquet(folder / "labels.parquet")
    table = corrected(folder)
    assert table["mask_source"].to_dict() == dict.fromkeys(NAMES, "teacher") | dict.fromkeys(
        ("moved", "second"), "segmenter"
    )
    assert table["prompted_mask"]["moved"]["counts"] == table["mask"]["moved"]["counts"]


def test_labels_that_are_boxes_alone_need_no_segmenter(folder):
    (folder / "params.yaml").write_text("labels: {masks: none}\n")
    given = pd.read_parquet(folder / "labels.parquet")
    given.assign(mask=None).to_parquet(folder / "labels.parquet")
    table = corrected(folder, segmenter=folder / "none")
    assert table["mask"].isna().all() and list(table["box"]["moved"]) == ELSEWHERE


def test_labels_and_card_say_how_many_decisions_they_hold(folder):
    table = corrected(folder)
    assert set(table["supervision"]) == {"image-phrase pairs, and 4 human decisions"}
    card = json.loads((folder / "out/config.json").read_text())
    assert (card["human_decisions"], card["supervision"]) == (4, "image-phrase pairs, and 4 human decisions")
    facts = describe(card, folder / "out/labels.parquet", seed=0)
    assert (facts["human_decisions"], facts["supervision"]) == (4, "image-phrase pairs, and 4 human decisions")


def test_other_supervision_stays_named(folder):
    given = pd.read_parquet(folder / "labels.parquet")
    given.assign(supervision="image-phrase pairs, grouped by object").to_parquet(folder / "labels.parquet")
    decide(folder, said("accepted", "accept", HERE))
    assert set(corrected(folder)["supervision"]) == {"image-phrase pairs, grouped by object, and 1 human decision"}


def test_no_decision_changes_nothing(folder):
    decide(folder)
    table = corrected(folder, segmenter=folder / "none")
    assert set(table["human"]) == {""} and set(table["supervision"]) == {"image-phrase pairs"}
    given = pd.read_parquet(folder / "labels.parquet").set_index("sample_id")
    pd.testing.assert_frame_equal(table[given.columns], given)


def test_what_was_found_right_stays_right_when_the_teacher_is_trained_again(folder):
    given = pd.read_parquet(folder / "labels.parquet")
    given.assign(box=[ELSEWHERE] * len(given)).to_parquet(folder / "labels.parquet")
    table = corrected(folder)
    assert list(table["box"]["accepted"]) == HERE and table["human"]["accepted"] == "accept"
    assert table["human"]["rejected"] == "" and table["accept"]["rejected"]


@pytest.mark.parametrize("changes", [{"expression": "else"}, {"image_id": 2}, {"sample_id": "none"}])
def test_decisions_about_another_data_set_are_refused(folder, changes):
    decide(folder, replace(said("accepted", "accept", HERE), **changes))
    with pytest.raises(DataError, match=r"none of its 1 decisions is about a phrase of .*labels.parquet"):
        corrected(folder)


def test_a_missing_table_names_the_commands(folder):
    with pytest.raises(DataError, match="Write it with deixis serve or deixis take-decisions"):
        corrected(folder, decisions=folder / "none.parquet")


def test_the_graph_stops_at_once_where_nobody_has_decided_anything(tmp_path):
    run = replace(read_section(ROOT / "params.yaml", "run", RunParams), datasets=("scenes",), corrected=("dvin",))
    with pytest.raises(
        ConfigError, match=r"decisions.parquet: missing, and run.corrected is \[dvin\]\. .*deixis serve"
    ):
        refuse_undecided(run, tmp_path)
    refuse_undecided(replace(run, corrected=()), tmp_path)
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes/decisions.parquet.dvc").touch()  # known to DVC, and not fetched yet
    refuse_undecided(run, tmp_path)


def test_the_report_lists_them_beside_the_teachers_and_times_none_twice():
    run = replace(
        read_section(ROOT / "params.yaml", "run", RunParams),
        teachers=("refclip", "dvin"), map_teachers=(), students=("simrec",), student_teachers=("dvin-corrected",),
        corrected=("dvin",), relabelled=("dvin-corrected",), reference_datasets=(),
    )  # fmt: skip
    assert run.predictors("scenes") == ["refclip", "dvin", "dvin-corrected", "dvin-corrected-simrec"]
    assert run.timed("scenes") == ["refclip", "dvin", "dvin-corrected-simrec"]
    assert run.written_again() == ["dvin-corrected"]
