"""List the evaluation images of one or several datasets, to keep them out of a detector's training.

The papers' protocol: their detectors learn from COCO without the images of val and test of RefCOCO, RefCOCO+ and
RefCOCOg. `pretrain_detector --exclude` reads such lists; so can any other trainer.

reads   pairs.parquet of the datasets
writes  <name>.parquet and <name>.txt: image ids, sorted, one per row or line
run     dvc repro write_exclusions@refcoco_unc
"""

from pathlib import Path

import pandas as pd

from deixis.core.cli import run_stage
from deixis.core.errors import DataError
from deixis.core.records import read_table, write_atomically, write_table


def write_exclusions(*, pairs: list[Path], out: Path) -> None:
    """List every image that any of the datasets evaluates on.

    Args:
        pairs: Tables of datasets whose images are numbered alike, as all of RefCOCO, RefCOCO+ and RefCOCOg are.
        out: The Parquet file; the text file lies beside it.
    """
    tables = [read_table(path, columns=("image_id", "split"), made_by="prepare") for path in pairs]
    for path, table in zip(pairs, tables, strict=True):
        if not (table["split"] != "train").any():
            raise DataError(f"{path}: has no evaluation split, so there is nothing to leave out. Name another dataset.")
    ids = pd.concat([table.loc[table["split"] != "train", "image_id"] for table in tables])
    listed = ids.drop_duplicates().sort_values().reset_index(drop=True).to_frame()
    write_table(listed, out)
    lines = "".join(f"{image_id}\n" for image_id in listed["image_id"])
    write_atomically(out.with_suffix(".txt"), lambda path: path.write_text(lines, encoding="utf-8"))


if __name__ == "__main__":
    run_stage(write_exclusions)
