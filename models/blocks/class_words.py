"""Class words as an expert: what the detector takes the thing at each cell for, said in a text encoder's words.

Phrases and these maps then share one space, whose words were learned elsewhere: few pairs are enough to read it.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from deixis.anchors import best_boxes
from deixis.types import SCALES, Detections, Scale


def class_word_maps(
    detections: Detections, words: Float[Tensor, "classes width"], scales: Sequence[Scale]
) -> dict[Scale, Float[Tensor, "images width h w"]]:
    """At each cell the mean of the categories' words, weighed by the scores of its best box and by its objectness.

    Where suppression chose among the cells, the others have nothing.

    Args:
        scales: Of whose cells the boxes are, one after the other; all where suppression chose.
    """
    best = best_boxes(detections.boxes)
    shares = best.classes / best.classes.sum(-1, keepdim=True).clamp(min=1e-6)
    said = shares @ words * best.objectness.sqrt()[..., None]
    sides = {scale: detections.maps[SCALES.index(scale)].shape[-2:] for scale in scales}
    if detections.cells is not None:
        cells = sum(height * width for height, width in sides.values())
        nothing = said.new_zeros(len(said), cells, said.shape[-1])
        said = nothing.scatter(1, detections.cells[..., None].expand_as(said), said)
    parts = said.split([height * width for height, width in sides.values()], dim=1)
    return {
        scale: part.transpose(1, 2).unflatten(2, (height, width))
        for (scale, (height, width)), part in zip(sides.items(), parts, strict=True)
    }
