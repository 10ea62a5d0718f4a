"""A model that went through its checkpoint folder gives the answers it gave before."""

from dataclasses import asdict

import pytest
import torch

from deixis.core.checkpoints import save_checkpoint
from models.loading.students import load_student
from models.loading.teachers import load_teacher
from tests.factories import VOCABULARY, dvin, refclip, student_batch, teacher_batch
from tests.models.test_simrec import simrec
from tests.models.test_transvg import transvg

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("refclip", refclip),
        ("dvin", dvin),
        ("dvin", lambda: dvin(top_experts=2)),
        ("dvin", lambda: dvin(compat="released")),
        ("dvin", lambda: dvin(experts={"segmentation_vit": 4, "contrastive_vit": 8})),
    ],
    ids=["refclip", "dvin", "dvin, two experts", "dvin released", "dvin, experts in another order"],
)
def test_a_loaded_teacher_matches_as_before(tmp_path, name, make):
    teacher, batch = make().eval(), teacher_batch(8)
    card = {"teacher": name, "model": asdict(teacher.config), "vocabulary": VOCABULARY}
    save_checkpoint(teacher, tmp_path, config=card)
    loaded = load_teacher(tmp_path, CPU)
    assert loaded.expert_names == teacher.expert_names
    before, after = teacher.match(batch), loaded.match(batch)
    for field in ("boxes_xyxy", "scores", "objectness", "classes", "experts"):
        torch.testing.assert_close(getattr(after, field), getattr(before, field))


@pytest.mark.parametrize(("name", "make"), [("simrec", simrec), ("transvg", transvg)])
def test_a_loaded_student_answers_as_before(tmp_path, name, make):
    student = make().eval()
    card = {"student": name, "model": asdict(student.config), "vocabulary": VOCABULARY}
    save_checkpoint(student, tmp_path, config=card)
    batch = student_batch(4, side=student.config.input_size)
    before, after = student.predict(batch), load_student(tmp_path, CPU).predict(batch)
    torch.testing.assert_close(after.boxes_xyxy, before.boxes_xyxy)
    torch.testing.assert_close(after.scores, before.scores)
