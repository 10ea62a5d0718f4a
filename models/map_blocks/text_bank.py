"""What TRIS and PCNet share: pixels against a bank of phrases, from dot products to an image-level loss.

Each image is told apart by which phrases of the bank it shows. A phrase's dot products with the pixels of its own image
are its response map. Source: TRIS sections 3.1 and 3.2 with the released constants.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.layers import InstanceNorm

Prompt = Literal["none", "to_picture", "both"]
BACKGROUND_LOGIT = 1.0
PENALTY_POWER = 3
PENALTY_FLOOR = 0.01
SCALE = 1 / 0.07  # of dot products; what a learned one starts from
LARGEST_SCALE = 100.0  # of a learned one, as CLIP
PROMPT_SHARE = 0.1


def focal_penalty(share: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Punishes a phrase that claims next to no pixel: (1 - m)^3 log(0.01 + m), from -4.6 at 0 up to 0."""
    return (1 - share) ** PENALTY_POWER * (PENALTY_FLOOR + share).log()


class ImageLogits(NamedTuple):
    """How strongly each image shows each phrase."""

    logits: Float[Tensor, "images texts"]
    shares: Float[Tensor, "images texts"]  # of the pixels, in a softmax over all phrases and a background


def image_logits(scores: Float[Tensor, "images places texts"]) -> ImageLogits:
    """Maximum plus mean over the pixels, plus the penalty of the share that the phrase gets of them."""
    background = torch.full_like(scores[..., :1], BACKGROUND_LOGIT)
    shares = torch.cat([background, scores], -1).softmax(-1)[..., 1:].mean(1)
    return ImageLogits(scores.amax(1) + scores.mean(1) + focal_penalty(shares), shares)


def classification_loss(
    logits: Float[Tensor, "images texts"],
    positive: Bool[Tensor, "images texts"],
    ignored: Bool[Tensor, "images texts"] | None = None,
) -> Float[Tensor, ""]:
    """Mean binary cross-entropy; each phrase is a class of its own, so rows do not compete.

    Args:
        ignored: Pairs that are neither: other phrases about the same image show in it, too.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
    if ignored is None:
        return entropy.mean()
    counted = ~ignored
    return (entropy * counted).sum() / counted.sum()


def same_phrase_pairs(
    tokens: Int[Tensor, "texts length"], shown: Bool[Tensor, "images texts"]
) -> Bool[Tensor, "images texts"]:
    """Pairs of an image and a phrase of another image that says word for word what a phrase of this image says."""
    same = (tokens[:, None] == tokens).all(-1)
    return (shown.float() @ same.float() > 0) & ~shown


class BilateralPrompt(nn.Module):
    """Pixels attend to all phrases, phrases attend to the pixels of each image; both keep most of what they were.

    With a single phrase the pixels' update is one constant per channel, so it shifts a map and moves no peak; other
    phrases beside it make it one that depends on place and phrase, as in training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixel_query, self.pixel_key, self.pixel_value = (_pixel_layer(width, nn.ReLU()) for _ in range(3))
        self.text_query, self.text_key, self.text_value = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(3)
        )
        self.pixel_output = _pixel_layer(width)
        self.text_output = nn.Linear(width, width)

    def forward(
        self, pixels: Float[Tensor, "images width h w"], texts: Float[Tensor, "texts width"]
    ) -> tuple[Float[Tensor, "images width h w"], Float[Tensor, "images texts width"]]:
        """Updates, not yet added: one map per image, and one text per image and phrase."""
        depth = pixels.shape[1] ** 0.5
        query, key, value = self.pixel_query(pixels), self.pixel_key(pixels), self.pixel_value(pixels)
        reads = torch.einsum("ichw,tc->ihwt", query, self.text_key(texts)) / depth
        from_texts = torch.einsum("ihwt,tc->ichw", reads.softmax(-1), self.text_value(texts))
        looks = torch.einsum("tc,icp->itp", self.text_query(texts), key.flatten(2)) / depth
        from_pixels = torch.einsum("itp,icp->itc", looks.softmax(-1), value.flatten(2))
        return self.pixel_output(from_texts), self.text_output(from_pixels)

    def alone(
        self,
        pixels: Float[Tensor, "phrases width h w"],
        texts: Float[Tensor, "phrases width"],
        others: Float[Tensor, "others width"],
    ) -> tuple[Float[Tensor, "#phrases width #h #w"], Float[Tensor, "phrases width"]]:
        """The updates where each image is asked for one phrase, with the same other phrases in sight."""
        looks = torch.einsum("pc,pck->pk", self.text_query(texts), self.pixel_key(pixels).flatten(2))
        weights = (looks / pixels.shape[1] ** 0.5).softmax(-1)
        from_pixels = torch.einsum("pk,pck->pc", weights, self.pixel_value(pixels).flatten(2))
        return tell_alone(self, pixels, texts, others), self.text_output(from_pixels)


