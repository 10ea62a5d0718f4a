"""The seed of training, apart from that of the world: other trainings on the same images and phrases."""

from pathlib import Path

from deixis.core.config import load_params, read_section


def read_training_seed(params: Path) -> int:
    """`training_seed`, by which teachers and students are trained; without it `seed`, which draws the world as well."""
    return read_section(params, "training_seed" if "training_seed" in load_params(params) else "seed", int)
