"""Students from params.yaml, and back from their checkpoints."""

from pathlib import Path
from typing import Any

import torch

from deixis.core.config import read_section
from deixis.core.registry import resolve
from models.students import STUDENTS
from models.trained import load_trained


def student_config(name: str, params: Path) -> Any:
    """The student's `model` section, checked."""
    return read_section(params, f"students.{name}.model", resolve(STUDENTS, name, role="student").Config)


def build_student(name: str, config: Any, vocabulary: list[str]) -> Any:
    """A fresh student."""
    return resolve(STUDENTS, name, role="student")(config, vocabulary)


def load_student(folder: Path, device: torch.device) -> Any:
    """A trained student, frozen."""
    return load_trained(folder, role="student", registry=STUDENTS, device=device)
