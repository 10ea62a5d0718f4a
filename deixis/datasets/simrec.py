"""`anns/<set>.json` of RefCLIP and SimREC: {split: [{iid, bbox, cat_id, refs, mask_id}]}, boxes x, y, width, height.

Training rows hold all phrases of a ref, the others one each; `mask_id` is the ref's id, and `cat_id` counts COCO's
classes from 0 without gaps. Images are found by id. Masks, if stored, are `<masks>/<mask_id>.npy`, parts added up.
Source: luogen1996/SimREC (data/data_process.py).
"""

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import DataError
from deixis.datasets.refer_files import read_json
from deixis.datasets.referring import ReferringConfig, ReferringSource, RefRow, ingest_referring
from deixis.datasets.segmentations import NO_MASK
from deixis.datasets.tables import id_key, known_split, whole_ids

IDS = ("iid", "mask_id", "cat_id")


@dataclass(frozen=True, config=STRICT)
class SimRECConfig(ReferringConfig):
    """One annotation file."""

    file: str = "anns/refcoco.json"  # in the raw folder
    masks: str | None = None  # folder of masks in the raw folder; none: boxes only, as RefCLIP has them


class SimRECAdapter:
    """Reads one annotation file of RefCLIP or SimREC."""

    Config = SimRECConfig

    def __init__(self, config: SimRECConfig) -> None:
        self.config = config

    def ingest(self, *, raw: Path, out: Path, dataset: str) -> None:
        """Write the tables of one file."""
        file = raw / self.config.file
        masks = None if self.config.masks is None else raw / self.config.masks
        source = translate(read_json(file, what="RefCLIP's anns/<set>.json"), file=file, masks=masks)
        ingest_referring(source, self.config, raw=raw, out=out, dataset=dataset)


def translate(splits: Any, *, file: Path, masks: Path | None) -> ReferringSource:
    """Rows of all splits in RefCOCO's words; sentences are numbered as they come.

    Raises:
        DataError: If the file is not a list per split.
    """
    if not isinstance(splits, dict) or not all(isinstance(rows, list) for rows in splits.values()):
        raise DataError(
            f"{file}: not a list of annotations per split. Allowed: RefCLIP's anns/<set>.json. "
            "Fetch it again, then run: dvc repro prepare"
        )
    images: dict[str, Any] = {}
    annotations: list[Any] = []
    refs: list[RefRow] = []
    sentences = 0
    for split, row in [(split, whole_ids(row, *IDS)) for split, rows in splits.items() for row in rows]:
        line = len(refs)
        if _is_row(row):
            images.setdefault(str(row["iid"]), {"id": row["iid"]})
            annotations.append(_annotation(row, f"{file.name}:{line}", masks))
            texts = [{"sent_id": sentences + place, "raw": text} for place, text in enumerate(row["refs"])]
            sentences += len(texts)
            ids = {"ref_id": row["mask_id"], "ann_id": f"{file.name}:{line}", "image_id": row["iid"]}
            row = ids | {"category_id": row.get("cat_id"), "split": known_split(split), "sentences": texts}
        refs.append(RefRow(file, line, row))
    return ReferringSource(
        file=file,
        images=list(images.values()),
        annotations=annotations,
        categories={},
        refs=refs,
        lists_every_object=False,
    )


def _is_row(row: Any) -> bool:
    ids = isinstance(row, dict) and None not in (id_key(row.get("iid")), id_key(row.get("mask_id")))
    return ids and isinstance(row.get("refs"), list)


def _annotation(row: dict[str, Any], name: str, masks: Path | None) -> dict[str, Any]:
    stored = masks is not None and str(row["mask_id"]).isdecimal()  # a number cannot leave the folder
    mask = masks / f"{row['mask_id']}.npy" if masks is not None and stored else NO_MASK
    return {"id": name, "image_id": row["iid"], "bbox": row.get("bbox"), "segmentation": mask}
