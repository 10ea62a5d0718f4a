"""Every registered method through its role alone: trained, saved, loaded, asked. A new one needs no edit here.

tests/methods.py builds each from its entry in params.yaml. That students become ONNX graphs, or say why they cannot,
is tested for every registered one in tests/models/exporting/test_onnx_graph.py: it takes minutes.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.build_sam import _build_sam, sam_model_registry
from torch import Tensor, nn

from deixis.anchors import Survivors
from deixis.batches.survivors import surviving
from deixis.core.checkpoints import save_checkpoint
from deixis.core.frozen import freeze
from deixis.core.records import write_json
from deixis.language.tokens import encode
from deixis.roles import MapSettings, RankingStudent, Settings, Teacher, ZeroShotTeacher, module_of, parameter_groups
from deixis.training.fit import Recipe, fit
from deixis.types import SCALES, BoxMasks, MapBatch, StudentBatch, TeacherBatch
from models.blocks.csp_darknet import CSPDarkNet
from models.experts import EXPERTS
from models.experts.contrastive_objective import CaptionMatcher
from models.frozen.detectors import load_detector
from models.frozen.experts import load_expert
from models.frozen.segmenters import load_segmenter
from models.loading.map_teachers import load_map_teacher
from models.loading.students import load_student
from models.loading.teachers import load_teacher
from models.segmenters.crop_masks import CropMasks
from models.teachers import TEACHERS
from models.text.bert import BERT
from tests.factories import refclip, student_batch, with_candidates
from tests.methods import ROLES, TEXTS, build, check_same, methods, settings

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, batch_size=4, lr=1e-3, warmup_epochs=0)
LATE = 100  # epoch by which every term of every loss is on
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_sam_of_any_size(monkeypatch):
    """The smallest published SAM takes half a minute for an image; its class builds what the registry gives it."""
    sizes = {"encoder_embed_dim": 16, "encoder_depth": 2, "encoder_num_heads": 2, "encoder_global_attn_indexes": []}
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda: _build_sam(**sizes))


@pytest.mark.parametrize(("role", "name"), methods())
def test_a_method_plays_its_role(role, name, tmp_path):
    model = build(role, name)
    check_members(model, role_of(role, model))
    if ROLES[role].reads_phrases:
        check_members(settings(role, name), MapSettings if role == "map_teacher" else Settings)
    TRAIN[role](model, tmp_path)
    folder = save(model, role, name, tmp_path / name)
    loaded = LOAD[role](name, folder)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    module_of(model).requires_grad_(False)  # some processors add up otherwise where a gradient may be wanted
    with torch.no_grad():
        check_same(ANSWER[role](loaded), ANSWER[role](model))


def test_a_method_that_lacks_a_member_fails_by_its_name():
    teacher = refclip()
    check_members(teacher, Teacher)
    del teacher.text_length
    with pytest.raises(AssertionError, match=r"RefCLIP lacks text_length, which the role Teacher"):
        check_members(teacher, Teacher)


def test_a_method_without_an_entry_in_params_is_told_which(monkeypatch):
    monkeypatch.setitem(TEACHERS, "new", "models.teachers.refclip:RefCLIP")
    with pytest.raises(AssertionError, match=r"teacher new has no entry in params.yaml. Add teachers.new.model"):
        build("teacher", "new")


def test_members_are_those_of_the_protocol_and_of_those_it_builds_on():
    assert members(Teacher) >= {"loss", "match", "term_weights", "needs_box_masks", "vocabulary"}
    assert members(RankingStudent) >= {"predict", "choose_attributes", "min_iou"}


# --- members ------------------------------------------------------------------------------------------------------


def members(protocol: type) -> set[str]:
    """Public names that a Protocol declares, those of the Protocols that it builds on included."""
    parts = [part for part in protocol.__mro__ if getattr(part, "_is_protocol", False)]
    names = {name for part in parts for name in (*vars(part), *part.__annotations__)}
    return {name for name in names if not name.startswith("_")}


def role_of(role: str, model: Any) -> type:
    """The Protocol of a role; a student that asks for candidates plays a larger one."""
    if role == "teacher" and not isinstance(model, Teacher):
        return ZeroShotTeacher
    return RankingStudent if getattr(model, "needs_candidates", False) else ROLES[role].protocol


def check_members(model: Any, protocol: type) -> None:
    """Stop with the names of the members that the model lacks."""
    lacking = sorted(name for name in members(protocol) if not hasattr(model, name))
    assert not lacking, (
        f"{type(model).__name__} lacks {', '.join(lacking)}, which the role {protocol.__name__} has. "
        "deixis/roles.py says what each is: add it to the class"
    )


# --- training -----------------------------------------------------------------------------------------------------


def train(model: Any, batch: Any, folder: Path, **options: Any) -> set[str]:
    """Two steps: the loss is finite and trainable weights move. Names of those that moved although frozen."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    facts = fit(
        model, model.loss, lambda epoch: [batch, batch], steps_per_epoch=2, recipe=RECIPE, device=CPU,
        scratch=folder / "scratch", groups=parameter_groups(model), **options,
    )  # fmt: skip
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert np.isfinite(facts["last_loss"])
    assert moved & trains
    return moved - trains


