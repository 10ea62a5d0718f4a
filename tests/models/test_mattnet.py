"""MAttNet: known values of its parts, its size, and answers that depend on nothing but their own phrase."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from deixis.batches.candidates import CandidateTable, nearest_candidates
from deixis.batches.order import image_batches
from deixis.core.errors import DataError
from deixis.types import CandidateBoxes, StudentBatch, Suppression
from models.blocks.csp_darknet import CSPConfig
from models.loading.students import read_candidates
from models.student_blocks.attributes import attribute_weights
from models.student_blocks.region_modules import best_context
from models.student_blocks.regions import Objects, draw_negatives, location, neighbours, offsets
from models.students.mattnet import MAttNet, MAttNetConfig, rank_term
from models.text.modular_attention import ModularTextConfig
from tests.contracts.test_frozen import snapshot, train, unchanged
from tests.factories import VOCABULARY, alone_in_batch, student_batch, with_candidates
from training.students import with_positives

PUBLISHED_REGIONS = CSPConfig(stem=4, widths=(8, 8, 1024, 2048), blocks=(1, 1, 1, 1))
IMAGE_OF = torch.tensor([0, 1, 1, 0, 2, 2])


def mattnet(**changes) -> MAttNet:
    torch.manual_seed(0)
    sizes = {"input_size": 64, "width": 16, "attributes": 5}
    config = MAttNetConfig(
        backbone=CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1)),
        text=ModularTextConfig(length=6, word_width=8, width=8, state_width=8),
        **(sizes | changes),
    )
    model = MAttNet(config, VOCABULARY)
    model.choose_attributes(["red ball", "big red star", "the left ball"])
    return model


def shared_batch() -> StudentBatch:
    """Six phrases about three images."""
    images, phrases = student_batch(3), student_batch(6, seed=1)
    tokens = phrases.tokens.clone()
    tokens[0, 2:] = 0
    return with_candidates(replace(images, tokens=tokens, boxes_norm=phrases.boxes_norm, image_of=IMAGE_OF))


def only(given: CandidateBoxes, count: int) -> CandidateBoxes:
    return CandidateBoxes(given.boxes_xyxy[:, :count], given.categories[:, :count], given.valid[:, :count])


def test_m1_margins():
    scores = torch.tensor([[0.6], [0.55], [0.3]])
    visual, language = (rank_term(scores[0], scores[k], margin=0.1) for k in (1, 2))
    assert visual.item() == pytest.approx(0.05) and language.item() == 0


def test_m2_location_in_the_image():
    box, content = torch.tensor([[10.0, 20, 40, 60]]), torch.tensor([[0.0, 0, 100, 200]])
    expected = [0.1, 0.1, 0.39, 0.295, 0.06]
    assert location(box, content)[0].tolist() == pytest.approx(expected)
    moved = location(box + 14, content + 14)
    assert moved[0].tolist() == pytest.approx(expected)


def test_m3_offsets_of_another_box():
    box, other = torch.tensor([10.0, 20, 40, 60]), torch.tensor([40.0, 20, 70, 60])
    assert offsets(box, other).tolist() == pytest.approx([0.5, -0.5, 1.5, 0.5, 1])


def test_m4_the_best_context_is_a_true_one_and_0_stands_only_for_none():
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert best_context(torch.tensor([-0.3, -0.1]), valid).tolist() == pytest.approx([-0.1, 0])


def test_m5_attribute_weights():
    assert attribute_weights([100, 400, 10000]).tolist() == pytest.approx([10, 5, 1])
    assert attribute_weights([7, 7]).tolist() == [1, 1]


def test_m6_the_positive_is_the_nearest_candidate():
    candidates = torch.tensor([[[110.0, 110, 210, 210], [300, 300, 400, 400], [100, 100, 200, 200]]])
    nearest = nearest_candidates(
        torch.tensor([[100.0, 100, 200, 200]]), candidates, torch.tensor([[True, True, False]])
    )  # the third, which is padding, would fit best
    assert nearest.place.item() == 0 and nearest.iou.item() == pytest.approx(0.680672, abs=1e-6)


def test_size_with_published_channels():
    model = MAttNet(MAttNetConfig(backbone=PUBLISHED_REGIONS), VOCABULARY)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 12_931_164 + 512 * len(VOCABULARY)


def test_neighbours_nearest_first_and_strangers_before_their_own_kind():
    middles = torch.tensor([[0.0, 0], [1, 0], [2, 0], [5, 0], [0, 0]])
    boxes = torch.cat([middles, middles + 1], 1)
    image, category = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([1, 1, 2, 1, 1])
    rivals = neighbours(boxes, image, category, count=3, same_category_only=True)
    assert rivals.region[0, :2].tolist() == [1, 3] and rivals.valid[0].tolist() == [True, True, False]
    context = neighbours(boxes, image, category, count=3, same_category_only=False)
    assert context.region[0].tolist() == [2, 1, 3] and context.valid[0].all()
    assert not context.valid[4].any()


@pytest.mark.parametrize(("share", "expected"), [(1.0, {1}), (0.0, {2, 3})])
def test_negatives_follow_the_category_rule(share, expected):
    pool = Objects(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([7, 7, 8, 9, 7]), torch.arange(5))
    objects = Objects(*(values[:1].repeat(64) for values in pool))
    torch.manual_seed(0)
    drawn = draw_negatives(objects, pool, same_category_share=share)
    assert set(drawn.place.tolist()) == expected and drawn.exists.all()


def test_negatives_come_from_other_images_where_theirs_has_none_and_never_from_the_same_object():
    pool = Objects(torch.tensor([0, 0, 1]), torch.tensor([7, 7, 7]), torch.tensor([4, 4, 5]))
    drawn = draw_negatives(pool, pool, same_category_share=0.3)
    assert drawn.place[:2].tolist() == [2, 2] and drawn.exists.all()
    usable = torch.tensor([True, True, False])
    assert draw_negatives(pool, pool, same_category_share=0.3, usable=usable).exists.tolist() == [False, False, True]


def test_attributes_are_the_frequent_open_class_words():
    model = mattnet()
    chosen = [VOCABULARY[token] for token in model.attribute_words.tolist()]
    assert chosen == ["ball", "red", "big", "left", "star"]
    assert model.attribute_weights.tolist() == pytest.approx([1, 1, 10, 10, 10])


def test_every_trained_part_gets_a_gradient():
    model = mattnet().train()
    terms = model.loss(shared_batch())
    sum(terms.values()).backward()
    assert set(terms) == {"visual_rank", "language_rank", "attributes"}
    assert all(torch.isfinite(term) and term > 0 for term in terms.values())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_it_learns_which_candidate_is_meant():
    model, batch = mattnet(), shared_batch()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for _ in range(60):
        optimiser.zero_grad()
        sum(model.loss(batch).values()).backward()
        optimiser.step()
    grounding = model.eval().predict(batch)
    target = batch.boxes_norm * 64
    middle = (grounding.boxes_xyxy[:, :2] + grounding.boxes_xyxy[:, 2:]) / 2
    assert ((middle - target[:, :2]).abs().amax(1) < 1).float().mean() == 1


def test_one_step_leaves_the_backbone_as_it_was(tmp_path):
    model = mattnet()
    before, language = snapshot(model.backbone), snapshot(model.language)
    train(model, shared_batch(), tmp_path)
    assert not unchanged(model.backbone, before)
    assert unchanged(model.language, language)


def test_a_phrase_is_answered_as_alone():
    model, batch = mattnet().eval(), shared_batch()
    whole = model.predict(batch)
    for row in range(len(IMAGE_OF)):
        alone = model.predict(alone_in_batch(batch, row))
        torch.testing.assert_close(alone.boxes_xyxy, whole.boxes_xyxy[row : row + 1])
        torch.testing.assert_close(alone.scores, whole.scores[row : row + 1], atol=1e-5, rtol=1e-4)


def test_the_order_of_phrases_and_images_does_not_matter():
    model, batch = mattnet(same_category_share=1.0).eval(), shared_batch()
    given = only(batch.candidates, 2)  # one category and two objects of each image: there is but one negative to draw
    given = replace(given, categories=torch.zeros_like(given.categories))
    batch = replace(batch, candidates=given)
    images, phrases = torch.tensor([2, 0, 1]), torch.tensor([3, 5, 0, 1, 4, 2])
    other = replace(
        batch,
        squares=batch.squares[images],
        content_xyxy=batch.content_xyxy[images],
        tokens=batch.tokens[phrases],
        image_of=images.argsort()[IMAGE_OF[phrases]],
        boxes_norm=batch.boxes_norm[phrases],
        candidates=CandidateBoxes(given.boxes_xyxy[images], given.categories[images], given.valid[images]),
    )
    actual, expected = model.predict(other), model.predict(batch)
    torch.testing.assert_close(actual.boxes_xyxy, expected.boxes_xyxy[phrases])
    torch.testing.assert_close(actual.scores, expected.scores[phrases], atol=1e-5, rtol=1e-4)
    terms = model.loss(batch)
    assert all(term > 0 for term in terms.values())
    torch.testing.assert_close(model.loss(other), terms, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training):
    model, batch = mattnet(dropout=0.0, attribute_dropout=0.0), shared_batch()
    model.language.project[0].p = 0.0
    padded, given = batch, only(batch.candidates, 3)
    assert given.valid.all() and padded.candidates.valid.sum() == 9
    terms = []
    for candidates in (padded.candidates, given):
        torch.manual_seed(1)
        terms.append(model.train(training).loss(replace(batch, candidates=candidates)))
    torch.testing.assert_close(*terms)
    actual, expected = model.eval().predict(padded), model.predict(replace(batch, candidates=given))
    torch.testing.assert_close(actual.scores, expected.scores)


def test_pads_of_a_phrase_change_nothing():
    model, batch = mattnet().eval(), shared_batch()
    batch.tokens[:, 4:] = 0
    cut = replace(batch, tokens=batch.tokens[:, :4])
    torch.testing.assert_close(model.predict(cut).scores, model.predict(batch).scores)


@pytest.mark.parametrize("phrases", [1, 2])
def test_losses_are_finite_where_there_is_nothing_to_compare_with(phrases):
    batch = with_candidates(student_batch(phrases), count=2)
    terms = mattnet().train().loss(replace(batch, candidates=only(batch.candidates, 1)))
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert phrases > 1 or terms["visual_rank"] == terms["language_rank"] == 0


def test_labels_without_a_near_candidate_teach_nothing():
    model, batch = mattnet().eval(), shared_batch()
    far = batch.boxes_norm.clone()
    far[:] = torch.tensor([0.97, 0.97, 0.02, 0.02])
    terms = model.loss(replace(batch, boxes_norm=far))
    assert all(term == 0 for term in terms.values())


def candidate_file(tmp_path, rows):
    path = tmp_path / "candidates.parquet"
    pd.DataFrame(rows, columns=["image_id", "boxes", "categories"]).to_parquet(path)
    return path


IMAGES = pd.DataFrame([(1, 64, 48), (2, 64, 48)], columns=["image_id", "width", "height"])
THREE = [[-5.0, 0, 20, 20, 0, 1, 20, 21, 30, 30, 50, 44], [0, 0, 1]]


def test_detections_suppress_each_other_and_annotations_do_not(tmp_path):
    path = candidate_file(tmp_path, [(1, *THREE)])
    remaining = CandidateTable(path, IMAGES, source="detections", suppression=Suppression())[1]
    assert remaining.boxes_xyxy.tolist() == [[0, 0, 20, 20], [30, 30, 50, 44]] and remaining.categories.tolist() == [
        0,
        1,
    ]
    assert len(CandidateTable(path, IMAGES, source="annotations", suppression=Suppression())[1].boxes_xyxy) == 3


def test_boxes_of_other_categories_suppress_only_where_told(tmp_path):
    path = candidate_file(tmp_path, [(1, THREE[0], [0, 1, 1])])
    sizes = [
        len(CandidateTable(path, IMAGES, source="detections", suppression=Suppression(0.5, flag))[1].categories)
        for flag in (True, False)
    ]
    assert sizes == [3, 2]


def test_far_labels_are_dropped_and_sentences_of_one_positive_are_one_object(tmp_path):
    table = CandidateTable(
        candidate_file(tmp_path, [(1, *THREE)]), IMAGES, source="annotations", suppression=Suppression()
    )
    labels = [[0, 0, 20, 20], [-9.0, 0, 20, 21], [29, 30, 50, 44], [40, 0, 60, 10]]
    train = pd.DataFrame({"image_id": [1] * 4, "box": labels})
    assert with_positives(train, table, min_iou=0.5)["positive"].tolist() == [0, 0, 2]
    with pytest.raises(DataError, match=r"none of the 1 labels has a candidate at IoU 0.5.*dvc repro"):
        with_positives(train[3:], table, min_iou=0.5)


@pytest.mark.parametrize(
    ("rows", "source", "message"),
    [
        ([(1, *THREE)], "detections", "does not list image 2.*Run: dvc repro -f list_candidates"),
        ([(2, [], [])], "annotations", "has no box inside image 2.*Run: dvc repro -f prepare"),
        ([(2, [70.0, 0, 90, 10], [0])], "detections", "has no box inside image 2.*keep_fraction"),
    ],
)
def test_an_image_without_candidates(tmp_path, rows, source, message):
    table = CandidateTable(candidate_file(tmp_path, rows), IMAGES, source=source, suppression=Suppression())
    with pytest.raises(DataError, match=message):
        table[2]


def test_no_candidates_at_all(tmp_path):
    with pytest.raises(DataError, match=r"MAttNet ranks candidate boxes.*Allowed: --candidates.*Run: dvc repro"):
        read_candidates(mattnet(), None, IMAGES, source="detections")
    with pytest.raises(DataError, match=r"missing. It is written by prepare; run: dvc repro prepare"):
        read_candidates(mattnet(), tmp_path / "objects.parquet", IMAGES, source="annotations")
    old = tmp_path / "old.parquet"
    pd.DataFrame({"image_id": [1], "boxes": [[0.0]]}).to_parquet(old)
    with pytest.raises(DataError, match=r"lacks categories.*dvc repro -f list_candidates"):
        read_candidates(mattnet(), old, IMAGES, source="detections")


def test_batches_hold_whole_images_and_few_phrases_of_each_object():
    image_ids, objects = [4, 4, 4, 4, 5, 6, 4, 7], [0, 0, 0, 1, 0, 2, 1, 0]
    batches = image_batches(image_ids, objects, images=2, phrases_per_object=2, seed=3)
    first = list(batches(0))
    rows = [row for batch in first for row in batch]
    assert sorted(image_ids[row] for row in rows) == [4, 4, 4, 4, 5, 6, 7] and len(set(rows)) == len(rows)
    assert all(len({image_ids[row] for row in batch}) == 2 for batch in first)
    assert list(batches(0)) == first and any(list(batches(epoch)) != first for epoch in (1, 2, 3))
    assert len(list(image_batches(image_ids, objects, images=3, phrases_per_object=2, seed=3)(0))) == 1
