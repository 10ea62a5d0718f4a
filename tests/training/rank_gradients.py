"""Gradients of every registered method's training step in double precision, by so many processes. Written to files.

One step without dropout, on a batch of six phrases about four small images, of which two come back later in the batch.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn

from deixis.batches.order import slice_of_batch
from deixis.core.frozen import freeze
from deixis.roles import stored_experts
from deixis.training.draws import common_seed, start_streams
from deixis.training.losses import anchor_contrastive_loss
from deixis.training.ranks import average_gradients, rank, ranks
from deixis.training.sync_batchnorm import synchronise
from deixis.types import SCALES, TeacherBatch
from models.teachers.zero_shot import ZeroShotConfig
from tests.contracts.test_roles import CPU, map_batch, start_untrained, student_batch_of, teacher_batch, write_starts
from tests.methods import TEXTS, UNNAMED, build, methods, settings
from tests.together import join_group, leave_group

SIZES = (1, 2, 4)
BATCHES = {"teacher": teacher_batch, "map_teacher": map_batch, "student": student_batch_of}
SCATTERED, WHOLE = (0, 1, 2, 1, 3, 0), (0, 0, 1, 2, 2, 3)  # images of phrases; whole images at a time
SIDE = 64  # of students' images
VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {  # settings that draw, ask or norm what the usual ones do not
    "dvin whose contrast is the paper's": ("teacher", "dvin", {"compat": "paper"}),
    "dvin with a prior": (
        "teacher", "dvin",
        {
            "prior": ZeroShotConfig(**UNNAMED["teacher", "zero_shot"]), "scales": SCALES,
            "experts": {"class_words": 16}, "top_experts": 1,
        },
    ),
    "tris with its judge": (
        "map_teacher", "tris",
        {"has_positive_term": True, "same_image_negatives": 2, "learns_temperature": True, "memory": 3},
    ),
    # without the release's collision term, whose gradient the last bits decide where two phrases win one proposal
    "pcnet as released": (
        "map_teacher", "pcnet",
        {"compat": "released", "same_image_negatives": 1, "shares_weights": True, "has_disambiguation": False},
    ),
    "refclip on whole images": ("teacher", "refclip", {"ignores_same_image": True}),
    "dvin on whole images": ("teacher", "dvin", {"ignores_same_image": True}),
    "simrec with mirrored images": ("student", "simrec", {"mirror_share": 0.5}),
    "transvg with any placing": ("student", "transvg", {"placings": 0, "mirror_share": 0.5}),
}  # fmt: skip


def cases() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every teacher, map teacher and student that is trained, by name, and the variants."""
    registered = {f"{role} {name}": (role, name, {}) for role, name in methods("teacher", "map_teacher", "student")}
    return {what: case for what, case in (registered | VARIANTS).items() if case[1] != "zero_shot"}


def sizes(what: str) -> tuple[int, ...]:
    """By how many processes a case is trained."""
    return SIZES[:2] if what in VARIANTS else SIZES


def write_gradients(number: int, folder: Path) -> None:
    """As process `number` of four: gradients of all cases by one, by two and by four; of variants by one and two."""
    torch.Tensor.float = torch.Tensor.double  # what networks and losses hold to single precision
    torch.set_default_dtype(torch.float64)
    made = {
        what: make(role, name, changes, folder / str(number))
        for what, (role, name, changes) in cases().items()
        if number < sizes(what)[-1]
    }
    for size in [size for size in SIZES if number < size]:
        join_group(number, size, folder)
        for what, (model, batch) in made.items():
            if size in sizes(what):
                keep(gradients(model, batch, model.loss), folder / f"{what} of {size}")
        if size > 1:
            refclip, batch = made["teacher refclip"]
            keep(gradients(refclip, batch, partial(plainly_gathered, refclip)), folder / f"plain of {size}")
            keep(gradients(refclip, batch, partial(of_each_slice, refclip)), folder / f"local of {size}")
        leave_group()