class ImagePrompt(nn.Module):
    """One way of the two: pixels attend to all phrases, and phrases stay as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixel_query, self.pixel_output = _pixel_layer(width, nn.ReLU()), _pixel_layer(width)
        self.text_key, self.text_value = (nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(2))

    def forward(
        self, pixels: Float[Tensor, "images width h w"], texts: Float[Tensor, "texts width"]
    ) -> tuple[Float[Tensor, "images width h w"], Float[Tensor, ""]]:
        """Updates as `BilateralPrompt` gives them; that of the phrases is nothing."""
        reads = torch.einsum("ichw,tc->ihwt", self.pixel_query(pixels), self.text_key(texts)) / pixels.shape[1] ** 0.5
        from_texts = torch.einsum("ihwt,tc->ichw", reads.softmax(-1), self.text_value(texts))
        return self.pixel_output(from_texts), texts.new_zeros(())

    def alone(
        self,
        pixels: Float[Tensor, "phrases width h w"],
        texts: Float[Tensor, "phrases width"],
        others: Float[Tensor, "others width"],
    ) -> tuple[Float[Tensor, "#phrases width #h #w"], Float[Tensor, ""]]:
        """The updates where each image is asked for one phrase, with the same other phrases in sight."""
        return tell_alone(self, pixels, texts, others), texts.new_zeros(())


def tell_alone(
    prompt: BilateralPrompt | ImagePrompt,
    pixels: Float[Tensor, "phrases width h w"],
    texts: Float[Tensor, "phrases width"],
    others: Float[Tensor, "others width"],
) -> Float[Tensor, "#phrases width #h #w"]:
    """What the pixels of each image are told by its own phrase and the others.

    Without others the softmax over one phrase is one: every pixel is told the same, of which the norm leaves its bias.
    """
    if not len(others):
        return prompt.pixel_output[1].bias[None, :, None, None]
    query = prompt.pixel_query(pixels)
    matches = torch.einsum("pchw,pc->phw", query, prompt.text_key(texts))
    reads = torch.cat([matches[..., None], torch.einsum("pchw,oc->phwo", query, prompt.text_key(others))], -1)
    shares = (reads / pixels.shape[1] ** 0.5).softmax(-1)
    from_texts = torch.einsum("phw,pc->pchw", shares[..., 0], prompt.text_value(texts))
    from_texts = from_texts + torch.einsum("phwo,oc->pchw", shares[..., 1:], prompt.text_value(others))
    return prompt.pixel_output(from_texts)


def _pixel_layer(width: int, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 1), InstanceNorm(width), *after)


class TextBank(nn.Module):
    """Scores of every pixel of every image for every phrase of a batch.

    Args:
        learns_scale: Whether the factor of the dot products is trained, as the paper says, or fixed, as in the release.
    """

    def __init__(
        self, pixel_width: int, text_width: int, width: int, *, prompt: Prompt = "both", learns_scale: bool = False
    ) -> None:
        super().__init__()
        self.pixel_project = nn.Conv2d(pixel_width, width, 1)
        self.text_project = nn.Linear(text_width, width)
        kinds = {"to_picture": ImagePrompt, "both": BilateralPrompt}
        self.prompt = None if prompt == "none" else kinds[prompt](width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE))) if learns_scale else None

    @property
    def scale(self) -> float | Float[Tensor, ""]:
        """Factor of the dot products."""
        return SCALE if self.log_scale is None else self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def forward(
        self, maps: Float[Tensor, "images pixel_width h w"], texts: Float[Tensor, "texts text_width"]
    ) -> Float[Tensor, "images places texts"]:
        """Scaled dot products; places are row-major."""
        pixels = F.normalize(self.pixel_project(maps), dim=1)
        bank = F.normalize(self.text_project(texts), dim=-1)
        shown = bank.expand(len(pixels), -1, -1)
        if self.prompt is not None:
            pixel_update, text_update = self.prompt(pixels, bank)
            pixels, shown = pixels + PROMPT_SHARE * pixel_update, shown + PROMPT_SHARE * text_update
        return self.scale * torch.einsum("icp,itc->ipt", pixels.flatten(2), shown)

    def alone(
        self,
        maps: Float[Tensor, "phrases pixel_width h w"],
        texts: Float[Tensor, "phrases text_width"],
        others: Float[Tensor, "others text_width"],
    ) -> Float[Tensor, "phrases h w"]:
        """Each phrase's response map on its own image; `others`, if any, are in sight of all."""
        pixels = F.normalize(self.pixel_project(maps), dim=1)
        shown = F.normalize(self.text_project(texts), dim=-1)
        if self.prompt is not None:
            pixel_update, text_update = self.prompt.alone(pixels, shown, F.normalize(self.text_project(others), dim=-1))
            pixels, shown = pixels + PROMPT_SHARE * pixel_update, shown + PROMPT_SHARE * text_update
        return self.scale * torch.einsum("pchw,pc->phw", pixels, shown)
