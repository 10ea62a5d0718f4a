"""One training step of every method of scales/paper.yaml, from files of the published layouts and sizes.

The files are imported by the stage that imports the real ones. Experts' maps and the segmenter's masks are made up:
that published experts and segmenters load and what they say has tests of its own.
"""

import re
import zlib
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deixis.core.config import load_params, read_section
from deixis.core.registry import resolve
from deixis.language.tokens import encode
from deixis.roles import parameter_groups
from deixis.training.adamw import AdamW
from deixis.training.fit import Recipe
from deixis.types import BoxMasks, MapBatch, StudentBatch, TeacherBatch
from deixis.weights.cards import CARDS, find_card
from deixis.weights.locate import pin, resolve_weights
from models.frozen.detectors import load_detector
from models.frozen.starts import named_vectors, read_vocabulary, start_part, start_words
from models.loading.students import build_student, student_config
from models.loading.teachers import build_teacher, teacher_config
from models.map_teachers import MAP_TEACHERS
from stages.import_weights import import_weights
from tests.factories import with_candidates
from tests.models.detectors.test_published_yolov3 import random_weights
from tests.models.published.factories import squares
from tests.models.published.layouts import (
    bert_base,
    clip_resnet_50,
    clip_text,
    clip_vit_b_32,
    detr_r50,
    merges,
    word_pieces,
)
from tests.models.published.test_csp_darknet import release

pytestmark = [pytest.mark.slow, pytest.mark.large]

