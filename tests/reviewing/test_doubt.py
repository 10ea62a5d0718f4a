"""The order of review: crowded boxes and small margins first, whatever the table lacks."""

import numpy as np

from reviewing.order import crowding, most_doubtful_first

HERE, THERE = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
NEARLY_HERE = [0.0, 0.0, 10.0, 9.0]


def labels(*rows):
    boxes = np.array([[np.nan] * 4 if box is None else box for _, box, _ in rows], float).reshape(-1, 4)
    return np.array([row[0] for row in rows]), boxes, np.array([row[2] for row in rows], float)


def test_crowding_counts_the_other_labels_of_an_image_that_say_the_same_box():
    table = labels((1, HERE, 1.0), (2, HERE, 1.0), (1, NEARLY_HERE, 1.0), (1, THERE, 1.0), (1, HERE, 1.0))
    shares = crowding(*table[:2])
    np.testing.assert_allclose(shares[[0, 2, 3, 4]], [2 / 3, 2 / 3, 0, 2 / 3])
    np.testing.assert_allclose(shares[1], 0.5)  # alone in its image: the mean of the others


def test_a_label_without_a_box_is_like_no_other():
    np.testing.assert_allclose(crowding(*labels((1, None, 1.0), (1, HERE, 1.0), (1, None, 1.0))[:2]), 0)


def test_images_with_one_label_each_leave_it_to_the_margin():
    table = labels((1, HERE, 3.0), (2, HERE, 1.0), (3, HERE, 2.0))
    assert most_doubtful_first(*table).tolist() == [1, 2, 0]


def test_of_equal_margins_the_crowded_box_comes_first():
    table = labels((1, THERE, 1.0), (1, HERE, 1.0), (1, HERE, 1.0))
    assert most_doubtful_first(*table).tolist() == [1, 2, 0]


def test_without_margins_crowding_decides():
    table = labels((1, THERE, None), (1, HERE, None), (1, HERE, None))
    assert most_doubtful_first(*table).tolist() == [1, 2, 0]


def test_none_at_all():
    assert most_doubtful_first(*labels()).tolist() == []


def test_many_labels_of_one_image_are_compared_in_parts():
    table = labels(*[(1, HERE if row % 2 else THERE, 1.0) for row in range(1200)])
    np.testing.assert_allclose(crowding(*table[:2]), 599 / 1199)
