"""TRIS (ICCV 2023), step 1: a phrase's dot products with the pixels of its image are its response map.

Images are classified by which phrases of the batch they show; a frozen image-text model then asks of each map whether
what it leaves of the image still says the phrase, and no phrase about another object of the same image. Phrases are
grouped by the object they name: that is supervision beyond pairs, and the card says so.

compat `released` takes the mean over same-image negatives with weights 5, 1, 2; `paper` their sum with weights 5, 1, 1.
On CLIP's text tower, `released` also cuts the last token off long phrases, which makes one phrase of them all.
`fixed` is `released`, but the last token stays, and a phrase that an image is not paired with counts as absent only if
it differs from all that the image is paired with.
"""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.training.ranks import gathered
from deixis.types import MapBatch, Reading, ResponseMaps
from models.image_text.judges import ImageText, load_image_text
from models.map_blocks.calibration import draw_negatives, masked_cosines, negative_term, positive_term
from models.map_blocks.phrase_memory import PhraseMemory
from models.map_blocks.text_bank import Prompt, TextBank, classification_loss, image_logits, same_phrase_pairs
from models.map_blocks.towers import Towers, TowersConfig
from models.map_blocks.whole_batch import whole_batch
from models.text.clip_text import CLIPTextConfig
from models.text.gru_attention import TextConfig


@dataclass(frozen=True, config=STRICT)
class TRISConfig:
    """Sizes and switches; widths of the defaults are the published ones."""

    compat: Literal["paper", "released", "fixed"] = "fixed"
    input_size: int = 320
    towers: TowersConfig = field(default_factory=TowersConfig)
    width: int = 1024
    judge: str = "contrastive_vit"  # the frozen image-text model; a GRU starts from its text tower
    prompt: Prompt = "both"  # which way phrases and images tell each other; to_picture: phrases stay as they are
    has_positive_term: bool = True
    same_image_negatives: int = 3  # K; 0 switches the term off
    objects_per_image: int = 3  # of a training batch, one phrase each
    learns_temperature: bool = False  # as the paper says; the release leaves it out of its optimiser
    memory: NonNegativeInt = 0  # phrases of training in sight when an image is asked; 0 as in the release

    @property
    def text(self) -> TextConfig | CLIPTextConfig:
        """Settings of the text encoder."""
        return self.towers.text


class TRIS(nn.Module):
    """Teacher of masks: no box or mask of any object is ever given to it."""

    Config = TRISConfig
    needs_proposals = False
    cue_reading = None

    def __init__(self, config: TRISConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.judge = config.judge
        self.towers = Towers(config.towers, vocabulary)
        self.bank = TextBank(
            self.towers.pixel_width,
            self.towers.text_width,
            config.width,
            prompt=config.prompt,
            learns_scale=config.learns_temperature,
        )
        self.memory = PhraseMemory(config.memory, self.reading.length) if config.memory else None
        self._judge: list[ImageText] = []  # in a list: it is no part of the trained model

    @property
    def needs_groups(self) -> tuple[str, str] | None:
        """The setting whose loss must know which phrases name one object, and its value when off; None if off."""
        return ("same_image_negatives", "0") if self.config.same_image_negatives else None

    @property
    def reading(self) -> Reading:
        """How images and phrases come to it."""
        return self.towers.reading(self.config.input_size, keep_end=self.config.compat != "released")

    @property
    def starts(self) -> tuple[str, ...]:
        """Folders of frozen models that `start_from` reads."""
        return (*self.towers.starts, self.config.judge)

    def start_from(self, weights: Path, device: torch.device) -> None:
        """Load the pretrained towers, and the frozen judge."""
        judge = load_image_text(self.config.judge, weights, self.reading.vocabulary, device)
        self.towers.start_from(weights, judge)
        self._judge = [judge]

    def loss(self, batch: MapBatch) -> dict[str, Float[Tensor, ""]]:
        """`class`, and where switched on `positive` and `negative` of the calibration."""
        pixels, texts = self.towers.pixels(batch.squares), gathered(self.towers.texts(batch.tokens))
        scores, batch = gathered(self.bank(pixels, texts)), whole_batch(batch)
        if self.memory is not None:
            self.memory.remember(batch.tokens)
        shown = batch.image_of == torch.arange(len(scores), device=scores.device)[:, None]
        ignored = same_phrase_pairs(batch.tokens, shown) if self.config.compat == "fixed" else None
        terms = {"class": classification_loss(image_logits(scores).logits, shown, ignored)}
        if not (self.config.has_positive_term or self.config.same_image_negatives):
            return terms
        row = torch.arange(len(batch.tokens), device=scores.device)
        responses = scores[batch.image_of, :, row].unflatten(1, pixels.shape[-2:])
        cosines = masked_cosines(self._judge[0], responses, batch)
        if self.config.has_positive_term:
            terms["positive"] = positive_term(cosines.diagonal())
        if self.config.same_image_negatives:
            count = self.config.same_image_negatives
            picked, exists = draw_negatives(batch.tokens, batch.image_of, batch.group_of, count=count)
            reduction = "sum" if self.config.compat == "paper" else "mean"
            terms["negative"] = negative_term(cosines.gather(1, picked)[exists], reduction=reduction)
        return terms

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"class": 5.0, "positive": 1.0, "negative": 1.0 if self.config.compat == "paper" else 2.0}

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Both towers learn slower than what is new."""
        slow = [p for p in self.towers.parameters() if p.requires_grad]
        return [(slow, self.config.towers.learning_rate_factor), (list(self.bank.parameters()), 1.0)]

    @torch.no_grad()
    def respond(self, batch: MapBatch) -> ResponseMaps:
        """One response map per phrase, each phrase by itself: no other phrase of the batch changes it."""
        pixels = self.towers.pixels(batch.squares).index_select(0, batch.image_of)
        texts = self.towers.texts(batch.tokens)
        remembered = batch.tokens[:0] if self.memory is None else self.memory.phrases
        return ResponseMaps(self.bank.alone(pixels, texts, self.towers.texts(remembered)))
