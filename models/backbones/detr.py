"""DETR's network and transformer encoder (Carion et al. 2020), from which TransVG starts.

Only how the published file is read: TransVG has the same parts and takes them over by name.
"""

from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.published import check_published, read_tensors, renamed
from models.blocks.detr_encoder import DETREncoder
from models.blocks.resnet import ResNetConfig, build_resnet

TO_OURS = {
    r"^backbone\.0\.body\.": "cnn.",
    r"^input_proj\.": "input_project.",
    r"^transformer\.encoder\.": "visual_encoder.",
    r"\.self_attn\.": ".attention.",
    r"\.linear1\.": ".feedforward.0.",
    r"\.linear2\.": ".feedforward.3.",
    r"\.norm1\.": ".norm_attention.",
    r"\.norm2\.": ".norm_feedforward.",
}
DETECTION = ("transformer.decoder.", "class_embed.", "bbox_embed.", "query_embed.")


@dataclass(frozen=True, config=STRICT)
class DETRConfig:
    """Sizes; the defaults are DETR-R50's."""

    cnn: ResNetConfig = field(default_factory=ResNetConfig)
    width: int = 256
    heads: int = 8
    feedforward: int = 2048
    layers: int = 6


class DETR(nn.Module):
    """What TransVG shares with it; neither runs by itself."""

    Config = DETRConfig

    def __init__(self, config: DETRConfig) -> None:
        super().__init__()
        self.cnn = build_resnet(config.cnn)
        self.input_project = nn.Conv2d(self.cnn.num_features, config.width, 1)
        self.visual_encoder = DETREncoder(
            width=config.width, heads=config.heads, feedforward=config.feedforward, layers=config.layers
        )

    @staticmethod
    def read_published(path: Path) -> tuple[DETRConfig, dict[str, Tensor]]:
        """Sizes and state of a DETR-R50; what only detection needs is left aside.

        TransVG takes from such a file what fits and says nothing of the rest; here every other tensor must be known.

        Raises:
            DataError: If a tensor is missing, unknown or of another shape; lists all of them.

        Source: facebookresearch/detr, `models/detr.py`; TransVG, `models/visual_model/detr.py`.
        """
        tensors = {name: tensor for name, tensor in read_tensors(path).items() if not name.startswith(DETECTION)}
        config = DETRConfig()
        return config, check_published(lambda: DETR(config), renamed(tensors, TO_OURS), path=path)
