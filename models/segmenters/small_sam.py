"""Prompts to masks with segment-anything: its own modules at any size, asked through its own `SamPredictor`."""

from torch import nn

from models.blocks.build_sam import SmallSAMConfig, build_sam
from models.segmenters import sam_prompts


class SmallSAM(nn.Module):
    """A segmenter: image and boxes or points in, masks in stored pixels out."""

    Config = SmallSAMConfig
    segment, segment_points, propose = sam_prompts.segment, sam_prompts.segment_points, sam_prompts.propose

    def __init__(self, config: SmallSAMConfig) -> None:
        super().__init__()
        self.sam = build_sam(config)
