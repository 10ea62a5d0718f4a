"""PCNet (NeurIPS 2024): a phrase is understood in stages, each led by a cue; its response map shrinks to one object.

TRIS's classification at every stage; between stages the map may not grow more ambiguous among mask proposals (RaS), and
phrases about different objects of an image may not win the same proposal (IaD). Phrases are grouped by the object they
name: supervision beyond pairs, and the card says so. Proposals are needed in training only.

compat `fixed` takes the form of IaD whose gradient acts at a collision; `paper` the published one, which does not.
`released` is the code's: its own fits of map and proposal, no hinge but an anchor, and the foreground is what responds
most (the code asks a CLIP score file that was not published).
"""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.cues.reading import Padding
from deixis.training.draws import drawn
from deixis.training.ranks import gathered
from deixis.types import CueReading, MapBatch, Reading, ResponseMaps
from models.image_text.judges import ImageText, load_image_text
from models.map_blocks.calibration import draw_negatives, masked_cosines, negative_term
from models.map_blocks.phrase_memory import PhraseMemory
from models.map_blocks.referring_stage import Modulation, ReferringStage, StageState, stage_scores
from models.map_blocks.region_losses import (
    Compat,
    Proposals,
    ambiguity,
    best_proposal,
    collisions,
    half_dice,
    likeness,
    pairs_of_objects,
    proposal_scores,
    proposals_of,
    relative,
    released_shrinking,
    shrinking_loss,
    split_regions,
)
from models.map_blocks.shared_stage import SharedStage
from models.map_blocks.text_bank import SCALE, classification_loss, image_logits, same_phrase_pairs
from models.map_blocks.towers import Towers, TowersConfig
from models.map_blocks.whole_batch import whole_batch
from models.text.clip_text import CLIPTextConfig
from models.text.gru_attention import TextConfig

NEVER = -100.0  # score of a padded proposal among raw scores


@dataclass(frozen=True, config=STRICT)
class PCNetConfig:
    """Sizes and switches; widths of the defaults are the published ones."""

    compat: Compat = "fixed"
    input_size: int = 320
    towers: TowersConfig = field(default_factory=TowersConfig)
    width: int = 1024
    judge: str = "contrastive_vit"  # the image-text model whose text tower a GRU starts from, and that may choose maps
    stages: int = 3
    last_stage: Literal["full", "cue"] = "full"  # the last stage's cue is the whole phrase, as in the release
    cue_padding: Padding = "cycle"  # where a phrase has fewer cues than stages read
    update_share: float = 0.1
    modulation: Modulation = "vta_tta"
    shares_weights: bool = False  # between a stage's attentions, as in the release; then not with another modulation
    has_shrinking: bool = True
    has_disambiguation: bool = True
    disambiguation: Literal["winner", "divergence"] = "winner"  # divergence: of the shares of all proposals
    proposal_score: Literal["max", "mean"] = "max"
    warm_epochs: NonNegativeInt = 0  # of classification alone: only a map that means something is worth shrinking
    same_image_negatives: int = 0  # K of TRIS's calibration, on the last stage's map; 0 switches the term off
    objects_per_image: int = 3  # of a training batch, one phrase each; what IaD compares
    pairs_per_image: PositiveInt | None = None  # of these objects, that IaD compares (N_d); null: all
    memory: NonNegativeInt = 0  # phrases of training in sight when an image is asked; 0 as in the release

    def __post_init__(self) -> None:
        if self.shares_weights and self.modulation != "vta_tta":
            raise ConfigError(
                f'pcnet: modulation is "{self.modulation}", and shares_weights is on. Allowed with it: "vta_tta". '
                "Fix params.yaml, then run: dvc repro"
            )

    @property
    def text(self) -> TextConfig | CLIPTextConfig:
        """Settings of the text encoder."""
        return self.towers.text

    @property
    def cue_count(self) -> int:
        """Cues that the stages read beside the whole phrase."""
        return self.stages - (self.last_stage == "full")


