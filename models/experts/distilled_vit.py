"""Self-distilled vision transformer (namesake: DINO, DINOv2): patch states, learned from images alone."""

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.frozen import freeze
from deixis.imaging.images import standardise
from models.experts.vit import VisionTransformer


@dataclass(frozen=True, config=STRICT)
class DistilledViTConfig:
    """Sizes; the defaults are DINOv2's base model on the teachers' input resized to 364 pixels."""

    input_size: int = 364
    patch: int = 14
    width: int = 768
    depth: int = 12
    heads: int = 12
    prototypes: int = 4096
    teacher_momentum: float = 0.99
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    centre_momentum: float = 0.9


class DistilledViT(nn.Module):
    """Squares in, one vector per patch out: after the final norm, class token dropped."""

    Config = DistilledViTConfig
    labels = "none"

    def __init__(self, config: DistilledViTConfig) -> None:
        super().__init__()
        self.config = config
        self.vit = VisionTransformer(
            input_size=config.input_size, patch=config.patch, width=config.width, depth=config.depth, heads=config.heads
        )

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Patch states; images of another side are resized bilinearly first."""
        images = standardise(squares)
        side = self.config.input_size
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        _, patches = self.vit(images)
        return self.vit.to_map(self.vit.norm(patches))

    def objective(self, captions: Callable[[], list[list[str]]]) -> nn.Module:
        """What this expert is pretrained with; it never asks for captions."""
        return SelfDistillation(self)


class SelfDistillation(nn.Module):
    """Two views of an image must agree: the student follows a slow average of itself, centred and sharpened."""

    def __init__(self, expert: DistilledViT) -> None:
        super().__init__()
        config = expert.config
        self.expert = expert
        width = config.width
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.prototypes)
        )
        self.slow_vit, self.slow_head = freeze(copy.deepcopy(expert.vit)), freeze(copy.deepcopy(self.head))
        self.register_buffer("centre", torch.zeros(config.prototypes))

    def loss(
        self, squares: UInt8[Tensor, "batch 3 side side"], rows: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`agreement`: cross-entropy from each view's slow answer to the other view's answer."""
        config = self.expert.config
        self._follow()
        images = standardise(squares)
        views = [random_view(images, generator) for _ in range(2)]
        with torch.no_grad():
            slow = [self.slow_head(self._state(self.slow_vit, view)) for view in views]
            targets = [((logits - self.centre) / config.teacher_temperature).softmax(-1) for logits in slow]
            mean = torch.cat(slow).mean(0)
            self.centre.mul_(config.centre_momentum).add_(mean, alpha=1 - config.centre_momentum)
        answers = [self.head(self._state(self.expert.vit, view)) / config.student_temperature for view in views]
        pairs = ((targets[0], answers[1]), (targets[1], answers[0]))
        losses = [-(target * answer.log_softmax(-1)).sum(-1).mean() for target, answer in pairs]
        return {"agreement": torch.stack(losses).mean()}

    @staticmethod
    def _state(vit: VisionTransformer, view: Tensor) -> Tensor:
        return vit.norm(vit(view)[0])

    @torch.no_grad()
    def _follow(self) -> None:
        live = [*self.expert.vit.parameters(), *self.head.parameters()]
        slow = [*self.slow_vit.parameters(), *self.slow_head.parameters()]
        rate = 1 - self.expert.config.teacher_momentum
        torch._foreach_lerp_(slow, [p.detach() for p in live], rate)


def random_view(images: Float[Tensor, "batch 3 side side"], generator: torch.Generator) -> Tensor:
    """A random crop of 50 to 100 % of the area, maybe mirrored, with changed brightness and contrast; same size."""
    batch = len(images)
    uniform = torch.rand(6, batch, generator=generator).to(images.device)
    scale = (0.5 + 0.5 * uniform[0]).sqrt()
    mirror = torch.where(uniform[1] < 0.5, -1.0, 1.0)
    shift_x, shift_y = ((2 * uniform[row] - 1) * (1 - scale) for row in (2, 3))
    zero = torch.zeros_like(scale)
    theta = torch.stack([torch.stack([scale * mirror, zero, shift_x], 1), torch.stack([zero, scale, shift_y], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    view = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast = torch.exp((2 * uniform[4] - 1) * math.log(1.4))[:, None, None, None]
    return view * contrast + (0.6 * uniform[5] - 0.3)[:, None, None, None]
