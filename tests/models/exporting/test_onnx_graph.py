"""Students as ONNX graphs answer as they do in torch, to 1e-4, whatever the phrase and the image."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError
from deixis.core.registry import resolve
from deixis.imaging.letterbox import PAD_VALUE
from deixis.language.text import PAD
from deixis.roles import Student
from deixis.types import StudentBatch
from models.exporting.onnx_graph import export_onnx
from models.loading.students import load_student
from models.students import STUDENTS
from tests.factories import student_batch
from tests.methods import build, settings

EXPORTED, REFUSED = [], []
for student in STUDENTS:
    obstacle = resolve(STUDENTS, student, role="student").onnx_obstacle
    (EXPORTED if obstacle is None else REFUSED).append(student)


def trained(name: str, folder: Path) -> Path:
    """A student with seeded weights and lived-in statistics, in its checkpoint's form."""
    model = build("student", name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(2)  # fresh weights hardly tell one image from another
    facts = {"student": name, "model": asdict(settings("student", name)), "vocabulary": model.vocabulary}
    facts |= {"supervision": "dvin", "selection": "last", "seed": 0}
    save_checkpoint(model, folder / name, config=facts)
    return folder / name


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Path]:
    """Folder of a student and its graph. All that the gate alone looks at are exported at once."""
    folder = tmp_path_factory.mktemp("students")

    def folder_of(name: str) -> Path:
        if not (folder / name).exists():
            export(EXPORTED[1:] if name in EXPORTED[1:] else EXPORTED[:1], folder)
        return folder / name

    return folder_of


def export(names: list[str], folder: Path) -> None:
    """In a process of its own, as a user's command would: torch's exporter does not read checked signatures."""
    code = """if True:
        import sys
        from pathlib import Path
        from commands.export_model import export_model
        for folder in map(Path, sys.argv[1:]):
            export_model(folder, to="onnx", out=folder / "out")
    """
    students = [str(trained(name, folder)) for name in names]
    subprocess.run([sys.executable, "-c", code, *students], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.slow
@pytest.mark.parametrize("name", [EXPORTED[0], *(pytest.param(name, marks=pytest.mark.large) for name in EXPORTED[1:])])
def test_graph_and_torch_agree(exported, name):
    folder = exported(name)
    student = load_student(folder, torch.device("cpu"))
    onnx.checker.check_model(folder / "out" / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(folder / "out" / "model.onnx")
    card = json.loads((folder / "out" / "model.json").read_text())
    assert [entry.name for entry in session.get_inputs()] == list(card["inputs"])
    assert [entry.name for entry in session.get_outputs()] == list(card["outputs"])
    assert ("masks" in card["outputs"]) == student.needs_masks
    assert (card["vocabulary"], card["letterbox"]["pad_value"]) == (student.vocabulary, PAD_VALUE)
    for batch_size in (1, 3, 4):
        batch = phrases_of_all_lengths(student, batch_size)
        expected = student.predict(batch)
        fed = {entry: getattr(batch, entry).numpy() for entry in card["inputs"]}
        outputs = dict(zip(card["outputs"], session.run(None, fed), strict=True))
        np.testing.assert_allclose(outputs["boxes_xyxy"], expected.boxes_xyxy, atol=1e-4, rtol=1e-5)
        np.testing.assert_allclose(outputs["scores"], expected.scores, atol=1e-4)
        if expected.masks is not None:
            np.testing.assert_allclose(outputs["masks"], expected.masks, atol=1e-4)
            assert card["mask_threshold"] == pytest.approx(expected.mask_threshold)
    assert np.ptp(outputs["boxes_xyxy"], axis=0).max() > 0.1  # the graph reads what it is fed


def phrases_of_all_lengths(student: Student, count: int) -> StudentBatch:
    """Images with more and more padding above and below, phrases with fewer and fewer words."""
    side, length = student.input_size, student.text_length
    made = student_batch(count, side=side, seed=count)
    rows = torch.arange(count)
    padding = 8.0 * (rows % 4)
    content = torch.stack([0 * padding, padding, 0 * padding + side, side - padding], 1)
    words = torch.randint(3, len(student.vocabulary), (count, length), generator=torch.Generator().manual_seed(count))
    tokens = words.masked_fill(torch.arange(length)[None] >= 6 - rows[:, None], PAD)
    return StudentBatch(made.squares, content, tokens, rows)


@pytest.mark.parametrize("name", REFUSED)
def test_students_that_are_more_than_a_graph_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name} cannot become one ONNX graph: it"):
        export_onnx(build("student", name), name, tmp_path / "model.onnx")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs the extra onnx.* Run: uv sync --extra onnx"):
        export_onnx(build("student", "simrec"), "simrec", tmp_path / "model.onnx")
