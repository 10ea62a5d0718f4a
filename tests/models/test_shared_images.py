"""Several phrases about one image: it is looked at once, and every answer is the one it would give alone."""

from dataclasses import replace

import pytest
import torch

from deixis.batches.samples import unique_images
from deixis.types import Detections, TeacherBatch
from tests.factories import MadeUpExpertMaps, alone_in_batch, dvin, refclip, student_batch, teacher_batch
from tests.models.test_simrec import simrec
from tests.models.test_transvg import transvg

IMAGE_OF = torch.tensor([0, 1, 1, 0, 2])


def shared_teacher_batch() -> TeacherBatch:
    images, phrases = teacher_batch(3), teacher_batch(5, seed=1)
    return replace(images, tokens=phrases.tokens, image_of=IMAGE_OF)


def spread(batch: TeacherBatch) -> TeacherBatch:
    """The same phrases, each with a copy of its image."""
    maps = MadeUpExpertMaps(3)
    maps.stored = {name: stored[IMAGE_OF] for name, stored in maps.stored.items()}
    detections = Detections(tuple(m[IMAGE_OF] for m in batch.detections.maps), batch.detections.boxes[IMAGE_OF])
    return replace(batch, image_of=torch.arange(5), detections=detections, experts=maps)


@pytest.mark.parametrize(
    "make",
    [refclip, dvin, lambda: dvin(routing="both", top_experts=2), lambda: dvin(compat="released")],
    ids=["refclip", "dvin", "dvin by phrase, two experts", "dvin released"],
)
def test_teachers_match_as_with_copies(make):
    teacher, batch = make().eval(), shared_teacher_batch()
    shared, copied = teacher.match(batch), teacher.match(spread(batch))
    for name in ("boxes_xyxy", "scores", "objectness", "classes", "experts"):
        torch.testing.assert_close(getattr(shared, name), getattr(copied, name), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(teacher.loss(batch), teacher.loss(spread(batch)), atol=1e-4, rtol=1e-4)


def test_an_expert_looks_at_each_image_once():
    batch = shared_teacher_batch()
    dvin(top_experts=4).eval().match(batch)
    assert batch.experts.asked == {name: 3 for name in batch.experts.stored}


@pytest.mark.parametrize("make", [simrec, transvg])
def test_students_answer_as_alone(make):
    student = make().eval()
    side = student.config.input_size
    images, phrases = student_batch(3, side=side), student_batch(5, side=side, seed=1)
    batch = replace(images, tokens=phrases.tokens, boxes_norm=phrases.boxes_norm, image_of=IMAGE_OF)
    batch_sizes = []
    student.backbone.stem.register_forward_hook(lambda _, inputs, __: batch_sizes.append(len(inputs[0])))
    shared = student.predict(batch)
    assert batch_sizes == [3]
    for row in range(5):
        alone = student.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, shared.boxes_xyxy[row : row + 1], atol=1e-3, rtol=1e-4)


def test_unique_images_in_order_of_appearance():
    ids, image_of = unique_images([7, 3, 7, 9, 3])
    assert ids == [7, 3, 9] and image_of.tolist() == [0, 1, 0, 2, 1]