class PCNet(nn.Module):
    """Teacher of masks: no box or mask of any object is ever given to it."""

    Config = PCNetConfig

    def __init__(self, config: PCNetConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.judge = config.judge
        self.towers = Towers(config.towers, vocabulary)
        self.pixel_project = nn.Conv2d(self.towers.pixel_width, config.width, 1)
        self.text_project = nn.Linear(self.towers.text_width, config.width)
        self.stages = nn.ModuleList(_build_stage(config) for _ in range(config.stages))
        shape = (1 + config.cue_count, self.reading.length)
        self.memory = PhraseMemory(config.memory, *shape) if config.memory else None
        self._judge: list[ImageText] = []  # in a list: it is no part of the trained model

    @property
    def cue_reading(self) -> CueReading | None:
        """How it reads cues; none where its stages read the phrase alone."""
        return CueReading(self.config.cue_count, self.config.cue_padding) if self.config.cue_count else None

    @property
    def needs_proposals(self) -> bool:
        """Whether training weighs mask proposals."""
        return self.config.has_shrinking or self.config.has_disambiguation

    @property
    def needs_groups(self) -> tuple[str, str] | None:
        """The setting whose loss must know which phrases name one object, and its value when off; None if off."""
        if self.config.has_disambiguation:
            return "has_disambiguation", "false"
        return ("same_image_negatives", "0") if self.config.same_image_negatives else None

    @property
    def reading(self) -> Reading:
        """How images and phrases come to it."""
        return self.towers.reading(self.config.input_size, keep_end=self.config.compat != "released")

    @property
    def starts(self) -> tuple[str, ...]:
        """Folders of frozen models that `start_from` reads."""
        return (*self.towers.starts, self.config.judge) if self._asks_judge else self.towers.starts

    @property
    def _asks_judge(self) -> bool:
        return self.config.same_image_negatives > 0 or not self.towers.has_own_text

    def start_from(self, weights: Path, device: torch.device) -> None:
        """Load the pretrained towers."""
        judge = None
        if self._asks_judge:
            judge = load_image_text(self.config.judge, weights, self.reading.vocabulary, device)
            self._judge = [judge]
        self.towers.start_from(weights, judge)

    def loss(self, batch: MapBatch) -> dict[str, Float[Tensor, ""]]:
        """`class`, a mean over stages, where switched on `negative`, and from `warm_epochs` on the terms of regions."""
        pixels, (texts, cues) = self._pixels(batch), gathered(self._phrases(self._tokens(batch)))
        images, side = len(pixels), round(pixels.shape[1] ** 0.5)
        batch = whole_batch(batch)
        if self.memory is not None:
            self.memory.remember(self._tokens(batch))
        shown = batch.image_of == torch.arange(len(batch.squares), device=pixels.device)[:, None]
        ignored = same_phrase_pairs(batch.tokens, shown) if self.config.compat == "fixed" else None
        row = torch.arange(len(texts), device=pixels.device)
        state = StageState(pixels, texts.expand(images, -1, -1))
        classes, responses = [], []
        for stage, cue in zip(self.stages, cues, strict=True):
            state = stage(state, cue.expand(images, -1, -1))
            scores = gathered(stage_scores(state, SCALE))
            classes.append(classification_loss(image_logits(scores).logits, shown, ignored))
            responses.append(scores[batch.image_of, :, row].unflatten(1, (side, side)))
        terms = {"class": torch.stack(classes).mean()}
        if self.needs_proposals and batch.epoch >= self.config.warm_epochs:
            terms |= self._region_terms(responses, batch)
        if count := self.config.same_image_negatives:
            picked, exists = draw_negatives(batch.tokens, batch.image_of, batch.group_of, count=count)
            cosines = masked_cosines(self._judge[0], responses[-1], batch)
            terms["negative"] = negative_term(cosines.gather(1, picked)[exists])
        return terms

    def _region_terms(self, responses: list[Tensor], batch: MapBatch) -> dict[str, Tensor]:
        assert batch.proposals is not None
        grid = batch.proposals.shape[-2:]
        proposals = proposals_of(batch.proposals.flatten(2).index_select(0, batch.image_of))
        fine = [
            F.interpolate(maps[:, None], size=grid, mode="bilinear", align_corners=True).flatten(1)
            for maps in responses
        ]
        reduce = self.config.proposal_score
        scores = [proposal_scores(maps, proposals, reduce=reduce, padding=NEVER) for maps in fine]
        best = [best_proposal(score.detach(), proposals.area) for score in scores]
        terms = {}
        if self.config.has_shrinking and self.config.stages > 1:
            terms = self._shrinking([relative(maps) for maps in fine], best, proposals)
        if self.config.has_disambiguation:
            terms["collision"] = self._collision(scores, best, batch)
        return terms

    def _shrinking(self, maps: list[Tensor], best: list[Tensor], proposals: Proposals) -> dict[str, Tensor]:
        if self.config.compat == "released":
            row = torch.arange(len(proposals.area), device=proposals.area.device)
            fits = [half_dice(m[:, None], proposals.inside) for m in maps]
            foreground = [fit[row, chosen] for fit, chosen in zip(fits, best, strict=True)]
            background = [fit.scatter(1, chosen[:, None], 0.0).amax(1) for fit, chosen in zip(fits, best, strict=True)]
            stage = drawn(lambda: int(torch.randint(self.config.stages - 1, ())))
            return released_shrinking(foreground, background, stage=stage)
        regions = [split_regions(chosen, proposals.inside) for chosen in best]
        return {"shrinking": shrinking_loss([ambiguity(m, split) for m, split in zip(maps, regions, strict=True)])}

    def _collision(self, scores: list[Tensor], best: list[Tensor], batch: MapBatch) -> Tensor:
        """Mean over stages and pairs of phrases.

        Scores compete in a softmax: what one proposal loses the others win. On the scores themselves the loss only
        pushes down, and settles where no map responds to anything.
        """
        one, other = pairs_of_objects(batch, most=self.config.pairs_per_image)
        if not len(one):
            return scores[0].new_zeros(())
        shares = [score.softmax(-1) for score in scores]
        if self.config.disambiguation == "divergence":
            return torch.cat([likeness(s[one], s[other]) for s in shares]).mean()
        losses = [
            collisions(s[one], s[other], (winner[one], winner[other]), compat=self.config.compat)
            for s, winner in zip(shares, best, strict=True)
        ]
        return torch.cat(losses).mean()

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms: all 1 in the paper; of the release's only these two are known."""
        return {"class": 5.0, "negative": 2.0} if self.config.compat == "released" else {}

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Both towers learn slower than what is new."""
        slow = [p for p in self.towers.parameters() if p.requires_grad]
        new = [p for part in (self.pixel_project, self.text_project, self.stages) for p in part.parameters()]
        return [(slow, self.config.towers.learning_rate_factor), (new, 1.0)]

    @torch.no_grad()
    def respond(self, batch: MapBatch) -> ResponseMaps:
        """The last stage's map of each phrase, whatever the batch: it reads its own cues, and those remembered."""
        pixels = self._pixels(batch).index_select(0, batch.image_of)
        side = round(pixels.shape[1] ** 0.5)
        tokens = self._tokens(batch)
        texts, cues = self._phrases(tokens)
        others, other_cues = self._phrases(tokens[:0] if self.memory is None else self.memory.phrases)
        state = StageState(pixels, _beside(texts, others))
        for stage, cue, other in zip(self.stages, cues, other_cues, strict=True):
            state = stage(state, _beside(cue, other))
        return ResponseMaps(stage_scores(state, SCALE)[..., 0].unflatten(1, (side, side)))

    def _pixels(self, batch: MapBatch) -> Float[Tensor, "images places width"]:
        maps = self.pixel_project(self.towers.pixels(batch.squares))
        return F.normalize(maps.flatten(2).transpose(1, 2), dim=-1)

    def _tokens(self, batch: MapBatch) -> Int[Tensor, "phrases texts length"]:
        """Of each phrase, and of the cues that the stages read."""
        phrase = batch.tokens[:, None]
        if not self.config.cue_count:
            return phrase
        assert batch.cues is not None
        return torch.cat([phrase, batch.cues[:, : self.config.cue_count]], 1)

    def _phrases(
        self, tokens: Int[Tensor, "phrases texts length"]
    ) -> tuple[Float[Tensor, "phrases width"], list[Tensor]]:
        """Phrases and, for each stage, their cues, all of unit length."""
        texts, *cues = (self._project(column) for column in tokens.unbind(1))
        return texts, [*cues, *([texts] if self.config.last_stage == "full" else [])]

    def _project(self, tokens: Tensor) -> Float[Tensor, "phrases width"]:
        return F.normalize(self.text_project(self.towers.texts(tokens)), dim=-1)


def _build_stage(config: PCNetConfig) -> nn.Module:
    if config.shares_weights:
        return SharedStage(config.width, share=config.update_share)
    return ReferringStage(config.width, share=config.update_share, modulation=config.modulation)


def _beside(
    vectors: Float[Tensor, "phrases width"], others: Float[Tensor, "others width"]
) -> Float[Tensor, "phrases texts width"]:
    """For each phrase itself, then the others."""
    return torch.cat([vectors[:, None], others.expand(len(vectors), -1, -1)], 1)
