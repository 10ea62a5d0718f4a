"""Teachers of response maps from params.yaml, and back from their checkpoints."""

from pathlib import Path

import torch

from deixis.core.config import read_section
from deixis.core.registry import resolve
from deixis.roles import MapSettings, MapTeacher
from models.loading.trained import load_trained
from models.map_teachers import MAP_TEACHERS


def map_teacher_config(name: str, params: Path) -> MapSettings:
    """The teacher's `model` section, checked."""
    return read_section(params, f"map_teachers.{name}.model", resolve(MAP_TEACHERS, name, role="map_teacher").Config)


def build_map_teacher(name: str, config: MapSettings, vocabulary: list[str]) -> MapTeacher:
    """A fresh teacher."""
    return resolve(MAP_TEACHERS, name, role="map_teacher")(config, vocabulary)


def load_map_teacher(folder: Path, device: torch.device) -> MapTeacher:
    """A trained teacher, frozen."""
    return load_trained(folder, role="map_teacher", registry=MAP_TEACHERS, device=device)
