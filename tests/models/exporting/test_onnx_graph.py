"""Students as ONNX graphs answer as they do in torch, to 1e-4, whatever the phrase and the picture."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from deixis.types import StudentBatch
from models.blocks.csp_darknet import CSPConfig
from models.exporting.onnx_graph import REFUSED, export_onnx
from models.loading.students import load_student
from models.students import STUDENTS
from models.text.bert import BERTConfig
from models.text.last_states import LastStatesConfig
from tests.factories import TINY_TEXT, VOCABULARY, student_batch

SIDE = 64
CSP = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))
ONE_STAGE: dict[str, Any] = {"input_size": SIDE, "backbone": CSP, "text": TINY_TEXT, "fused_width": 16}
SIZES: dict[str, dict[str, Any]] = {
    "simrec": ONE_STAGE | {"head_width": 8},
    "realgin": ONE_STAGE | {"head_width": 8, "selection_width": 8, "product_width": 8},
    "realgin_anchors": {
        "input_size": SIDE, "cnn": None, "backbone": CSP, "fused_width": 16, "selection_width": 8, "pyramid_width": 8,
        "head_width": 8, "head_depth": 1, "text": LastStatesConfig(length=6, word_width=8, width=16),
    },
    "mcn": ONE_STAGE | {"anchors": ((16, 32), (32, 16), (24, 24)), "aspp_width": 8},
    "transvg": {
        "input_size": SIDE, "width": 16, "heads": 2, "feedforward": 16, "visual_layers": 1, "joint_layers": 2,
        "cnn": None, "backbone": CSP, "box_from_gaze": True, "answer_reads_text": True,
        "text": BERTConfig(vocabulary=None, length=6, width=16, layers=1, heads=2, feedforward=16),
    },
}  # fmt: skip


def trained(name: str, folder: Path) -> Path:
    """A student with seeded weights and lived-in statistics, in its checkpoint's form."""
    torch.manual_seed(0)
    kind = resolve(STUDENTS, name, role="student")
    config = kind.Config(**SIZES[name])
    model = kind(config, VOCABULARY)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(2)  # fresh weights hardly tell one picture from another
    facts = {"student": name, "model": asdict(config), "vocabulary": VOCABULARY, "supervision": "dvin"}
    save_checkpoint(model, folder / name, config=facts | {"selection": "last", "seed": 0})
    return folder / name


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """In a process of its own, as a user's command would: torch's exporter does not read checked signatures."""
    folder = tmp_path_factory.mktemp("students")
    code = """if True:
        import sys
        from pathlib import Path
        from commands.export_model import export_model
        for folder in map(Path, sys.argv[1:]):
            export_model(folder, to="onnx", out=folder / "out")
    """
    students = [str(trained(name, folder)) for name in SIZES]
    subprocess.run([sys.executable, "-c", code, *students], check=True, cwd=Path(__file__).parents[3])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SIZES))
def test_graph_and_torch_agree(exported, name):
    student = load_student(exported / name, torch.device("cpu"))
    onnx.checker.check_model(exported / name / "out" / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(exported / name / "out" / "model.onnx")
    told = json.loads((exported / name / "out" / "model.json").read_text())
    assert [entry.name for entry in session.get_inputs()] == list(told["inputs"])
    assert [entry.name for entry in session.get_outputs()] == list(told["outputs"])
    assert ("masks" in told["outputs"]) == student.needs_masks
    assert (told["vocabulary"], told["letterbox"]["pad_value"]) == (VOCABULARY, PAD_VALUE)
    for batch_size in (1, 3, 4):
        batch = phrases_of_all_lengths(batch_size)
        wanted = student.predict(batch)
        fed = {entry: getattr(batch, entry).numpy() for entry in told["inputs"]}
        found = dict(zip(told["outputs"], session.run(None, fed), strict=True))
        np.testing.assert_allclose(found["boxes_xyxy"], wanted.boxes_xyxy, atol=1e-4, rtol=1e-5)
        np.testing.assert_allclose(found["scores"], wanted.scores, atol=1e-4)
        if wanted.masks is not None:
            np.testing.assert_allclose(found["masks"], wanted.masks, atol=1e-4)
            assert told["mask_threshold"] == pytest.approx(wanted.mask_threshold)
    assert np.ptp(found["boxes_xyxy"], axis=0).max() > 0.1  # the graph reads what it is fed


def phrases_of_all_lengths(count: int) -> StudentBatch:
    """Pictures with more and more padding above and below, phrases with fewer and fewer words."""
    made = student_batch(count, side=SIDE, seed=count)
    rows = torch.arange(count)
    words = torch.arange(TINY_TEXT.length)
    padding = 8.0 * (rows % 4)
    content = torch.stack([0 * padding, padding, 0 * padding + SIDE, SIDE - padding], 1)
    tokens = made.tokens.masked_fill(words[None] >= TINY_TEXT.length - rows[:, None], PAD)
    return StudentBatch(made.squares, content, tokens, rows)


@pytest.mark.parametrize("name", list(REFUSED))
def test_students_that_are_more_than_a_graph_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name} cannot become one ONNX graph: it"):
        export_onnx(torch.nn.Identity(), name, tmp_path / "model.onnx")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs the extra onnx.* Run: uv sync --extra onnx"):
        export_onnx(torch.nn.Identity(), "simrec", tmp_path / "model.onnx")


def test_every_student_is_exported_or_refused():
    assert SIZES.keys() | REFUSED.keys() == STUDENTS.keys()
