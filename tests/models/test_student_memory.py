"""Students on a frozen backbone: what is kept of images changes no loss, and spares the backbone's frozen part."""

from dataclasses import replace

import pytest
import torch

from deixis.batches.image_memory import MapStore, StoredImageMemory
from tests.factories import student_batch, with_candidates
from tests.models.test_coordinates import STUDENTS, student
from tests.models.test_mattnet import mattnet

ROOM = 1 << 24


def with_memory(batch, room: int = ROOM):
    """The batch's images are all that there are."""
    count = len(batch.squares)
    store = MapStore(lambda places: batch.squares[list(places)], count=count, room=room)
    return replace(batch, memory=StoredImageMemory(store, range(count), [0] * count))


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
    batch, looks = with_memory(student_batch(3)), []
    model.backbone.stem.register_forward_hook(lambda *_: looks.append(1))
    model.loss(batch)
    model.loss(batch)
    model.loss(batch)
    assert len(looks) == (2 if frozen else 3)  # of the two one tells the sizes


@pytest.mark.parametrize("name", ["simrec", "realgin"])
@pytest.mark.parametrize("views", [{"mirror_share": 0.5}, {"placings": 3}, {"mirror_share": 0.5, "placings": 3}])
def test_memory_knows_turned_and_placed_images(name, views):
    model = student(name, frozen_backbone=True, **views).train()
    batch, losses = student_batch(3), []
    remembering = with_memory(batch)
    for step in range(4):
        for given in (batch, remembering):
            torch.manual_seed(step)
            losses.append(torch.stack(list(model.loss(given).values())))
    torch.testing.assert_close(losses[::2], losses[1::2], rtol=1e-3, atol=1e-4)
    assert not torch.equal(losses[0], losses[2])


def test_regions_are_cut_from_maps_that_are_kept():
    model, looks = mattnet().train(), []
    batch = with_candidates(student_batch(3))
    remembering = with_memory(batch)
    expected = gradients(model, batch)
    model.backbone.stem.register_forward_hook(lambda *_: looks.append(1))
    for _ in range(3):
        torch.testing.assert_close(gradients(model, remembering), expected, rtol=0.05, atol=2e-3)
    assert len(looks) == 2  # one of them tells the sizes
