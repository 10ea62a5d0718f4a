"""Every registered method at the embedded scale: built from its entry in params.yaml, whoever registers it."""

import importlib.util
import os
import tempfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deixis.core.config import load_params, read_section
from deixis.core.registry import resolve
from deixis.language.text import build_vocabulary, normalise
from deixis.roles import Detector, Expert, MapTeacher, Segmenter, Student, Teacher
from models.detectors import DETECTORS
from models.experts import EXPERTS
from models.map_teachers import MAP_TEACHERS
from models.segmenters import SEGMENTERS
from models.students import STUDENTS
from models.teachers import TEACHERS

PARAMS = Path(__file__).parents[1] / "params.yaml"
TEXTS = ["red ball", "left red ball", "big star", "the star on the right"]


class Role(NamedTuple):
    """Its Protocol, its methods, and whether they read phrases."""

    protocol: type
    registry: dict[str, str]
    reads_phrases: bool = False


ROLES = {
    "detector": Role(Detector, DETECTORS),
    "expert": Role(Expert, EXPERTS),
    "segmenter": Role(Segmenter, SEGMENTERS),
    "teacher": Role(Teacher, TEACHERS, reads_phrases=True),
    "map_teacher": Role(MapTeacher, MAP_TEACHERS, reads_phrases=True),
    "student": Role(Student, STUDENTS, reads_phrases=True),
}
SECTIONS = {  # of params.yaml, where it is not <role>s.<name>.model
    ("detector", "yolov3"): "detector.model",
    ("expert", "segmentation_vit"): "segmenter.model",
    ("segmenter", "small_sam"): "segmenter.model",
}
TINY_VIT = {"input_size": 64, "patch": 16, "width": 16, "depth": 1, "heads": 2}
TINY_EFFICIENT = {"patch": 16, "width": 16, "depth": 1, "heads": 2, "neck_width": 16}
EXTRAS = {"ultralytics_heads": "ultralytics", "mmdet_heads": "mmdet"}  # method -> the extra, and library, it needs
TINY_BERT = {"vocabulary": None, "length": 8, "width": 16, "layers": 1, "heads": 2, "feedforward": 16}
UNNAMED: dict[tuple[str, str], dict[str, Any]] = {  # methods whose sizes params.yaml does not hold
    ("detector", "yolox"): {"width": 0.125, "num_classes": 3, "input_size": 64},
    ("teacher", "zero_shot"): {"num_classes": 8, "num_names": 8, "text": TINY_BERT},
    ("expert", "clip_vit"): TINY_VIT,
    ("expert", "dinov2_vit"): TINY_VIT,
    ("expert", "efficient_sam_vit"): TINY_EFFICIENT,
    ("expert", "clip_convnext"): {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16)},
    ("segmenter", "crop_masks"): {"trunk": {"width": 0.125, "input_size": 64}, "side": 32, "width": 8},
    ("segmenter", "sam"): {"size": "vit_b"},
    ("segmenter", "mobile_sam"): {"depths": (1, 1, 1, 1), "widths": (16, 16, 32, 32), "heads": (1, 1, 2, 2)},
    ("segmenter", "efficient_sam"): {
        "input_size": 64, "encoder": TINY_EFFICIENT, "heads": 2, "layers": 1, "feedforward": 16,
    },
}  # fmt: skip


def methods(*roles: str) -> list[tuple[str, str]]:
    """Role and name of everything that is registered, or of some roles alone."""
    return [(role, name) for role in roles or ROLES for name in ROLES[role].registry]


def settings(role: str, name: str) -> Any:
    """What a method is built from: its section of params.yaml, its line under UNNAMED, or its library's own file."""
    if name in EXTRAS:
        return _settings_of_extra(name)
    kind = resolve(ROLES[role].registry, name, role=role)
    section = SECTIONS.get((role, name), f"{role}s.{name}.model")
    if (role, name) in UNNAMED:
        return kind.Config(**UNNAMED[role, name])
    group, entry, *_ = section.split(".")
    assert entry in load_params(PARAMS).get(group, {}), (
        f"{role} {name} has no entry in params.yaml. Add {section}, small enough for the embedded scenes; or, where it "
        "is only imported, its sizes to UNNAMED in tests/methods.py"
    )
    return read_section(PARAMS, section, kind.Config)


def build(role: str, name: str, *, seed: int = 0, **changes: Any) -> Any:
    """A fresh model; those that read phrases know the words of TEXTS.

    Args:
        changes: Settings that are to differ.
    """
    config, kind = replace(settings(role, name), **changes), resolve(ROLES[role].registry, name, role=role)
    torch.manual_seed(seed)
    words = [build_vocabulary(map(normalise, TEXTS))] if ROLES[role].reads_phrases else []
    model = kind(config, *words)
    assert isinstance(model, nn.Module)
    return model


def _settings_of_extra(name: str) -> Any:
    extra = EXTRAS[name]
    if importlib.util.find_spec(extra) is None:
        pytest.skip(f"{name} needs an extra that is not installed. Run: uv sync --extra {extra}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        if extra == "ultralytics":
            os.environ |= {"YOLO_OFFLINE": "true", "ULTRALYTICS_SAFE_LOAD": "true"}
            from tests.models.detectors.test_ultralytics_heads import write_checkpoint

            write_checkpoint("yolov8n", path)
        else:
            from tests.models.detectors.test_mmdet_heads import theirs, write

            write(*theirs("yolox/yolox_tiny_8xb8-300e_coco.py"), path)
        return resolve(DETECTORS, name, role="detector").read_published(path, input_size=96)[0]


def check_same(one: Any, other: Any) -> None:
    """Equal to the last bit, and no NaN."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            check_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple | list):
        for part, its in zip(one, other, strict=True):
            check_same(part, its)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert np.array_equal(one, other)
