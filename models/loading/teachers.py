"""Teachers from params.yaml, and back from their checkpoints."""

from collections.abc import Iterable
from pathlib import Path

import torch

from deixis.core.config import read_section
from deixis.core.registry import resolve
from deixis.roles import Settings, Weigher, stored_experts
from models.frozen.starts import read_vocabulary
from models.loading.trained import load_trained
from models.teachers import TEACHERS
from models.text.clip_phrases import read_clip_pieces


def teacher_config(name: str, params: Path) -> Settings:
    """The teacher's `model` section, checked."""
    return read_section(params, f"teachers.{name}.model", resolve(TEACHERS, name, role="teacher").Config)


def build_teacher(name: str, config: Settings, vocabulary: list[str]) -> Weigher:
    """A fresh teacher."""
    return resolve(TEACHERS, name, role="teacher")(config, vocabulary)


def teacher_vocabulary(config: Settings, weights: Path, texts: Iterable[str]) -> list[str]:
    """The words of training texts, or what was published with its text encoder; CLIP's pieces last, if it reads them.

    Args:
        weights: Folder of frozen models.
        texts: Training texts only.
    """
    words = read_vocabulary(config.text, weights, texts)
    by_rule = getattr(config, "prior", None) or config
    return [*words, *read_clip_pieces(weights)] if getattr(by_rule, "crops", None) else words


def feature_names(teacher: Weigher) -> tuple[str, ...]:
    """Feature stores that its training reads."""
    return ("detector", *stored_experts(teacher), *(["box_masks"] if teacher.needs_box_masks else []))


def load_teacher(folder: Path, device: torch.device) -> Weigher:
    """A trained teacher, frozen."""
    return load_trained(folder, role="teacher", registry=TEACHERS, device=device)
