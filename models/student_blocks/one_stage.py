"""What students that read a whole image at once share: sizes, and one set of maps per phrase."""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.config import STRICT
from deixis.training.resize import ResizeMode, resized
from deixis.types import StudentBatch
from models.blocks.coordinates import COORDINATES, with_coordinates
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.blocks.darknet import DarkNetBackbone, DarkNetConfig
from models.text.gru_attention import TextConfig

Backbone = CSPDarkNet | DarkNetBackbone


@dataclass(frozen=True, config=STRICT)
class OneStageConfig:
    """Sizes; the defaults are SimREC's."""

    input_size: int = 416
    resize_sides: tuple[int, ...] = tuple(range(224, 609, 32))  # training draws one per step
    resize_mode: ResizeMode = "bilinear"  # SimREC's release uses nearest
    backbone: CSPConfig | DarkNetConfig = field(default_factory=CSPConfig)  # the latter is MCN's; no card provides it
    frozen_backbone: bool = False  # all but the last stage; needs pretrained weights to make sense
    coordinates: bool = False  # where each cell lies joins what it shows before that meets the phrase; in no release
    text: TextConfig = field(default_factory=lambda: TextConfig(layers=1))

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of the backbone's maps, fine to coarse, as the phrase meets them."""
        return tuple(width + COORDINATES * self.coordinates for width in self.backbone.widths)


@runtime_checkable
class Resizing(Protocol):
    """How a student reads images in training."""

    @property
    def resize_sides(self) -> tuple[int, ...]: ...
    @property
    def resize_mode(self) -> ResizeMode: ...
    @property
    def frozen_backbone(self) -> bool: ...


def build_backbone(config: OneStageConfig) -> Backbone:
    """The backbone, frozen as the config says."""
    kind = DarkNetBackbone if isinstance(config.backbone, DarkNetConfig) else CSPDarkNet
    backbone = kind(config.backbone)
    if config.frozen_backbone:
        backbone.freeze_all_but_last()
    return backbone


def training_maps(
    backbone: Backbone,
    batch: StudentBatch,
    config: Resizing,
    *,
    side: int,
    show: Callable[[Tensor, int], Tensor] | None = None,
) -> Sequence[Tensor]:
    """Fine, middle and coarse map of each of the batch's images, resampled to `side` pixels, one of the config's.

    What is frozen in the backbone is computed once per image and side, as far as the batch has a memory with room.

    Args:
        show: Images in the view of a number, where the batch has several of each.
    """

    def begin(squares: Tensor) -> Sequence[Tensor]:
        return backbone.begin(as_input(resized(squares, side, mode=config.resize_mode)))

    if batch.memory is None or not config.frozen_backbone:
        return backbone.finish(begin(batch.squares))

    def look(squares: Tensor, view: int) -> Sequence[Tensor]:
        return begin(show(squares, view) if show else squares)

    return backbone.finish(batch.memory.maps(look, kind=side, kinds=len(config.resize_sides)))


def phrase_maps(
    maps: Sequence[Tensor], image_of: Int[Tensor, " phrases"], *, coordinates: bool = False
) -> list[Tensor]:
    """Maps of images -> of each phrase's image, with the coordinates of their cells where these are asked for."""
    return [(with_coordinates(x) if coordinates else x).index_select(0, image_of) for x in maps]
