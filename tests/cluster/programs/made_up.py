"""A store of arrays that depend on the image alone, made slowly; a line in `log` for each shard that is begun."""

import os
import sys
import time
from pathlib import Path

import numpy as np
from above import ancestors

from deixis.batches.features import extract
from deixis.core.cli import run_stage

IMAGES, ROWS, VALUES = 24, 2, 8


def encode(image_ids):
    if len(image_ids) > 1:  # the first one alone is asked for its shape
        with open("log", "a") as log:
            log.write(f"{image_ids[0]} {' '.join(map(str, ancestors(os.getpid())))}\n")
        time.sleep(float(os.environ.get("SECONDS_PER_SHARD", "0")))
    return {"map": np.stack([np.random.default_rng(image_id).standard_normal(VALUES) for image_id in image_ids])}


def made_up(*, out: Path) -> None:
    """Make it."""
    extract(
        range(IMAGES), encode, scratch=Path("scratch/made_up"), out=out, meta={"model": "made up"}, batch_size=ROWS,
        shard_bytes=ROWS * VALUES * 8,
    )  # fmt: skip
    print("published", file=sys.stderr)


if __name__ == "__main__":
    run_stage(made_up)