def make(role: str, name: str, changes: dict[str, Any], folder: Path) -> tuple[Any, Any]:
    """A fresh model in double precision, without dropout and with one side to resize to, and its batch."""
    config = settings(role, name)
    if role == "student":
        changes = changes | {"input_size": SIDE}
        changes |= {"resize_sides": (SIDE,)} if hasattr(config, "resize_sides") else {}
    model = build(role, name, **changes)
    if role == "map_teacher":
        model.start_from(write_starts(model.starts, folder), CPU)
    if getattr(model, "prior", None):
        start_untrained(model.prior, folder)
    if getattr(model, "needs_candidates", False):
        model.choose_attributes(TEXTS)
    for module in model.double().train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for rate in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    for judge in getattr(model, "_judge", []):
        freeze(judge.double())
    whole = role == "map_teacher" or getattr(model, "needs_candidates", False)
    batch = BATCHES[role](model, WHOLE if whole else SCATTERED)
    if role == "teacher":
        everyone = torch.arange(max(SCATTERED) + 1)
        stored = {name: batch.experts.maps(name, everyone).double() for name in stored_experts(model)}
        batch = replace(batch, experts=StoredMaps(stored))
    return model, in_double(batch)


def in_double(value: Any) -> Any:
    """Numbers of a batch that are not whole in double precision."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(in_double(part) for part in value)
    if is_dataclass(value):
        return replace(value, **{field.name: in_double(getattr(value, field.name)) for field in fields(value)})
    return value


class StoredMaps:
    """Maps of some experts for all images of a batch, or for a part of them."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.stored = stored

    def maps(self, expert: str, rows: Tensor) -> Tensor:
        return self.stored[expert][rows]


def own_part(batch: Any) -> Any:
    """Of a batch the slice of this process."""
    places = slice_of_batch(batch.image_of.tolist(), rank=rank(), ranks=ranks())
    image_of = batch.image_of[places]
    images = image_of.unique()
    chosen = {"image_of": torch.searchsorted(images, image_of)}
    of_images = {"squares", "content_xyxy", "candidates", "proposals", "detections", "box_masks", "experts"}
    for name in (field.name for field in fields(batch) if field.name != "image_of"):
        chosen[name] = rows_of(getattr(batch, name), images.tolist() if name in of_images else places)
    return replace(batch, **chosen)


def rows_of(value: Any, rows: Sequence[int]) -> Any:
    """Some rows of whatever a batch holds."""
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, StoredMaps):
        return StoredMaps({name: maps[rows] for name, maps in value.stored.items()})
    if isinstance(value, tuple):
        strings = bool(value) and isinstance(value[0], str)
        return tuple(value[row] for row in rows) if strings else tuple(rows_of(part, rows) for part in value)
    if is_dataclass(value):
        return replace(value, **{field.name: rows_of(getattr(value, field.name), rows) for field in fields(value)})
    return value


def gradients(model: Any, batch: Any, loss: Any) -> dict[str, Tensor]:
    """Of all trained parameters, and what the step leaves in the buffers."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = getattr(model, "term_weights", {})
    torch.manual_seed(common_seed(1))
    start_streams(1)
    synchronise(model)
    model.zero_grad()
    terms = loss(own_part(batch))
    torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum().backward()
    average_gradients(model.parameters())
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    found["loss"] = torch.stack(list(terms.values())).detach()
    model.load_state_dict(before)
    return found


def keep(found: dict[str, Tensor], path: Path) -> None:
    """The first process's, whose files there are."""
    if rank() == 0:
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, path)


def plainly_gathered(model: Any, batch: TeacherBatch) -> dict[str, Tensor]:
    """RefCLIP's loss of the whole batch as it is often written: others' rows come without a gradient."""
    text, anchors = projected(model, batch)
    whole = []
    for own in (text, anchors):
        everyone: list[Any] = [None] * ranks()
        dist.all_gather_object(everyone, own.detach())
        whole.append(torch.cat([own if number == rank() else part for number, part in enumerate(everyone)]))
    return {"contrast": anchor_contrastive_loss(whole[0], whole[1])}


def of_each_slice(model: Any, batch: TeacherBatch) -> dict[str, Tensor]:
    """RefCLIP's loss of this process's slice alone, as DistributedDataParallel would have it."""
    return {"contrast": anchor_contrastive_loss(*projected(model, batch))}


def projected(model: Any, batch: TeacherBatch) -> tuple[Tensor, Tensor]:
    """Phrases and anchors in the joint space."""
    anchors, _ = model._anchors(batch)
    matcher = model.matcher
    return matcher.text_project(model.text_encoder(batch.tokens).flat), matcher.anchor_project(anchors)
