"""TransVG (Deng et al. 2021): a transformer reads image and phrase together; one token answers with the box.

Of the official augmentations, the random scale (with a random place on the canvas) is kept: it is the scheme's
random resize; the flip is `mirror_share`. Crop and colour jitter are left out. Parameters at the defaults: 149,745,860.

compat `released` reads padding as the release and its pretrained DETR do: zero after standardising, and a cell is
padding where its first pixel is. `fixed` leaves padding grey, and asks the cell's centre.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_giou
from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.core.frozen import freeze
from deixis.imaging.images import standardise
from deixis.language.text import PAD, START
from deixis.language.word_pieces import is_word_pieces
from deixis.training.draws import drawn_rows
from deixis.training.ranks import gathered
from deixis.types import Grounding, ImageMemory, StudentBatch
from models.blocks.coordinates import COORDINATES, with_coordinates
from models.blocks.csp_darknet import CSPConfig, CSPDarkNet, as_input
from models.blocks.detr_encoder import DETREncoder, sine_position
from models.blocks.resnet import ResNetConfig, build_resnet
from models.student_blocks.gaze import attention_term, centre_of_gaze
from models.student_blocks.mirror import mirror, mirrored_words
from models.student_blocks.padding import pad_cells, pad_pixels
from models.student_blocks.placing import Placing, draw_placing, few_placings, place_boxes, place_squares
from models.text.bert import BERT, BERTConfig

GAZE_MARGIN = 0.01  # of the canvas; a reference on the very edge would have no finite logit


@dataclass(frozen=True, config=STRICT)
class TransVGConfig:
    """Sizes; the defaults are the published model."""

    compat: Literal["released", "fixed"] = "fixed"
    input_size: int = 640
    width: int = 256
    heads: int = 8
    feedforward: int = 2048
    visual_layers: int = 6
    joint_layers: int = 6
    dropout: float = 0.1
    scale_range: tuple[float, float] = (0.7, 1.0)  # long side over the canvas in training
    placings: int = 0  # of an image on the canvas, drawn once, of which training draws one; 0: any, drawn anew
    mirror_share: float = 0.0  # of the images, in training; 0.5 in the release. Left and right then change places
    coordinates: bool = False  # where each cell lies joins what it shows; positions alone are in the release
    init_std: float = 1.0  # of the answer token and the learned positions
    pretrained_factor: float = 0.1  # on the learning rate of CNN, visual encoder and BERT
    weight_l1: float = 1.0  # beside a GIoU term of weight 1
    # Help for training from scratch on a few thousand phrases; none of it in the paper (docs/methods.md).
    frozen_backbone: bool = False
    norm_first: bool = False  # in both encoders
    answer_reads_text: bool = False  # the answer token starts from the text's first state instead of from nothing
    box_from_gaze: bool = False  # the centre is an offset from where the answer looks (Conditional DETR's reference)
    weight_attention: float = 0.0  # guides the answer's attention to the target
    cnn: ResNetConfig | None = field(default_factory=ResNetConfig)
    backbone: CSPConfig | None = None  # in place of `cnn`: the pretrained one of the embedded scale
    text: BERTConfig = field(default_factory=BERTConfig)


class TransVG(nn.Module):
    """Student: trains on one box per phrase, whoever drew it."""

    Config = TransVGConfig
    has_score = False
    needs_masks = False
    needs_candidates = False
    onnx_obstacle = None

    def __init__(self, config: TransVGConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary, self.text_length = list(vocabulary), config.text.length
        self.input_size = config.input_size
        width, text = config.width, config.text
        if (config.cnn is None) == (config.backbone is None):
            raise ConfigError(
                "transvg: name one of cnn and backbone and set the other to null. Fix params.yaml, then run: dvc repro"
            )
        self.cnn = build_resnet(config.cnn) if config.cnn else None
        self.backbone = CSPDarkNet(config.backbone) if config.backbone else None
        self.stride = (config.cnn or config.backbone).stride
        channels = self.cnn.num_features if self.cnn else sum(config.backbone.widths[-3:])
        self.normalise = nn.Identity() if self.cnn else nn.BatchNorm2d(channels, affine=False)
        self.input_project = nn.Conv2d(channels + COORDINATES * config.coordinates, width, 1)
        self.visual_encoder = self._encoder(config.visual_layers)
        self.bert = BERT(text, vocabulary)
        self.visual_project = nn.Linear(width, width)
        self.text_project = nn.Linear(text.width, width)
        self.answer = nn.Parameter(config.init_std * torch.randn(width))
        cells = (config.input_size // self.stride) ** 2
        self.position = nn.Parameter(config.init_std * torch.randn(1 + text.length + cells, width))
        self.joint_encoder = self._encoder(config.joint_layers)
        self.box = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )
        self.register_buffer("mirrored_words", mirrored_words(vocabulary), persistent=False)
        if config.frozen_backbone:
            freeze(self.cnn or self.backbone)

    @property
    def starts(self) -> tuple[str, ...]:
        """Pretrained parts: the embedded backbone, or what the published model starts from."""
        return ("backbone",) if self.cnn is None else ("detr", "bert")

    @property
    def detr(self) -> nn.ModuleDict:
        """The parts that a published detector pretrained, by DETR's names."""
        parts = {"cnn": self.cnn, "input_project": self.input_project, "visual_encoder": self.visual_encoder}
        return nn.ModuleDict(parts)

    @property
    def term_weights(self) -> dict[str, float]:
        """Factors of the loss terms."""
        return {"l1": self.config.weight_l1, "giou": 1.0, "attention": self.config.weight_attention}

    def loss(self, batch: StudentBatch) -> dict[str, Float[Tensor, ""]]:
        """`l1`: summed over the four coordinates; `giou`: 1 - GIoU; `attention`, where switched on: see there."""
        assert batch.boxes_norm is not None
        if self.config.mirror_share:
            batch = mirror(batch, self.mirrored_words, share=self.config.mirror_share)
        placing, memory = self._place(batch)
        content, boxes = place_boxes(
            batch.content_xyxy, batch.boxes_norm, batch.image_of, placing, side=batch.squares.shape[-1]
        )
        seen = self._recall(memory) if memory else self._look(place_squares(batch.squares, placing), content)
        predicted, gaze, boxes = gathered((*self._forward(seen, content, batch), boxes))
        terms = box_terms(predicted, boxes)
        if self.config.weight_attention:
            terms["attention"] = attention_term(gaze.float(), boxes)
        return terms

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """New parts at the full learning rate, pretrained ones slower."""
        slow = [
            *(self.cnn or self.backbone).parameters(),
            *self.bert.parameters(),
            *self.visual_encoder.parameters(),
            *self.input_project.parameters(),
        ]
        slow_ids = {id(p) for p in slow}
        fast = [p for p in self.parameters() if id(p) not in slow_ids]
        return [(fast, 1.0), ([p for p in slow if p.requires_grad], self.config.pretrained_factor)]

    @torch.no_grad()
    def predict(self, batch: StudentBatch) -> Grounding:
        """One forward pass, clamped to the canvas. TransVG gives no score: it is 1 for every box."""
        boxes, _ = self._forward(self._look(batch.squares, batch.content_xyxy), batch.content_xyxy, batch)
        corners = cxcywh_to_xyxy(boxes.float()).clamp(0, 1) * batch.squares.shape[-1]
        return Grounding(boxes_xyxy=corners, scores=torch.ones_like(corners[:, 0]))

    def _place(self, batch: StudentBatch) -> tuple[Placing, ImageMemory | None]:
        """Where on the canvas each image goes, and the memory of images placed like that where there is one."""
        config, count = self.config, len(batch.squares)
        if not config.placings:
            placing = drawn_rows(count, lambda images: draw_placing(images, config.scale_range))
            return placing.to(batch.squares.device), None
        drawn = drawn_rows(count, lambda images: torch.randint(config.placings, (images,)))
        placing = few_placings(config.placings, config.scale_range)[drawn].to(batch.squares.device)
        is_kept = batch.memory is not None and self.backbone is not None and config.frozen_backbone
        return placing, batch.memory.views(drawn, of=config.placings) if is_kept else None

    def _recall(self, memory: ImageMemory) -> Tensor:
        """What the frozen backbone sees of images in one of the few placings, turned or not."""
        placings = few_placings(self.config.placings, self.config.scale_range)

        def look(squares: Tensor, view: int) -> list[Tensor]:
            turned, number = divmod(view, self.config.placings)
            placing = placings[torch.full((len(squares),), number)].to(squares.device)
            return [self._look_pooled(place_squares(squares.flip(-1) if turned else squares, placing))]

        return memory.maps(look, kind="placed", kinds=1)[0]

    def _forward(self, seen: Tensor, content_xyxy: Tensor, batch: StudentBatch) -> tuple[Tensor, Tensor]:
        """cx, cy, w, h in [0, 1] of the canvas, and how much the answer token looked at each cell in the end."""
        seen = self.normalise(seen)
        visual = self.input_project(with_coordinates(seen) if self.config.coordinates else seen)
        deciding = "first" if self.config.compat == "released" else "centre"
        is_pad = pad_cells(content_xyxy, side=visual.shape[-1], canvas=batch.squares.shape[-1], deciding=deciding)
        pixels = visual.flatten(2).transpose(1, 2)
        place = sine_position(~is_pad.view(is_pad.shape[0], visual.shape[-1], -1), self.config.width)
        pixels, _ = self.visual_encoder(pixels, place, is_pad)
        pixels, is_pad = pixels.index_select(0, batch.image_of), is_pad[batch.image_of]
        read, is_empty = self._read(batch.tokens)
        answer = self.answer.expand(pixels.shape[0], 1, -1)
        if self.config.answer_reads_text:
            answer = answer + read[:, :1]
        sequence = torch.cat([answer, read, self.visual_project(pixels)], 1)
        words, cells = read.shape[1], pixels.shape[1]
        position = torch.cat([self.position[: 1 + words], self.position[-cells:]])
        ignore = torch.cat([torch.zeros_like(is_empty[:, :1]), is_empty, is_pad], 1)
        sequence, attention = self.joint_encoder(sequence, position, ignore, asking=1)
        gaze = attention[:, 0, -cells:]
        raw = self.box(sequence[:, 0])
        if self.config.box_from_gaze:
            raw = raw + F.pad(centre_of_gaze(gaze).logit(eps=GAZE_MARGIN), (0, 2))
        return raw.sigmoid(), gaze

    def _read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """State of every token, the first one included, and which are empty; as long as the longest phrase."""
        if not is_word_pieces(self.vocabulary):  # they come with a first token of their own
            tokens = F.pad(tokens[:, : self.config.text.length - 1], (1, 0), value=START)
        if not torch.compiler.is_exporting():  # an exported graph has one length
            tokens = tokens[:, : int((tokens != PAD).sum(1).max())]
        valid = tokens != PAD
        return self.text_project(self.bert(tokens, valid)), ~valid

    def _encoder(self, layers: int) -> DETREncoder:
        config = self.config
        return DETREncoder(
            width=config.width, heads=config.heads, feedforward=config.feedforward, layers=layers,
            dropout=config.dropout, norm_first=config.norm_first,
        )  # fmt: skip

    def _look(self, squares: Tensor, content_xyxy: Tensor) -> Tensor:
        """The published CNN's last stage, or what the embedded one's last three show on the coarse grid."""
        if self.cnn is None:
            return self._look_pooled(squares)
        levels = standardise(squares)
        if self.config.compat == "released":
            levels = levels.masked_fill(pad_pixels(content_xyxy, side=squares.shape[-1])[:, None], 0.0)
        return self.cnn.forward_features(levels.contiguous(memory_format=torch.channels_last))

    def _look_pooled(self, squares: Tensor) -> Tensor:
        """The embedded CNN's last three stages, pooled to the coarse grid.

        Colour is plain in the early stages; how much of it the last one keeps differs from seed to seed.
        """
        maps = self.backbone.stage_maps(as_input(squares))
        side = maps[-1].shape[-1]
        return torch.cat([F.adaptive_avg_pool2d(stage, side) for stage in maps], 1)


def box_terms(predicted: Float[Tensor, "batch 4"], target: Float[Tensor, "batch 4"]) -> dict[str, Float[Tensor, ""]]:
    """L1 and GIoU terms between cx, cy, w, h boxes in [0, 1]."""
    predicted = predicted.float()
    giou = paired_giou(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(target))
    l1 = (predicted - target).abs().sum(1)
    return {"l1": l1.mean(), "giou": (1 - giou).mean()}
