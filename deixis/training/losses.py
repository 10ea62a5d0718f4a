"""Published losses as pure functions, one per term."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def anchor_contrastive_logits(
    text: Float[Tensor, "batch width"],
    anchors: Float[Tensor, "batch kept width"],
    *,
    negatives: int = 2,
    image_of: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch logits"]:
    """Logits of anchor-text contrast with negative anchor augmentation.

    The best anchor of each image, then the runner-up (third best, ...) of every *other* image: `negatives` ranks
    in all. The runner-up of a phrase's own image is neither positive nor negative.

    Args:
        image_of: Which image each row is about, so that rows about one image are no negatives of each other (their
            logits are minus infinity); by default every row stands for an image of its own, as published.

    Returns:
        [batch, batch + (negatives - 1) * (batch - 1)]; the right answer of row b is column b.

    Source: RefCLIP equation 4.
    """
    similarity = torch.einsum("td,avd->tav", text, anchors)
    ranked = similarity.topk(negatives, dim=-1).values
    if image_of is not None:
        ranked = ranked.masked_fill(_share_an_image(image_of)[..., None], -torch.inf)
    runners_up = [_off_diagonal(ranked[..., rank]) for rank in range(1, negatives)]
    return torch.cat([ranked[..., 0], *runners_up], 1)


def _share_an_image(image_of: Int[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    """Which two different rows are about one image."""
    same = image_of[:, None] == image_of
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)


def _off_diagonal(square: Float[Tensor, "n n"]) -> Float[Tensor, "n n-1"]:
    """Each row without its element on the diagonal. A mask would have the host wait for the device to count it."""
    count = len(square)
    return square.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)


def anchor_contrastive_loss(
    text: Float[Tensor, "batch width"],
    anchors: Float[Tensor, "batch kept width"],
    *,
    negatives: int = 2,
    image_of: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of `anchor_contrastive_logits`; log(2B - 1) when all similarities are equal, of as many images."""
    logits = anchor_contrastive_logits(text, anchors, negatives=negatives, image_of=image_of)
    return F.cross_entropy(logits, torch.arange(len(text), device=text.device))


def diversity_loss(probabilities: Float[Tensor, "batch experts"]) -> Float[Tensor, ""]:
    """Negative entropy of the routing, mean over the batch; -log(experts) when all are used equally.

    Source: DViN, L_r.
    """
    return torch.xlogy(probabilities, probabilities).sum(-1).mean()


def text_guided_loss(
    decoded: Float[Tensor, "batch kept width"], text: Float[Tensor, "batch width"]
) -> Float[Tensor, ""]:
    """Mean square distance between the mean of the decoded anchors and the text feature. Source: DViN, L_dt."""
    return F.mse_loss(decoded.mean(1), text)


def vision_guided_loss(
    expert: Float[Tensor, "batch width"],
    detector: Float[Tensor, "batch width"],
    *,
    temperature: float = 0.5,
    image_of: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Each image's expert code must find its own detector code in the batch, by cosine. Source: DViN, L_dv.

    Args:
        image_of: As in `anchor_contrastive_logits`.
    """
    logits = F.normalize(expert, dim=-1) @ F.normalize(detector, dim=-1).T / temperature
    if image_of is not None:
        logits = logits.masked_fill(_share_an_image(image_of), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def clip_loss(
    image: Float[Tensor, "batch width"], text: Float[Tensor, "batch width"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric image-text contrast with a learned scale. Source: Radford et al. 2021."""
    logits = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
