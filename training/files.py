"""Where a training on images reads and writes: one value, since stages, claims and the training itself hand it on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@dataclass(frozen=True)
class TrainingFiles:
    """Files of one training; pairs and labels are the stage's own matter."""

    images: Path  # images.parquet
    image_root: Path  # folder that its paths start from
    weights: Path  # folder of frozen models; what the model starts from lies there
    out: Path  # folder of the checkpoint
    curves: Path  # CSV of the mean of every term of the loss per epoch
    params: Path = Path("params.yaml")


# On a command line each file is an option of its own, as if the stage had it for a parameter
TrainingOptions = Annotated[TrainingFiles, Parameter(name="*")]
