"""From a response map to a mask with the image's edges: known seeds, and where the walk ends."""

import numpy as np
import pytest

from deixis.labelling.map_refinement import refine, seeds


def image(*, edge: int) -> np.ndarray:
    """Black to the left of a column, white from it on."""
    pixels = np.zeros((12, 16, 3), np.uint8)
    pixels[:, edge:] = 255
    return pixels


def test_31_seeds_without_a_random_field():
    assert seeds(np.array([[0.05, 0.2, 0.5]])).tolist() == [[0, 255, 1]]


@pytest.mark.parametrize("edge", [5, 8, 11])
def test_the_walk_stops_at_the_edge_of_the_image_and_not_at_that_of_the_map(edge):
    scores = np.full((12, 16), 2.0)  # an unsure 0.2 of the maximum everywhere but in the first and last columns
    scores[:, :2], scores[:, -2:] = 10.0, -1.0
    expected = np.zeros((12, 16), bool)
    expected[:, :edge] = True
    assert (refine(scores, image(edge=edge)) == expected).all()


@pytest.mark.parametrize("elsewhere", [0.0, 2.0, 10.0], ids=["nothing unsure", "no sure background", "all sure"])
def test_a_map_with_nothing_to_walk_from_or_to_is_cut_at_the_upper_threshold(elsewhere):
    scores = np.full((12, 16), elsewhere)
    scores[3:6, 4:9] = 10.0
    assert (refine(scores, image(edge=8)) == (scores >= 3.0)).all()


@pytest.mark.parametrize("level", [-2.0, 0.0])
def test_a_map_that_responds_nowhere_has_no_foreground(level):
    scores = np.full((12, 16), level)
    scores[3:6, 4:9] = min(level, -1.0)
    assert not refine(scores, image(edge=8)).any()
