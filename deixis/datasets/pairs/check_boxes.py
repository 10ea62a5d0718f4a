"""Boxes and masks of all rows, once the sizes of their images are known. They become truth and nothing else."""

import json
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.pairs.box_conventions import to_corners
from deixis.datasets.pairs.check_rows import GIVEN_BUT_BAD
from deixis.datasets.pairs.ledger import BATCH, Ledger
from deixis.datasets.pairs.rows import Remark
from deixis.datasets.pairs.settings import BoxConvention
from deixis.imaging.masks import area, polygons_to_rle

COLUMNS = "seq, rows.file, rows.line, box, segmentation, images.width, images.height"


def check_boxes(ledger: Ledger, convention: BoxConvention) -> None:
    """Write corners and masks into the ledger, remark what cannot be scored.

    Raises:
        DataError: If most boxes cannot have been meant so.
    """
    last, misfits, boxes = -1, 0, 0
    example = ""
    while page := list(
        ledger.select(
            f"SELECT {COLUMNS} FROM rows JOIN images ON image = key "
            f"WHERE seq > ? AND box IS NOT NULL AND box <> '{GIVEN_BUT_BAD}' AND NOT refused "
            f"ORDER BY seq LIMIT {BATCH}",
            last,
        )
    ):
        updates, remarks = [], []
        for seq, file, line, box, segmentation, width, height in page:
            corners, code = to_corners(json.loads(box), convention, width=width, height=height)
            boxes += 1
            if code == "E_BOX_RANGE":
                misfits, example = misfits + 1, example or f"{file} row {line}: {box}"
            if code:
                remarks.append(Remark(file, line, code, f"{convention} {box} in {width} x {height}"))
            if corners:
                mask, remark = _read_mask(segmentation, width, height)
                remarks += [Remark(file, line, *remark)] if remark else []
                updates.append((*corners, mask, seq))
        ledger.run("UPDATE rows SET x0=?, y0=?, x1=?, y1=?, mask=? WHERE seq=?", updates)
        ledger.add_remarks(remarks)
        last = page[-1][0]
    if misfits > boxes / 2:
        raise DataError(
            f"{misfits} of {boxes} boxes cannot be {convention}; the first: {example}. Allowed for "
            "datasets.<name>.boxes: xyxy_abs, xywh_abs, cxcywh_norm, yxyx_norm, xyxy_norm_1000, none. "
            "Name the right one in params.yaml"
        )


def _read_mask(segmentation: str | None, width: int, height: int) -> tuple[str | None, Any]:
    """RLE as JSON, and code and value of a remark; a bad mask leaves its box as it is."""
    if segmentation is None:
        return None, None
    parts: Any = json.loads(segmentation)
    try:
        _refuse_far_points(parts, 2 * max(width, height))
        rle = polygons_to_rle(parts, height=height, width=width)
        if not area(rle):
            return None, ("E_MASK_EMPTY", segmentation)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        return None, ("E_MASK_BROKEN", f"{error}: {segmentation}")
    return json.dumps(rle), None


def _refuse_far_points(segmentation: Any, limit: int) -> None:
    """Outlines are walked pixel by pixel: one point far away would take all memory."""
    for part in segmentation if isinstance(segmentation, list) else []:
        if isinstance(part, list) and not all(-limit <= value <= limit for value in part):
            raise ValueError("points far outside the image")