def train_teacher(model: Any, folder: Path) -> None:
    """On features and boxes of the detector; one that is not trained takes what it knows from frozen models."""
    if isinstance(model, ZeroShotTeacher):
        start_untrained(model, folder / "weights")
        return
    assert not train(model, teacher_batch(model), folder, weights=model.term_weights)


def start_untrained(model: Any, weights: Path) -> None:
    """Let one that is not trained take what it knows from fresh frozen models."""
    save_checkpoint(BERT(model.config.text, model.vocabulary), weights / "bert", config={})
    categories = [f"kind {number}" for number in range(model.config.num_classes)]
    write_json({"categories": categories}, weights / "detector" / "config.json")
    model.start_from(weights, CPU)


def train_map_teacher(model: Any, folder: Path) -> None:
    """From the frozen models that it starts from."""
    model.start_from(write_starts(model.starts, folder / "weights"), CPU)
    assert not train(model, map_batch(model), folder, weights=model.term_weights)


def train_student(model: Any, folder: Path) -> None:
    """On boxes, and masks and candidates where it needs them."""
    for name in model.starts:
        assert isinstance(getattr(model, name), nn.Module)  # a pretrained part is loaded into it
    if model.needs_candidates:
        model.choose_attributes(TEXTS)
    assert not train(model, student_batch_of(model), folder, weights=model.term_weights)


def train_expert(model: Any, folder: Path) -> None:
    """With its own objective, where it has one; the others are only imported."""
    if hasattr(model, "objective"):
        objective = model.objective(lambda: [[text] for text in TEXTS])
        generator = torch.Generator().manual_seed(0)
        batch = (squares(side_of("detector", "yolov3")), torch.arange(4), generator)
        learner = nn.ModuleDict({"objective": objective})
        learner.loss = lambda batch: objective.loss(*batch)
        train(learner, batch, folder)  # a slow copy of itself may move, though it learns nothing
    model.eval()


def leave(model: Any, folder: Path) -> None:
    """Detectors and segmenters are trained by stages of their own."""
    model.eval()


# --- what each role is asked --------------------------------------------------------------------------------------


