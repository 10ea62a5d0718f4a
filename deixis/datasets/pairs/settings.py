"""What a user says about a corpus of their own: one entry of `datasets` in params.yaml."""

from dataclasses import field
from typing import Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT, Share

Format = Literal["jsonl", "json", "csv", "parquet", "hf", "coco", "sidecars"]
# Corners or corner and size, in pixels of the image or as shares of its sides; `none` leaves boxes out.
BoxConvention = Literal["xyxy_abs", "xywh_abs", "cxcywh_norm", "yxyx_norm", "xyxy_norm_1000", "none"]


@dataclass(frozen=True, config=STRICT)
class Fields:
    """Names of columns or keys. `image` and `text` must be there; the others are read where they are."""

    image: str = "image"
    text: str = "text"
    id: str = "id"
    box: str = "box"
    split: str = "split"
    group: str = "group"  # phrases of one image with equal values are about one object

    def named(self) -> set[str]:
        """Optional columns that the user named, which must therefore be there."""
        return {value for name, value in vars(self).items() if name not in ("image", "text") and value != name}


@dataclass(frozen=True, config=STRICT)
class PairsConfig:
    """A corpus of images and phrases; boxes are optional and only ever used to evaluate.

    Attributes:
        source: File, folder or pattern under the raw folder, as "data/train-*.parquet"; by default whatever is there.
        format: By default told by the names of the files.
        fields: Names of columns or keys.
        boxes: How boxes are written; must be said where there are any. COCO's are always xywh_abs.
        splits: Names of splits to take, and what they are called here, as {train: train, dev: val}; rows of others are
            left out. By default all, with validation, valid and dev called val.
        val_share: Where the corpus names no splits: share of the images that go to val, among those whose every
            phrase has a box; the others all go to train.
        long_text: Words above which a phrase is noted as long; models read the first 15 to 20.
        licence: Of the images.
        images_from: The published set that the images are from, as check_leakage names them.
        max_quarantined: Share of refused rows that is still tolerated.
    """

    adapter: str = "pairs"
    source: str = ""
    format: Format | None = None
    fields: Fields = field(default_factory=Fields)
    boxes: BoxConvention | None = None
    splits: dict[str, str] = field(default_factory=dict)
    val_share: Share = 0.1
    long_text: PositiveInt = 20
    licence: str = "unknown"
    images_from: str | None = None
    max_quarantined: Share = 0.01
