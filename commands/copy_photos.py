"""`deixis copy-photos`: a folder of photographs with phrases to where the graph finds it."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deixis.core.errors import ConfigError
from deixis.core.progress import say
from deixis.datasets.photos import copy_photos as copy

VARIABLE = "DEIXIS_PHOTOS"


def copy_photos(folder: Annotated[Path | None, Parameter()] = None, /, *, out: Path = Path("data/raw/photos")) -> None:
    """Copy a folder of photographs, COCO's boxes and phrases to where `scales/photographs.yaml` expects it.

    DVC sees no variable of the environment, so stages read nothing but the copy.

    Args:
        folder: Holds images/, instances.json and phrases.jsonl; by default what the variable DEIXIS_PHOTOS names.
        out: Where it goes.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        raise ConfigError(f"no folder was named, and {VARIABLE} is not set. Run: deixis copy-photos FOLDER")
    count = copy(named, out)
    say(f"{out}: {count} phrases. Next: cp scales/photographs.yaml params.yaml && dvc repro")
