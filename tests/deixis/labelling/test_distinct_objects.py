"""Phrases about different objects of an image get different boxes."""

import torch

from deixis.labelling.distinct_objects import assign_distinct, candidate_things, choose_distinct

LEFT, LEFT_AGAIN, MIDDLE, RIGHT = [0.0, 0, 10, 10], [1.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]
BOXES = torch.tensor([LEFT, LEFT_AGAIN, MIDDLE, RIGHT])


def test_boxes_of_one_thing_count_once():
    assert candidate_things(BOXES).tolist() == [0, 0, 2, 3]


def test_the_surer_object_keeps_what_both_want():
    scores = torch.tensor([[5.0, 1.0, 4.0, 0.0], [3.0, 6.0, 1.0, 0.0]])  # both want the left thing
    assert scores.argmax(1).tolist() == [0, 1]
    assert assign_distinct(scores, candidate_things(BOXES)).tolist() == [2, 1]


def test_without_a_conflict_nothing_changes():
    scores = torch.tensor([[5.0, 1.0, 4.0, 0.0], [3.0, 1.0, 1.0, 6.0]])
    assert assign_distinct(scores, candidate_things(BOXES)).tolist() == scores.argmax(1).tolist()


def test_more_objects_than_things_keep_their_best():
    scores = torch.tensor([[2.0, 1.0], [3.0, 1.0], [1.0, 0.5]])
    chosen = assign_distinct(scores, candidate_things(torch.tensor([LEFT, RIGHT])))
    assert sorted(chosen[:2].tolist()) == [0, 1] and chosen[2] == 0


def test_phrases_of_one_object_answer_with_one_voice_and_images_do_not_mix():
    scores = torch.tensor([[9.0, 0.0, 8.0, 0.0], [0.0, 0.0, 5.0, 0.0], [9.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]])
    boxes = BOXES.expand(4, 4, 4)
    chosen = choose_distinct(scores, boxes, image_ids=[1, 1, 1, 2], objects=[7, 7, 8, 9])
    assert chosen.tolist() == [2, 2, 0, 0]