PAPER = Path(__file__).parents[3] / "scales" / "paper.yaml"
CPU = torch.device("cpu")
TEXTS = ["red man", "left man", "man left of red man", "red"]  # of image 0, 0, 1 and 1
BOXES = torch.tensor([[0.5, 0.5, 0.3, 0.4], [0.3, 0.4, 0.2, 0.3], [0.6, 0.5, 0.5, 0.6], [0.4, 0.6, 0.3, 0.3]])
# Parameters without a gradient: what compat `released` carries along and no loss reads, what only experts that were not
# routed to need, and what pools a phrase where every word is read. A softmax forgets `pool.3.bias`.
SILENT = {
    "teachers.refclip": r"fusion\.project\.(middle|fine)\..*",
    "teachers.dvin": r"fusion\.project\.(middle|fine)\..*|project\.width_768\..*",
    "teachers.weakmcn": r"mask_fusion\.(down_.*|project\.(coarse|middle)\..*)|unread\..*",
    "students.mattnet": r"language\.attend\.\d\.bias",  # a softmax follows: at most rounding moves it
    "students.tris": r"text_encoder\.(pool|project)\..*",
    "students.transvg": r"bert\.pooler\..*",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A function from the name of an import in scales/paper.yaml to the folder of frozen models, now with that one."""
    published, cards, out = (tmp_path_factory.mktemp(name) for name in ("published", "cards", "weights"))
    for path in CARDS.glob("*.yaml"):  # made-up files cannot have the published checksums: they are pinned
        text = re.sub(r"sha256: [0-9a-f]{64}", "sha256: null", path.read_text(encoding="utf-8"))
        (cards / path.name).write_text(text, encoding="utf-8")

    @cache
    def imported(name: str) -> Path:
        torch.manual_seed(0)
        card = find_card(load_params(PAPER)["imports"][name]["card"], cards)
        for file in card.files:
            (published / file.name).parent.mkdir(parents=True, exist_ok=True)
            (published / file.name).touch()
        write(name, published / card.files[0].name)
        pin(card, published)
        import_weights(name=name, out=out / name, params=PAPER)
        for file in card.files:  # room for the next
            (published / file.name).unlink()
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEIXIS_WEIGHTS", str(published))
        patch.setattr("models.frozen.importing.find_card", partial(find_card, folder=cards))
        patch.setattr("models.frozen.importing.resolve_weights", partial(resolve_weights, cards=cards))
        yield imported


def write(name: str, path: Path) -> None:
    """The published file of one import, and the vocabulary beside it."""
    if name in ("clip_text", "clip_image_text"):
        merges(path.parent)
    if name == "bert":
        word_pieces(path.parent)
        (path.parent / "config.json").write_text("{}", encoding="utf-8")
    if name == "vectors":
        lines = [f"{word} {' '.join(f'{x:.4f}' for x in torch.randn(300))}" for word in ("the", "man", "red")]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".safetensors":
        save_file(bert_base() if name == "bert" else clip_resnet_50() | clip_text(), path)
    else:
        tensors = {"detector": random_weights, "backbone": release, "detr": detr_r50, "clip_image_text": clip_vit_b_32}
        torch.save({"model": tensors[name]()} if name == "detr" else tensors[name](), path)


def step(model, batch, section: str) -> None:
    """Take one: every parameter moves but for the silent ones, and nothing that is frozen does."""
    recipe = read_section(PAPER, f"{section}.recipe", Recipe)
    groups = parameter_groups(model) or [([p for p in model.parameters() if p.requires_grad], 1.0)]
    optimiser = AdamW(groups, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay)
    model.train()
    frozen_buffers = {
        f"{prefix}.{name}"
        for prefix, module in model.named_modules()
        if not module.training
        for name, _ in module.named_buffers(recurse=False)
    }
    before = sums(model)
    terms = model.loss(batch)
    assert all(term.isfinite() for term in terms.values())
    torch.stack([model.term_weights.get(name, 1.0) * term for name, term in terms.items()]).sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    silent = [name for name, p in trained.items() if p.grad is None or not p.grad.any()]
    assert all(p.grad.isfinite().all() for p in trained.values() if p.grad is not None)
    optimiser.step(recipe.lr)
    moved = {name for name, now in sums(model).items() if now != before[name]}
    assert moved >= trained.keys() - set(silent)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad} | frozen_buffers
    assert not moved & frozen
    known = f"{SILENT.get(section, '(?!)')}|text_encoder\\.pool\\.3\\.bias"
    assert not [name for name in silent if not re.fullmatch(known, name)]


def sums(model) -> dict[str, int]:
    """A checksum of every tensor: copies of all would not fit."""
    return {name: zlib.crc32(tensor.contiguous().numpy().data) for name, tensor in model.state_dict().items()}


class MadeUpMaps:
    """Maps of experts as wide as the teacher expects."""

    def __init__(self, widths: dict[str, int]) -> None:
        self.widths = widths

    def maps(self, expert, rows):
        return torch.randn(len(rows), self.widths[expert], 13, 13)


@pytest.mark.parametrize("name", ["refclip", "dvin", "weakmcn"])
def test_a_step_of_a_teacher(weights, name):
    config = teacher_config(name, PAPER)
    vocabulary = read_vocabulary(config.text, Path("nowhere"), TEXTS)
    torch.manual_seed(0)
    model = build_teacher(name, config, vocabulary)
    about, _ = start_words(model, weights("vectors"), named_vectors(f"teachers.{name}", PAPER))
    assert about["word_vectors"] == {"card": "glove-840b", "known": 2}
    detections = load_detector(weights("detector") / "detector", CPU).detect(squares(416, batch=2))
    masks = torch.rand(2, 169, 26, 26) > 0.5
    content = torch.tensor([[0.0, 52.0, 416.0, 364.0]]).repeat(2, 1)
    batch = TeacherBatch(
        tokens=encode(TEXTS[:2], vocabulary, config.text.length),
        image_of=torch.arange(2),
        detections=detections,
        experts=MadeUpMaps(getattr(config, "experts", {})),
        box_masks=BoxMasks(torch.arange(169).expand(2, 169), masks, content) if model.needs_box_masks else None,
        epoch=20,  # by then all terms of WeakMCN are on
    )
    step(model, batch, f"teachers.{name}")


@pytest.mark.parametrize("name", ["tris", "pcnet"])
def test_a_step_of_a_teacher_of_response_maps(weights, name):
    kind = resolve(MAP_TEACHERS, name, role="map_teacher")
    config = read_section(PAPER, f"map_teachers.{name}.model", kind.Config)
    vocabulary = read_vocabulary(config.towers.text, weights("clip_text"), TEXTS)
    torch.manual_seed(0)
    model = kind(config, vocabulary)
    for start in model.starts:
        folder = weights(start)
    model.start_from(folder, CPU)
    assert model.reading.stretch and not model.reading.keep_end
    tokens = partial(encode, vocabulary=vocabulary, length=model.reading.length, keep_end=model.reading.keep_end)
    batch = MapBatch(
        squares=squares(config.input_size, batch=2),
        tokens=tokens(TEXTS),
        image_of=torch.tensor([0, 0, 1, 1]),
        group_of=torch.arange(4),
        cues=tokens([cue for text in TEXTS for cue in (text.split()[0], text)]).view(4, 2, -1)
        if model.cue_reading
        else None,
        proposals=torch.rand(2, 40, 32, 32) > 0.8 if model.needs_proposals else None,
    )
    step(model, batch, f"map_teachers.{name}")


@pytest.mark.parametrize("name", ["simrec", "realgin", "realgin_anchors", "mcn", "mattnet", "tris", "transvg"])
def test_a_step_of_a_student(weights, name):
    config = student_config(name, PAPER)
    folder = weights({"transvg": "bert", "tris": "clip_text"}.get(name, "vectors"))
    vocabulary = read_vocabulary(config.text, folder, TEXTS)
    torch.manual_seed(0)
    model = build_student(name, config, vocabulary)
    for start in model.starts:
        start_part(getattr(model, start), weights(start), start)
    vectors = named_vectors(f"students.{name}", PAPER)
    if vectors:
        assert start_words(model, folder, vectors)[0]["word_vectors"]["known"] == 2
    side = config.input_size
    masks = torch.zeros(4, side, side)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = 1
    batch = StudentBatch(
        squares=squares(side, batch=2),
        content_xyxy=torch.tensor([[0.0, side / 8, side, side * 7 / 8]]).repeat(2, 1),
        tokens=encode(TEXTS, vocabulary, config.text.length),
        image_of=torch.tensor([0, 0, 1, 1]),
        boxes_norm=BOXES,
        masks=masks if model.needs_masks else None,
    )
    if model.needs_candidates:
        batch = with_candidates(batch)
        model.choose_attributes(TEXTS)
    step(model, batch, f"students.{name}")
