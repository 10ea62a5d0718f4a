"""What frozen models say about pictures at hand, for teachers, where no stored feature fits."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from deixis.imaging.images import ImageReader
from deixis.samples import unique_images
from deixis.tokens import encode
from deixis.types import TeacherBatch


class LiveExpertMaps:
    """Runs an expert on the pictures at hand, when asked for its map."""

    def __init__(self, experts: dict[str, Any], squares: UInt8[Tensor, "images 3 side side"]) -> None:
        self._experts = experts
        self._squares = squares

    def maps(self, expert: str, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows channels h w"]:
        """Maps of one expert for some images of the batch."""
        return self._experts[expert].encode(self._squares[rows])


class LivePairReader:
    """Phrases with their pictures, put to the detector at once and to an expert when it is asked for.

    Args:
        pairs: Columns image_id and text.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        images: ImageReader,
        *,
        detector: Any,
        experts: dict[str, Any],
        vocabulary: Sequence[str],
        length: int,
        device: torch.device,
    ) -> None:
        self._image_ids = pairs["image_id"].tolist()
        self._tokens = encode(pairs["text"].tolist(), vocabulary, length)
        self._images = images
        self._detector = detector
        self._experts = experts
        self._device = device

    @torch.no_grad()
    def batch(self, rows: Sequence[int]) -> TeacherBatch:
        """Some pairs, by position."""
        ids, image_of = unique_images([self._image_ids[row] for row in rows])
        squares = self._images.squares(ids).to(self._device)
        return TeacherBatch(
            tokens=self._tokens[list(rows)].to(self._device),
            image_of=image_of.to(self._device),
            detections=self._detector.detect(squares),
            experts=LiveExpertMaps(self._experts, squares),
        )
