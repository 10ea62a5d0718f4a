"""The square input frame: scale the long side, place, pad, or scale both sides; and back again."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from pydantic.dataclasses import dataclass as settings
from torch import Tensor
from torch.nn import functional as F

from deixis.core.config import STRICT

PAD_VALUE = 127


@settings(frozen=True, config=STRICT)
class Framing:
    """How an image comes into a square: a published model reads images as its own loader scales and places them."""

    place: Literal["centre", "top_left"] = "centre"
    pad: int = PAD_VALUE  # level of the rest
    resize: Literal["antialiased", "bilinear"] = "antialiased"  # Pillow's, or OpenCV's, which does not smooth


CENTRED = Framing()


@dataclass(frozen=True)
class Letterbox:
    """Geometry of one image in a square input. Source: RefCLIP, SimREC and YOLOX loaders (integer truncation).

    Attributes:
        width, height: Stored image, pixels.
        side: Square input, pixels.
        zoom: Share of the square's side that the image's long side fills; the rest is padding.
        stretch: Both sides fill it, whatever the image's proportions.
    """

    width: int
    height: int
    side: int
    zoom: float = 1.0
    stretch: bool = False
    framing: Framing = CENTRED

    @property
    def resized_wh(self) -> tuple[int, int]:
        """Width and height of the image inside the square."""
        ratio = self.width / self.height
        longest = max(1, int(self.side * self.zoom))
        if self.stretch:
            return longest, longest
        if self.framing.place == "top_left":  # YOLOX multiplies where RefCLIP divides; truncation shows the last bit
            scale = longest / max(self.width, self.height)
            return max(1, int(self.width * scale)), max(1, int(self.height * scale))
        if ratio < 1:
            return max(1, int(longest * ratio)), longest
        return longest, max(1, int(longest / ratio))

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Left and top padding."""
        if self.framing.place == "top_left":
            return 0, 0
        width, height = self.resized_wh
        return (self.side - width) // 2, (self.side - height) // 2

    def apply(self, image: Image.Image) -> np.ndarray:
        """RGB image -> uint8 [side, side, 3]."""
        canvas = np.full((self.side, self.side, 3), self.framing.pad, np.uint8)
        width, height = self.resized_wh
        left, top = self.offset_xy
        if image.size == (width, height):
            pixels = np.asarray(image)
        elif self.framing.resize == "bilinear":
            pixels = resize_bilinear(np.asarray(image), width, height)
        else:
            pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        canvas[top : top + height, left : left + width] = pixels
        return canvas

    def boxes_to_input(self, boxes_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
        """Pixels of the stored image -> pixels of the square."""
        return boxes_xyxy * self._scale(boxes_xyxy) + self._shift(boxes_xyxy)

    def boxes_to_image(self, boxes_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
        """Pixels of the square -> pixels of the stored image; not clipped to it."""
        return (boxes_xyxy - self._shift(boxes_xyxy)) / self._scale(boxes_xyxy)

    def mask_to_input(self, mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "side side"]:
        """Pixels of the stored image -> share of each pixel of the square that is covered."""
        canvas = np.zeros((self.side, self.side), np.float32)
        width, height = self.resized_wh
        left, top = self.offset_xy
        levels = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
        canvas[top : top + height, left : left + width] = np.asarray(levels)
        return canvas

    def mask_to_image(self, soft: Float[np.ndarray, "side side"]) -> Float[np.ndarray, "height width"]:
        """Levels per pixel of the square -> per pixel of the stored image; threshold them afterwards."""
        width, height = self.resized_wh
        left, top = self.offset_xy
        content = Image.fromarray(soft[top : top + height, left : left + width].astype(np.float32))
        return np.asarray(content.resize((self.width, self.height), Image.Resampling.BILINEAR))

    def _scale(self, like: Tensor) -> Tensor:
        width, height = self.resized_wh
        return like.new_tensor([width / self.width, height / self.height] * 2)

    def _shift(self, like: Tensor) -> Tensor:
        return like.new_tensor([*self.offset_xy] * 2)


def resize_bilinear(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """OpenCV's `INTER_LINEAR` of uint8 [h, w, 3]: between the four nearest pixels, however much the image shrinks."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False)[0]
    return scaled.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
