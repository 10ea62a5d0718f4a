"""What students that read a whole image at once share: sizes, and one set of maps per phrase."""

from dataclasses import field

from jaxtyping import Float, Int, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.core.config import STRICT
from deixis.training.resize import ResizeMode
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.blocks.darknet import DarkNetBackbone, DarkNetConfig
from models.text.gru_attention import TextConfig


@dataclass(frozen=True, config=STRICT)
class OneStageConfig:
    """Sizes; the defaults are SimREC's."""

    input_size: int = 416
    resize_sides: tuple[int, ...] = tuple(range(224, 609, 32))  # training draws one per step
    resize_mode: ResizeMode = "bilinear"  # SimREC's release uses nearest
    backbone: CSPConfig | DarkNetConfig = field(default_factory=CSPConfig)  # the latter is MCN's; no card provides it
    frozen_backbone: bool = False  # all but the last stage; needs pretrained weights to make sense
    text: TextConfig = field(default_factory=lambda: TextConfig(layers=1))


def build_backbone(config: OneStageConfig) -> CSPDarkNet | DarkNetBackbone:
    """The backbone, frozen as the config says."""
    kind = DarkNetBackbone if isinstance(config.backbone, DarkNetConfig) else CSPDarkNet
    backbone = kind(config.backbone)
    if config.frozen_backbone:
        backbone.freeze_all_but_last()
    return backbone


def phrase_maps(
    backbone: CSPDarkNet | DarkNetBackbone,
    squares: UInt8[Tensor, "images 3 side side"] | Float[Tensor, "images 3 side side"],
    image_of: Int[Tensor, " phrases"],
) -> list[Float[Tensor, "phrases channels h w"]]:
    """Fine, middle and coarse map of each phrase's image; an image is read once."""
    return [x.index_select(0, image_of) for x in backbone(as_input(squares))]
