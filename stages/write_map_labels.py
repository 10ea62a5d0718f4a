"""Let a teacher of response maps answer every pair: mask, box and point each: `labels.parquet`. No truth is read.

reads   pairs.parquet, images.parquet, the images, the teacher, the segmenter; cues and proposals for teachers that read
        them, a frozen image-text model where phrases of one object share the best of their maps; params: map_labels
writes  labels.parquet
run     dvc repro write_map_labels@scenes_plus-tris, with tris under run.map_teachers in params.yaml
"""

from pathlib import Path

import numpy as np

from answering.response_maps import MapLabelParams, finish_map_labels, read_maps
from deixis.batches.features import FeatureStore
from deixis.batches.map_data import MapReader, read_needed_cues, refuse_other_squares
from deixis.batches.samples import grouped_pairs
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import DataError
from deixis.core.progress import say
from deixis.core.records import read_json, read_table, write_table
from deixis.core.runtime import Device, pick_device
from deixis.labelling.segmenting import segment_points
from deixis.roles import MapTeacher
from models.frozen.segmenters import load_segmenter
from models.image_text.judges import load_image_text
from models.loading.map_teachers import load_map_teacher


def write_map_labels(
    *,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    teacher: Path,
    out: Path,
    cues: Path | None = None,
    proposals: Path | None = None,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Let a teacher of response maps answer every pair."""
    rules = read_section(params, "map_labels", MapLabelParams)
    hardware = pick_device(device)
    model = load_map_teacher(teacher, hardware)
    store = weighed_proposals(model, proposals, rules)
    table = grouped_pairs(pairs).sort_values("image_id", kind="stable").reset_index(drop=True)
    image_table = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    reader = MapReader(
        table,
        image_table,
        image_root=image_root,
        reading=model.reading,
        device=hardware,
        cues=read_needed_cues(model, cues, table["text"]),
    )
    judge = None
    if rules.select != "none":
        judge = load_image_text(model.judge, weights, model.reading.vocabulary, hardware)
    paths = {
        image_id: image_root / path for image_id, path in image_table[["image_id", "path"]].itertuples(index=False)
    }
    labelled = read_maps(model, reader, table, paths=paths, rules=rules, judge=judge, proposals=store)
    if rules.prompted:
        segmenter = load_segmenter(weights / "segmenter", hardware)
        labelled["prompted_mask"], labelled["mask_quality"] = segment_points(segmenter, labelled, paths=paths)
    else:
        labelled["mask_quality"] = np.nan  # what the segmenter thinks of its own mask
    if store is not None:
        bare = labelled.loc[labelled["proposal_mask"].isna(), "image_id"].nunique()
        say(f"{bare} of {labelled['image_id'].nunique()} images without a proposal")
    card = read_json(teacher / "config.json", made_by="train_map_teacher")
    write_table(finish_map_labels(labelled, rules, card), out)


def weighed_proposals(model: MapTeacher, proposals: Path | None, rules: MapLabelParams) -> FeatureStore | None:
    """The mask proposals, where the teacher weighs some or the labels' masks are to be of them; else None.

    Raises:
        DataError: If masks are to be of them, and there are none.
    """
    wanted = rules.mask == "proposal"
    if wanted and (proposals is None or not proposals.exists()):
        raise DataError(
            'map_labels.mask is "proposal", and this teacher has none. Allowed for it: map, walk, segmenter; or all of '
            "run.datasets in run.proposals. Change params.yaml, then run: dvc repro"
        )
    if proposals is None or not (wanted or model.needs_proposals):
        return None
    refuse_other_squares(proposals, stretch=model.reading.stretch)
    return FeatureStore(proposals, made_by="propose_masks")


if __name__ == "__main__":
    run_stage(write_map_labels)
