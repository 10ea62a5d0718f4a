"""Boxes and masks of all rows, once the sizes of their images are known. They become truth and nothing else."""

import json
from dataclasses import dataclass
from typing import Any

from deixis.core.errors import DataError
from deixis.datasets.pairs.box_conventions import Corners, to_corners
from deixis.datasets.pairs.check_rows import GIVEN_BUT_BAD
from deixis.datasets.pairs.ledger import BATCH, Ledger
from deixis.datasets.pairs.rows import Remark
from deixis.datasets.pairs.settings import BoxConvention
from deixis.datasets.quarantine import Code
from deixis.datasets.segmentations import read_mask
from deixis.datasets.targets import ENOUGH, LOOSE, overlap
from deixis.imaging.masks import RLE, area, tight_box

COLUMNS = "seq, rows.file, rows.line, box, segmentation, images.width, images.height"
Odd = tuple[Code, object]


def check_boxes(ledger: Ledger, convention: BoxConvention, *, is_coco: bool = False) -> None:
    """Write corners and masks into the ledger, remark what cannot be scored.

    Raises:
        DataError: If most boxes cannot have been meant so.
    """
    last, misfits, boxes = -1, 0, 0
    example = ""
    check = MaskCheck()
    while page := list(
        ledger.select(
            f"SELECT {COLUMNS} FROM rows JOIN images ON image = key "
            f"WHERE seq > ? AND box IS NOT NULL AND box <> '{GIVEN_BUT_BAD}' AND NOT refused "
            f"ORDER BY seq LIMIT {BATCH}",
            last,
        )
    ):
        updates, remarks = [], []
        for seq, file, line, *stated in page:
            corners, mask, odd = _read_row(*stated, convention=convention, check=check)
            boxes += 1
            remarks += [Remark(file, line, *remark) for remark in odd]
            if any(code == "E_BOX_RANGE" for code, _ in odd):
                misfits, example = misfits + 1, example or f"{file} row {line}: {stated[0]}"
            if corners:
                updates.append((*corners, json.dumps(mask) if mask else None, seq))
        ledger.run("UPDATE rows SET x0=?, y0=?, x1=?, y1=?, mask=? WHERE seq=?", updates)
        ledger.add_remarks(remarks)
        last = page[-1][0]
    if misfits > boxes / 2:
        allowed = (
            "Allowed in COCO files: left, top, width and height in pixels. Write bbox so, or leave the boxes out with "
            "datasets.<name>.boxes: none"
            if is_coco
            else "Allowed for datasets.<name>.boxes: xyxy_abs, xywh_abs, cxcywh_norm, yxyx_norm, xyxy_norm_1000, none. "
            "Name the right one in params.yaml"
        )
        raise DataError(f"{misfits} of {boxes} boxes cannot be {convention}; the first: {example}. {allowed}")
    check.hold()


def _read_row(
    box: str, segmentation: str | None, width: int, height: int, *, convention: BoxConvention, check: "MaskCheck"
) -> tuple[Corners | None, RLE | None, list[Odd]]:
    """Corners, mask, and what is odd about them."""
    given = json.loads(box)
    corners, code = to_corners(given, convention, width=width, height=height)
    odd: list[Odd] = [(code, f"{convention} {box} in {width} x {height}")] if code else []
    if corners is None:
        return None, None, odd
    mask, of_mask = _read_mask(segmentation, width, height)
    if mask is not None:
        of_mask += check.see(given, corners, mask)
    return corners, mask, odd + of_mask


@dataclass
class MaskCheck:
    """How well boxes hold their masks, which only COCO files have."""

    seen: int = 0
    loose: int = 0
    corners: int = 0  # boxes that would hold their masks if they were corners

    def see(self, given: list[float], box: Corners, mask: RLE) -> list[Odd]:
        """Count one annotation; what is odd about it."""
        self.seen += 1
        height, width = mask["size"]
        tight = tight_box(mask)
        inside = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
        if overlap(inside, tight) >= LOOSE:
            return []
        self.loose += 1
        self.corners += overlap(given, tight) >= LOOSE
        return [("W_BOX_LOOSE", f"{list(box)}, its mask fills {list(tight)}")]

    def hold(self) -> None:
        """Refuse corners where COCO has width and height, if enough masks say so.

        Raises:
            DataError: Saying how to write the boxes.
        """
        if self.seen >= ENOUGH and self.corners > self.seen / 2:
            raise DataError(
                f"{self.corners} of {self.seen} boxes with a mask hold the corners left, top, right and bottom, for "
                "that is where their masks lie. Allowed in COCO files: left, top, width and height. Write bbox so, or "
                "leave the boxes out with datasets.<name>.boxes: none"
            )


def _read_mask(segmentation: str | None, width: int, height: int) -> tuple[RLE | None, list[Odd]]:
    """Mask, and what is odd about it; a bad mask leaves its box as it is."""
    if segmentation is None:
        return None, []
    parts: Any = json.loads(segmentation)
    try:
        mask, dropped = read_mask(parts, width=width, height=height)
    except ValueError as error:
        return None, [("E_MASK_BROKEN", f"{error}: {segmentation}")]
    if mask is None or not area(mask):
        return None, [("E_MASK_EMPTY", segmentation)]
    return mask, [
        ("W_MASK_PART", f"{dropped} of its parts have fewer than three points: {segmentation}")
    ] if dropped else []
