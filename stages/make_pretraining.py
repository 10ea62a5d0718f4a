"""Draw the detection split: what COCO, SA-1B and web pairs are to the papers. No phrase refers to it.

reads   params: seed, pretraining
writes  instances.json, captions.json, images/
run     dvc repro make_pretraining
"""

from pathlib import Path

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.datasets.write_scenes import PretrainingConfig, write_pretraining


def make_pretraining(*, out: Path, params: Path = Path("params.yaml")) -> None:
    """Draw the detection split of the embedded world."""
    config = read_section(params, "pretraining", PretrainingConfig)
    seed = read_section(params, "seed", int)
    (out / "images").mkdir(parents=True, exist_ok=True)
    write_pretraining(out, config=config, seed=seed)


if __name__ == "__main__":
    run_stage(make_pretraining)
