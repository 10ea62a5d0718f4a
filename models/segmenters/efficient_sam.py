"""EfficientSAM (Xiong et al. 2024), -Ti or -S: a plain image encoder and a decoder of its own. Published names.

Unlike SAM it stretches images to its square, reads boxes as two points, has three outputs for every prompt, and adds
the self-attention of the first decoder layer to what it read.
"""

from dataclasses import field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from segment_anything.modeling.transformer import Attention
from segment_anything.utils.amg import batched_mask_to_box, build_point_grid, calculate_stability_score
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from deixis.core.config import STRICT
from deixis.core.published import check_published, read_tensors
from deixis.core.runtime import autocast
from deixis.imaging.images import standardise
from models.experts.efficient_sam_vit import EfficientSAMViT, EfficientSAMViTConfig, encoder_config

POINTS = 6  # of each prompt; the rest is filled up
NO_POINT, POINT, TOP_LEFT, BOTTOM_RIGHT = -1, 1, 2, 3  # labels of points; there is none for "not this"
OUTPUTS = 4  # masks per prompt; the first is for training alone
PROMPTS_AT_ONCE = 64  # of the automatic mode, as SAM's
STABILITY_OFFSET, BOX_NMS = 1.0, 0.7  # of the automatic mode, as SAM's


@dataclass(frozen=True, config=STRICT)
class EfficientSAMConfig:
    """Sizes; the defaults are -Ti's. WeakMCN asks with 416 pixels."""

    input_size: int = 1024
    encoder: EfficientSAMViTConfig = field(default_factory=EfficientSAMViTConfig)
    heads: int = 8
    layers: int = 2
    feedforward: int = 2048


class EfficientSAM(nn.Module):
    """A segmenter: image and boxes or points in, masks in stored pixels out."""

    Config = EfficientSAMConfig
    labels = "mask"

    def __init__(self, config: EfficientSAMConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = EfficientSAMViT(config.encoder)
        self.prompt_encoder = PromptEncoder(config.encoder.neck_width)
        self.mask_decoder = MaskDecoder(config)

    @torch.no_grad()
    def segment(
        self, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"], *, best_of_three: bool = True
    ) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]:
        """One mask per box prompt, and the mask quality (IoU) that the model itself predicts.

        Args:
            image: uint8 [height, width, 3], RGB, stored pixels.
            boxes_xyxy: In the same pixels.
            best_of_three: Not asked: its masks of a box are three in any case, and the best is taken.
        """
        logits, quality = self._ask(self._look_at(image), boxes_xyxy.view(-1, 2, 2), (TOP_LEFT, BOTTOM_RIGHT), image)
        return _best(logits, quality)

    @torch.no_grad()
    def segment_points(
        self, image: np.ndarray, points_xy: Float[Tensor, "points 2"]
    ) -> tuple[Bool[np.ndarray, "points h w"], Float[np.ndarray, " points"]]:
        """One mask per point prompt: of the three that a point may mean, the one whose predicted quality is highest."""
        return _best(*self._ask(self._look_at(image), points_xy[:, None], (POINT,), image))

    @torch.no_grad()
    def propose(
        self, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
    ) -> Bool[np.ndarray, "proposals h w"]:
        """Masks of whatever is there: the best one of each point of a grid, if good and stable, without duplicates."""
        height, width = image.shape[:2]
        looked = self._look_at(image)
        grid = torch.from_numpy(build_point_grid(points_per_side) * np.array([width, height])).float()
        masks, qualities = [], []
        for points in grid.split(PROMPTS_AT_ONCE):
            logits, quality = self._ask(looked, points[:, None], (POINT,), image)
            best, row = quality.argmax(1), torch.arange(len(points), device=quality.device)
            logits, quality = logits[row, best], quality[row, best]
            stable = calculate_stability_score(logits, 0.0, STABILITY_OFFSET)
            good = (quality > min_quality) & (stable > min_stability)
            masks.append((logits[good] >= 0).cpu())
            qualities.append(quality[good].cpu())
        drawn, quality = torch.cat(masks), torch.cat(qualities)
        if len(drawn):
            drawn = drawn[nms(batched_mask_to_box(drawn).float(), quality, BOX_NMS)]
        return drawn.numpy()

    def _look_at(self, image: np.ndarray) -> Float[Tensor, "1 channels h w"]:
        side = self.config.input_size
        device = self.image_encoder.pos_embed.device
        pixels = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None].float()
        stretched = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        with autocast(device):
            return self.image_encoder(standardise(stretched)).float()

    def _ask(
        self,
        looked: Float[Tensor, "1 channels h w"],
        points_xy: Float[Tensor, "prompts points 2"],
        labels: tuple[int, ...],
        image: np.ndarray,
    ) -> tuple[Float[Tensor, "prompts masks height width"], Float[Tensor, "prompts masks"]]:
        """Logits of three masks per prompt in stored pixels, and their predicted quality."""
        height, width = image.shape[:2]
        points = points_xy.to(looked.device) / torch.tensor([width, height], device=looked.device)
        sparse = self.prompt_encoder(
            points * self.config.input_size, torch.tensor(labels, device=looked.device), self.config.input_size
        )
        position = self.prompt_encoder.pe_layer(tuple(looked.shape[-2:]))[None]
        logits, quality = self.mask_decoder(looked, position, sparse)
        logits, quality = logits[:, 1:], quality[:, 1:]
        return F.interpolate(logits, (height, width), mode="bicubic", align_corners=False), quality

    @staticmethod
    def read_published(path: Path) -> tuple[EfficientSAMConfig, dict[str, Tensor]]:
        """Sizes and state from the published file; -S is zipped in the release, so unzip it first."""
        tensors, prefix = read_tensors(path), "image_encoder."
        encoder = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        config = EfficientSAMConfig(encoder=encoder_config(encoder, path=path))
        return config, check_published(lambda: EfficientSAM(config), tensors, path=path)


