"""Teachers from params.yaml, and back from their checkpoints."""

from pathlib import Path

import torch

from deixis.core.config import read_section
from deixis.core.registry import resolve
from deixis.roles import Settings, Weigher, stored_experts
from models.loading.trained import load_trained
from models.teachers import TEACHERS


def teacher_config(name: str, params: Path) -> Settings:
    """The teacher's `model` section, checked."""
    return read_section(params, f"teachers.{name}.model", resolve(TEACHERS, name, role="teacher").Config)


def build_teacher(name: str, config: Settings, vocabulary: list[str]) -> Weigher:
    """A fresh teacher."""
    return resolve(TEACHERS, name, role="teacher")(config, vocabulary)


def feature_names(teacher: Weigher) -> tuple[str, ...]:
    """Feature stores that its training reads."""
    return ("detector", *stored_experts(teacher), *(["box_masks"] if teacher.needs_box_masks else []))


def load_teacher(folder: Path, device: torch.device) -> Weigher:
    """A trained teacher, frozen."""
    return load_trained(folder, role="teacher", registry=TEACHERS, device=device)
