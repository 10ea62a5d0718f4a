"""Students on a frozen backbone: what is kept of images changes no loss, and spares the backbone's frozen part."""

from dataclasses import replace

import pytest
import torch

from deixis.batches.image_memory import MapStore, StoredImageMemory
from tests.factories import student_batch
from tests.models.test_coordinates import STUDENTS, student

ROOM = 1 << 24


def with_memory(batch, room: int):
    return replace(batch, memory=StoredImageMemory(MapStore(room), range(len(batch.squares)), len(batch.squares)))


def gradients(model, batch):
    torch.manual_seed(1)
    model.zero_grad()
    terms = model.loss(batch)
    sum(terms.values()).backward()
    return terms, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("room", [ROOM, 40_000], ids=["room for all", "room for some"])
def test_memory_changes_neither_loss_nor_gradient(name, room):
    model = student(name, frozen_backbone=True, resize_sides=(48, 64)).train()
    batch = replace(student_batch(3), masks=torch.ones(3, 64, 64))
    remembering = with_memory(batch, room)
    for _ in range(2):
        torch.testing.assert_close(gradients(model, remembering), gradients(model, batch), rtol=0.05, atol=2e-3)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_looks_once_and_another_each_time(frozen):
    model = student("simrec", frozen_backbone=frozen).train()
    batch, looks = with_memory(student_batch(3), ROOM), []
    model.backbone.stem.register_forward_hook(lambda *_: looks.append(1))
    model.loss(batch)
    first = len(looks)
    model.loss(batch)
    assert len(looks) == (first if frozen else 2)
