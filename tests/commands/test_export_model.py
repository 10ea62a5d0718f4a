"""`deixis export-model`: safetensors with a card that hubs read, and what is refused."""

import json
from dataclasses import asdict

import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard

from commands.export_model import export_model
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.labelling.human_decisions import with_decisions
from models.blocks.csp_darknet import CSPConfig
from models.loading.students import load_student
from models.students.simrec import SimREC, SimRECConfig
from tests.factories import TINY_TEXT, VOCABULARY


@pytest.fixture
def student(tmp_path):
    """As in the graph: data/students/<dataset>/<name>, with the images' table beside."""
    config = SimRECConfig(
        input_size=64, fused_width=16, head_width=8, text=TINY_TEXT,
        backbone=CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1)),
    )  # fmt: skip
    folder = tmp_path / "data" / "students" / "flowers" / "dvin-simrec"
    facts = {"student": "simrec", "model": asdict(config), "vocabulary": VOCABULARY, "supervision": "dvin"}
    save_checkpoint(SimREC(config, VOCABULARY), folder, config=facts | {"selection": "last epoch", "seed": 0})
    prepared = tmp_path / "data" / "prepared" / "flowers"
    prepared.mkdir(parents=True)
    pd.DataFrame({"image_id": [1, 2], "licence": ["CC-BY-4.0"] * 2}).to_parquet(prepared / "images.parquet")
    return folder


def test_the_copy_loads_and_answers_alike(student, tmp_path):
    export_model(student, to="safetensors", out=tmp_path / "out", reports=tmp_path)
    one, other = (load_student(folder, torch.device("cpu")) for folder in (student, tmp_path / "out"))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_hubs_read_the_card(student, tmp_path):
    figures = {"n": 40, "acc50": 0.75, "acc50_lo": 0.6, "acc50_hi": 0.85, "miou_box": 0.5, "exposure": "none"}
    (tmp_path / "metrics" / "flowers").mkdir(parents=True)
    (tmp_path / "metrics" / "flowers" / "dvin-simrec.json").write_text(
        json.dumps({"val": figures, "meta": {"seed": 0}})
    )
    export_model(student, to="safetensors", out=tmp_path / "out", reports=tmp_path)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.datasets) == ("cc-by-4.0", ["flowers"])
    results = {(result.dataset_split, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert results == {("val", "acc50"): 0.75, ("val", "miou_box"): 0.5}
    assert "| val | 40 | 0.750 (0.600 to 0.850) | 0.500 | none |" in card.text
    assert "pseudo-labels of the teacher `dvin`; no person drew them" in card.text


def test_the_card_says_where_people_decided(student, tmp_path):
    facts = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(facts | {"supervision": with_decisions("dvin", 3)}))
    export_model(student, to="safetensors", out=tmp_path / "out", reports=tmp_path)
    text = (tmp_path / "out/README.md").read_text()
    assert "pseudo-labels of the teacher `dvin`, and 3 human decisions" in text and "no person" not in text


def test_a_student_without_figures_says_so(student, tmp_path):
    export_model(student, to="safetensors", out=tmp_path / "out", reports=tmp_path)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.eval_results is None
    assert "Not evaluated" in card.text


def test_what_is_no_student_is_refused(student, tmp_path):
    card = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps({"teacher": card.pop("student")} | card))
    with pytest.raises(ConfigError, match=r"a teacher\. Allowed: a folder .*data/students"):
        export_model(student, to="safetensors", out=tmp_path / "out")


def test_no_student_names_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("students/toy/dvin-simrec", "teachers/toy/dvin"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "config.json").touch()
    with pytest.raises(
        DataError, match=r"nowhere: no trained model.*Trained here: data/students/toy/dvin-simrec\. Name"
    ):
        export_model(tmp_path / "nowhere", to="onnx", out=tmp_path / "out")


def test_weights_of_another_checkpoint_are_refused(student, tmp_path):
    path = student / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(DataError, match=r"not the file that config\.json describes"):
        export_model(student, to="safetensors", out=tmp_path / "out")
    path.unlink()
    with pytest.raises(DataError, match=r"missing\. It is written by train_student"):
        export_model(student, to="safetensors", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
