"""Prompts to masks with segment-anything: its own modules at any size, asked through its own `SamPredictor`."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from deixis.core.config import STRICT


@dataclass(frozen=True, config=STRICT)
class SmallSAMConfig:
    """Sizes; the defaults are SAM ViT-B's."""

    input_size: int = 1024
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    prompt_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_feedforward: int = 2048


def build_sam(config: SmallSAMConfig) -> Sam:
    """Assemble segment-anything's modules."""
    grid = config.input_size // config.patch
    encoder = ImageEncoderViT(
        img_size=config.input_size, patch_size=config.patch, embed_dim=config.width, depth=config.depth,
        num_heads=config.heads, mlp_ratio=4, out_chans=config.prompt_width, qkv_bias=True, use_rel_pos=True,
        window_size=config.window, global_attn_indexes=config.global_blocks,
    )  # fmt: skip
    prompts = PromptEncoder(
        embed_dim=config.prompt_width, image_embedding_size=(grid, grid),
        input_image_size=(config.input_size, config.input_size), mask_in_chans=16,
    )  # fmt: skip
    transformer = TwoWayTransformer(
        depth=config.decoder_depth, embedding_dim=config.prompt_width, num_heads=config.decoder_heads,
        mlp_dim=config.decoder_feedforward,
    )  # fmt: skip
    decoder = MaskDecoder(
        num_multimask_outputs=3, transformer=transformer, transformer_dim=config.prompt_width,
        iou_head_depth=3, iou_head_hidden_dim=config.prompt_width,
    )  # fmt: skip
    return Sam(encoder, prompts, decoder)


class SmallSAM(nn.Module):
    """A segmenter: image and boxes or points in, masks in stored pixels out."""

    Config = SmallSAMConfig

    def __init__(self, config: SmallSAMConfig) -> None:
        super().__init__()
        self.sam = build_sam(config)

    @torch.no_grad()
    def segment(
        self, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"]
    ) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]:
        """One mask per box prompt, and the mask quality (IoU) that the model itself predicts.

        Args:
            image: uint8 [height, width, 3], RGB, stored pixels.
            boxes_xyxy: In the same pixels.
        """
        predictor = self._look_at(image)
        prompts = predictor.transform.apply_boxes_torch(boxes_xyxy.to(predictor.device), image.shape[:2])
        masks, quality, _ = predictor.predict_torch(None, None, boxes=prompts, multimask_output=False)
        return masks[:, 0].cpu().numpy(), quality[:, 0].float().cpu().numpy()

    @torch.no_grad()
    def segment_points(
        self, image: np.ndarray, points_xy: Float[Tensor, "points 2"]
    ) -> tuple[Bool[np.ndarray, "points h w"], Float[np.ndarray, " points"]]:
        """One mask per point prompt: of the three that a point may mean, the one whose predicted quality is highest."""
        predictor = self._look_at(image)
        prompts = predictor.transform.apply_coords_torch(points_xy.to(predictor.device), image.shape[:2])
        inside = torch.ones(len(prompts), 1, device=predictor.device)
        masks, quality, _ = predictor.predict_torch(prompts[:, None], inside, multimask_output=True)
        best = quality.argmax(1)
        row = torch.arange(len(best), device=best.device)
        return masks[row, best].cpu().numpy(), quality[row, best].float().cpu().numpy()

    @torch.no_grad()
    def propose(
        self, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
    ) -> Bool[np.ndarray, "proposals h w"]:
        """Masks of whatever is there: segment-anything's automatic mode, prompted by a grid of points."""
        generator = SamAutomaticMaskGenerator(
            self.sam, points_per_side=points_per_side, pred_iou_thresh=min_quality, stability_score_thresh=min_stability
        )
        found = [proposal["segmentation"] for proposal in generator.generate(image)]
        return np.stack(found) if found else np.zeros((0, *image.shape[:2]), bool)

    def _look_at(self, image: np.ndarray) -> SamPredictor:
        predictor = SamPredictor(self.sam)
        predictor.set_image(image)
        return predictor
