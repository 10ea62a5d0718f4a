"""The detector's most confident boxes of every image: answers are compared with them, and ranking students choose.

reads   images.parquet, the detector's feature store; params: candidates
writes  detections.parquet: of each image the best box of each kept cell, most confident first, and its category
run     dvc repro list_candidates@scenes
"""

from pathlib import Path

from deixis.batches.candidates import CandidateParams, most_confident_boxes
from deixis.batches.features import FeatureStore, stored_frames
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_table, write_table


def list_candidates(*, images: Path, features: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """List the detector's most confident boxes of every image."""
    config = read_section(params, "candidates", CandidateParams)
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare")
    frames = stored_frames(features, sizes)
    write_table(most_confident_boxes(FeatureStore(features), frames, keep_fraction=config.keep_fraction), out)


if __name__ == "__main__":
    run_stage(list_candidates)
