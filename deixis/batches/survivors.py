"""What suppression leaves of a detector's boxes: their cells, and the colours in them."""

from jaxtyping import UInt8
from torch import Tensor

from deixis.anchors import Survivors, best_boxes, gather_cells, surviving_cells
from deixis.imaging.colour_names import colour_shares
from deixis.types import Detections


def surviving(detections: Detections, squares: UInt8[Tensor, "batch 3 side side"], rule: Survivors) -> Detections:
    """The most confident boxes of all cells that suppression leaves, most confident first.

    Args:
        detections: Of the boxes of all scales.
        squares: The images that they were found in, RGB.
    """
    cells = surviving_cells(detections.boxes, rule)
    kept = gather_cells(detections.boxes, cells)
    colours = colour_shares(squares, best_boxes(kept).corners)
    return Detections(maps=detections.maps, boxes=kept, cells=cells, colours=colours)