def _best(
    logits: Float[Tensor, "prompts masks height width"], quality: Float[Tensor, "prompts masks"]
) -> tuple[Bool[np.ndarray, "prompts height width"], Float[np.ndarray, " prompts"]]:
    best, row = quality.argmax(1), torch.arange(len(quality), device=quality.device)
    return (logits[row, best] >= 0).cpu().numpy(), quality[row, best].float().cpu().numpy()


class PromptEncoder(nn.Module):
    """Points with labels to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = PositionEmbeddingRandom(width // 2)
        self.invalid_points, self.point_embeddings = nn.Embedding(1, width), nn.Embedding(1, width)
        self.bbox_top_left_embeddings, self.bbox_bottom_right_embeddings = (
            nn.Embedding(1, width),
            nn.Embedding(1, width),
        )

    def forward(
        self, points: Float[Tensor, "prompts points 2"], labels: Int[Tensor, " points"], side: int
    ) -> Float[Tensor, "prompts 6 width"]:
        """Tokens of prompts whose points, in pixels of the model's input, have the same labels each."""
        free = POINTS - points.shape[1]
        points = F.pad(points, (0, 0, 0, free), value=-1.0)
        labels = F.pad(labels, (0, free), value=NO_POINT)
        kinds = {
            NO_POINT: self.invalid_points,
            POINT: self.point_embeddings,
            TOP_LEFT: self.bbox_top_left_embeddings,
            BOTTOM_RIGHT: self.bbox_bottom_right_embeddings,
        }
        kind = torch.cat([kinds[label].weight for label in labels.tolist()])
        return self.pe_layer.forward_with_coords(points + 0.5, (side, side)) + kind  # 0.5: to the pixel's centre


class MaskDecoder(nn.Module):
    """Prompt tokens and an image to masks and their quality."""

    def __init__(self, config: EfficientSAMConfig) -> None:
        super().__init__()
        width = config.encoder.neck_width
        upper, top = width // 4, width // 8
        self.transformer = TwoWayTransformer(config, width)
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(OUTPUTS, width)
        self.final_output_upscaling_layers = nn.ModuleList(
            [
                nn.Sequential(nn.ConvTranspose2d(width, upper, 2, 2), nn.GroupNorm(1, upper), nn.GELU()),
                nn.Sequential(nn.ConvTranspose2d(upper, top, 2, 2), nn.Identity(), nn.GELU()),
            ]
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, top, layers=2) for _ in range(OUTPUTS))
        self.iou_prediction_head = MLP(width, width, OUTPUTS, layers=2)

    def forward(
        self, looked: Tensor, position: Tensor, sparse: Float[Tensor, "prompts tokens width"]
    ) -> tuple[Float[Tensor, "prompts outputs h4 w4"], Float[Tensor, "prompts outputs"]]:
        """Logits at four times the encoder's grid, and predicted quality, of one image and its prompts."""
        prompts, grid = len(sparse), looked.shape[-2:]
        learned = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(prompts, -1, -1)
        places, where = (x.flatten(2).transpose(1, 2).expand(prompts, -1, -1) for x in (looked, position))
        tokens, places = self.transformer(places, where, torch.cat([learned, sparse], 1))
        maps = places.transpose(1, 2).unflatten(2, grid)
        for layer in self.final_output_upscaling_layers:
            maps = layer(maps)
        kernels = [mlp(tokens[:, 1 + output]) for output, mlp in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("pow,pwyx->poyx", torch.stack(kernels, 1), maps)
        return logits, self.iou_prediction_head(tokens[:, 0])


class TwoWayTransformer(nn.Module):
    """Tokens and places read each other."""

    def __init__(self, config: EfficientSAMConfig, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(config, width, is_first=i == 0) for i in range(config.layers))
        self.final_attn_token_to_image = Attention(width, config.heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, places: Tensor, where: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """[prompts, cells, width] twice and [prompts, tokens, width] -> tokens and places."""
        tokens = prompts
        for layer in self.layers:
            tokens, places = layer(tokens, places, prompts, where)
        read = self.final_attn_token_to_image(q=tokens + prompts, k=places + where, v=places)
        return self.norm_final_attn(tokens + read), places


class TwoWayLayer(nn.Module):
    """Tokens read themselves, then the places; then the places read the tokens."""

    def __init__(self, config: EfficientSAMConfig, width: int, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, config.heads)
        self.cross_attn_token_to_image = Attention(width, config.heads, downsample_rate=2)
        self.cross_attn_image_to_token = Attention(width, config.heads, downsample_rate=2)
        self.mlp = MLP(width, config.feedforward, width, layers=1)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, places: Tensor, prompts: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and places in and out; `prompts` and `where` say again what each of them is about."""
        if not self.is_first:
            tokens = tokens + prompts
        tokens = self.norm1(tokens + self.self_attn(q=tokens, k=tokens, v=tokens))
        keys = places + where
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(q=tokens + prompts, k=keys, v=places))
        tokens = self.norm3(tokens + self.mlp(tokens))
        read = self.cross_attn_image_to_token(q=keys, k=tokens + prompts, v=tokens)
        return tokens, self.norm4(places + read)


class MLP(nn.Module):
    """`layers` hidden ones, each with GELU, and a last one without."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(sizes[i], sizes[i + 1]), nn.GELU()) for i in range(layers))
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)