def squares(side: int, *, count: int = 4) -> Tensor:
    """Images of noise in coarse blocks."""
    generator = torch.Generator().manual_seed(1)
    blocks = torch.randint(256, (count, 3, side // 8, side // 8), generator=generator, dtype=torch.uint8)
    return blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)


def side_of(role: str, name: str) -> int:
    """Of the square input."""
    return settings(role, name).input_size


class FrozenExperts:
    """Maps of fresh experts, for images of a batch."""

    def __init__(self, images: Tensor) -> None:
        self._seen = images

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        return freeze(build("expert", expert)).encode(self._seen[rows])


def phrases_about(image_of: Sequence[int]) -> list[str]:
    """As many phrases, which come again after the fourth."""
    return [TEXTS[place % len(TEXTS)] for place in range(len(image_of))]


def teacher_batch(model: Any, image_of: Sequence[int] = (0, 1, 2, 2)) -> TeacherBatch:
    """Phrases about the first few images."""
    detector, texts, count = freeze(build("detector", "yolov3")), phrases_about(image_of), max(image_of) + 1
    images = squares(detector.input_size, count=count)
    masks = None
    if model.needs_box_masks:
        cells = (detector.input_size // detector.strides[0]) ** 2
        drawn = torch.rand(count, cells, 16, 16, generator=torch.Generator().manual_seed(2)) > 0.5
        content = torch.tensor([[0.0, 0.0, detector.input_size, detector.input_size]]).repeat(count, 1)
        masks = BoxMasks(torch.arange(cells).expand(count, cells), drawn, content)
    detections = detector.detect(images, scales=model.box_scales)
    if len(model.box_scales) == len(SCALES):
        detections = surviving(detections, images, Survivors(most=6))
    return TeacherBatch(
        tokens=encode(texts, model.vocabulary, model.text_length),
        image_of=torch.tensor(image_of),
        detections=detections,
        experts=FrozenExperts(images),
        box_masks=masks,
        epoch=LATE,
        texts=tuple(texts),
    )


def student_batch_of(model: Any, image_of: Sequence[int] = (0, 1, 2, 3)) -> StudentBatch:
    """Phrases about the first few images."""
    images, texts = max(image_of) + 1, phrases_about(image_of)
    made = student_batch(len(image_of), side=model.input_size)
    made = replace(
        made,
        squares=squares(model.input_size, count=images),
        content_xyxy=made.content_xyxy[:images],
        tokens=encode(texts, model.vocabulary, model.text_length),
        image_of=torch.tensor(image_of),
    )
    if model.needs_masks:
        masks = torch.zeros(len(image_of), model.input_size, model.input_size)
        masks[:, 40:80, 40:80] = 1
        made = replace(made, masks=masks)
    return with_candidates(made) if model.needs_candidates else made


def map_batch(model: Any, image_of: Sequence[int] = (0, 0, 1, 1)) -> MapBatch:
    """Phrases about the first few images, with cues and proposals where the teacher reads them."""
    reading, cues, proposals = model.reading, None, None
    images, texts = max(image_of) + 1, phrases_about(image_of)
    if model.cue_reading:
        flat = [text for text in texts for _ in range(model.cue_reading.count)]
        cues = encode(flat, reading.vocabulary, reading.length).view(len(texts), -1, reading.length)
    if model.needs_proposals:
        proposals = torch.rand(images, 6, 16, 16, generator=torch.Generator().manual_seed(3)) > 0.7
    return MapBatch(
        squares=squares(reading.side, count=images),
        tokens=encode(texts, reading.vocabulary, reading.length, keep_end=reading.keep_end),
        image_of=torch.tensor(image_of),
        group_of=torch.arange(len(image_of)),
        cues=cues,
        proposals=proposals,
        epoch=LATE,
    )


def segmentations(model: Any) -> tuple[Any, ...]:
    """Of boxes, of points, of whatever is there."""
    boxes, points = torch.tensor([[4.0, 6.0, 40.0, 44.0], [30.0, 8.0, 60.0, 30.0]]), torch.tensor([[20.0, 20.0]])
    if isinstance(model, CropMasks):  # it understands boxes alone, and says so
        return model.segment(IMAGE, boxes)
    proposals = model.propose(IMAGE, points_per_side=2, min_quality=0.0, min_stability=0.0)
    answers = (model.segment(IMAGE, boxes), model.segment_points(IMAGE, points), proposals)
    assert answers[0][0].shape == (2, 48, 64) and answers[1][0].shape == (1, 48, 64)
    return answers


ANSWER: dict[str, Callable[[Any], Any]] = {
    "detector": lambda model: model.detect(squares(model.input_size), scales=SCALES),
    "expert": lambda model: model.encode(squares(side_of("detector", "yolov3"))),
    "segmenter": segmentations,
    "teacher": lambda model: model.match(replace(teacher_batch(model), box_masks=None)),
    "map_teacher": lambda model: model.respond(map_batch(model)),
    "student": lambda model: model.predict(replace(student_batch_of(model), boxes_norm=None, masks=None)),
}
TRAIN: dict[str, Callable[[Any, Path], None]] = {
    "detector": leave,
    "expert": train_expert,
    "segmenter": leave,
    "teacher": train_teacher,
    "map_teacher": train_map_teacher,
    "student": train_student,
}


# --- and back from its folder -------------------------------------------------------------------------------------

LOAD: dict[str, Callable[[str, Path], Any]] = {
    "detector": lambda name, folder: load_detector(folder, CPU),
    "expert": lambda name, folder: load_expert(name, folder, CPU),
    "segmenter": lambda name, folder: load_segmenter(folder, CPU),
    "teacher": lambda name, folder: load_teacher(folder, CPU),
    "map_teacher": lambda name, folder: load_map_teacher(folder, CPU),
    "student": lambda name, folder: load_student(folder, CPU),
}


def save(model: Any, role: str, name: str, folder: Path) -> Path:
    """Weights and card as the stages write them."""
    key = role if ROLES[role].reads_phrases else "kind"
    card = {key: name, "model": asdict(settings(role, name))}
    if ROLES[role].reads_phrases:
        card["vocabulary"] = list(model.reading.vocabulary if role == "map_teacher" else model.vocabulary)
    save_checkpoint(model, folder, config=card)
    return folder


def write_starts(names: tuple[str, ...], weights: Path) -> Path:
    """A folder of fresh frozen models: the students' backbone, and experts with their text tower."""
    for name in names:
        if name == "backbone":
            config = settings("student", "simrec").backbone
            save_checkpoint(CSPDarkNet(config), weights / name, config={"model": asdict(config)})
            continue
        assert name in EXPERTS, f"this test has no frozen model {name}. Allowed: backbone, {', '.join(EXPERTS)}"
        expert = build("expert", name)
        save(expert, "expert", name, weights / name)
        words = ["[PAD]", "[UNK]"]
        matcher = CaptionMatcher(expert.width, words)
        save_checkpoint(matcher, weights / name / "matcher", config={"width": expert.width, "vocabulary": words})
    return weights
