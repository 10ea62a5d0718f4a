"""MAttNet's three modules: how well a region matches a phrase by its look, by its place, and by what lies beside it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models.student_blocks.regions import Regions

SCALE = 20.0  # to which normalised features are stretched at first; learned


class JointSpace(NamedTuple):
    """Where regions and phrases meet."""

    width: int
    dropout: float

    def embed(self, width: int) -> nn.Sequential:
        """From vectors of some width into the space."""
        joint = self.width
        return nn.Sequential(
            nn.Linear(width, joint), RowNorm(joint), nn.ReLU(), nn.Dropout(self.dropout),
            nn.Linear(joint, joint), RowNorm(joint),
        )  # fmt: skip


class Appearance(NamedTuple):
    """What the subject module sees in each region, whatever the phrase."""

    cells: Float[Tensor, "regions cells values"]  # coarse features, then attribute features
    attribute_logits: Float[Tensor, "regions attributes"]


class Subject(nn.Module):
    """What a region looks like, where in it the phrase looks."""

    def __init__(
        self, middle: int, coarse: int, phrase: int, *, attributes: int, attribute_dropout: float, joint: JointSpace
    ) -> None:
        super().__init__()
        width = joint.width
        self.middle_scale, self.coarse_scale, self.phrase_scale = map(ScaledNorm, (middle, coarse, phrase))
        self.fuse = nn.Linear(middle + coarse, width)
        self.fuse_norm = nn.BatchNorm1d(width)
        self.attributes = nn.Sequential(nn.Dropout(attribute_dropout), nn.Linear(width, attributes))
        self.look = nn.Linear(coarse + width, width)  # with `listen` one layer of cell and phrase
        self.listen = nn.Linear(phrase, width, bias=False)
        self.place = nn.Linear(width, 1)
        self.match = Matching(coarse + width, phrase, joint)

    def describe(self, regions: Regions) -> Appearance:
        """Cells of every region, and its attributes."""
        middle, coarse = self.middle_scale(regions.middle), self.coarse_scale(regions.coarse)
        fused = self.fuse(torch.cat([coarse, middle], -1))
        fused = self.fuse_norm(fused.flatten(0, 1)).view_as(fused).relu()
        return Appearance(torch.cat([coarse, fused], -1), self.attributes(fused.mean(1)))

    def forward(
        self, appearance: Appearance, phrase: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]
    ) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        hidden = torch.tanh(self.look(appearance.cells)[region] + self.listen(self.phrase_scale(phrase))[:, None])
        weights = self.place(hidden).softmax(1).transpose(1, 2)
        return self.match((weights @ appearance.cells[region]).squeeze(1), phrase)


class Location(nn.Module):
    """Where a region lies in the image and among the nearest of its category."""

    def __init__(self, phrase: int, *, neighbours: int, joint: JointSpace) -> None:
        super().__init__()
        around = 5 * neighbours
        self.scale, self.around_scale = ScaledNorm(5), ScaledNorm(around)
        self.project = nn.Linear(5 + around, joint.width)
        self.match = Matching(joint.width, phrase, joint)

    def forward(self, regions: Regions, phrase: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        where = torch.cat([self.scale(regions.location), self.around_scale(regions.around)], -1)
        return self.match(self.project(where)[region], phrase)


class Relation(nn.Module):
    """Beside what a region lies: its best matching neighbour; 0 where it has none."""

    def __init__(self, coarse: int, phrase: int, *, joint: JointSpace) -> None:
        super().__init__()
        self.scale, self.offset_scale = ScaledNorm(coarse), ScaledNorm(5)
        self.project = nn.Linear(coarse + 5, joint.width)
        self.match = Matching(joint.width, phrase, joint)

    def forward(self, regions: Regions, phrase: Float[Tensor, "pairs width"], region: Int[Tensor, " pairs"]) -> Tensor:
        """Scores of pairs in [-1, 1]."""
        valid = regions.context_valid[region]
        pair, slot = valid.nonzero(as_tuple=True)
        looks = self.scale(regions.coarse.mean(1))[regions.context[region[pair], slot]]
        beside = torch.cat([looks, self.offset_scale(regions.context_offsets[region[pair], slot])], -1)
        return best_context(self.match(self.project(beside), phrase[pair]), valid)


class Matching(nn.Module):
    """Cosine of a region's and a phrase's images in a joint space."""

    def __init__(self, visual: int, phrase: int, joint: JointSpace) -> None:
        super().__init__()
        self.visual, self.phrase = joint.embed(visual), joint.embed(phrase)

    def forward(self, visual: Float[Tensor, "pairs visual"], phrase: Float[Tensor, "pairs width"]) -> Tensor:
        """Cosines of pairs."""
        return F.cosine_similarity(self.visual(visual).float(), self.phrase(phrase).float(), dim=-1)


class RowNorm(nn.BatchNorm1d):
    """BatchNorm, except that fewer than two rows, which have no spread, are normalised as in evaluation.

    Its rows are pairs of the whole batch, of which each of several processes has all: there is nothing to synchronise.
    """

    def forward(self, input: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Normalise each column."""
        if len(input) < 2:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class ScaledNorm(nn.Module):
    """Vectors of length 1, then a learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), SCALE))

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Normalise the last axis."""
        return F.normalize(x.float(), dim=-1) * self.factor


def best_context(scores: Float[Tensor, " contexts"], valid: Bool[Tensor, "pairs slots"]) -> Float[Tensor, " pairs"]:
    """Highest score of each pair's contexts, 0 for pairs without any; in the release pads score 0 and may win.

    Args:
        scores: Of the valid slots alone, row by row.
    """
    padded = scores.new_full(valid.shape, -torch.inf).masked_scatter(valid, scores)
    return torch.where(valid.any(1), padded.amax(1), 0.0)
