"""Draw one flavour of the embedded referring scenes.

reads   params: seed, scenes.<dataset>
writes  instances.json, refs(unc).p, images/: RefCOCO's own format
run     dvc repro make_scenes@scenes
"""

from pathlib import Path

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.datasets.write_scenes import ScenesConfig, write_referring


def make_scenes(*, dataset: str, out: Path, params: Path = Path("params.yaml")) -> None:
    """Draw one flavour of the embedded referring scenes."""
    config = read_section(params, f"scenes.{dataset}", ScenesConfig)
    seed = read_section(params, "seed", int)
    (out / "images").mkdir(parents=True, exist_ok=True)
    write_referring(out, flavour=dataset, config=config, seed=seed)


if __name__ == "__main__":
    run_stage(make_scenes)
