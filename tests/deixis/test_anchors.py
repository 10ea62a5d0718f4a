"""Which cells are kept, and which box of a cell answers."""

import pytest
import torch

from deixis.anchors import best_boxes, gather_cells, keep_confident_cells, map_to_cells, maps_to_cells, num_kept


def grid_boxes(objectness):
    """Boxes [batch, cells, 4, 7] with the given objectness [batch, cells, 4]; sizes tell boxes of a cell apart."""
    boxes = torch.zeros(*objectness.shape, 7)
    boxes[..., 4] = objectness
    boxes[..., :2] = 100.0
    boxes[..., 2:4] = 2.0 * torch.arange(1, 5)[:, None]
    return boxes


@pytest.mark.parametrize(
    ("cells", "fraction", "expected"), [(169, 0.1, 17), (169, 0.2, 34), (169, 1.0, 169), (100, 0.1, 10), (1, 0.1, 1)]
)
def test_number_of_kept_cells_is_rounded_up(cells, fraction, expected):
    assert num_kept(cells, fraction) == expected


@pytest.mark.parametrize("constant", [False, True], ids=["random", "all-equal"])
def test_kept_cells_are_17_of_169_distinct_and_ascending(constant):
    objectness = torch.rand(3, 169, 4, generator=torch.Generator().manual_seed(0))
    cells = keep_confident_cells(grid_boxes(torch.full_like(objectness, 0.3) if constant else objectness), 0.1)
    assert cells.shape == (3, 17)
    assert (cells.diff(dim=1) > 0).all()
    assert ((cells >= 0) & (cells < 169)).all()


def test_kept_cells_have_the_highest_mean_objectness():
    objectness = torch.rand(2, 169, 4, generator=torch.Generator().manual_seed(0))
    cells = keep_confident_cells(grid_boxes(objectness), 0.1)
    for row, confidence in enumerate(objectness.mean(-1)):
        others = torch.ones(169, dtype=torch.bool)
        others[cells[row]] = False
        assert confidence[cells[row]].min() > confidence[others].max()


def test_cells_rank_by_the_mean_and_not_by_the_best_box():
    objectness = torch.tensor([[[0.1, 0.9, 0.2, 0.4], [0.45, 0.45, 0.45, 0.45], [0.0, 0.0, 0.0, 1.0]]])
    assert keep_confident_cells(grid_boxes(objectness), 1 / 3).tolist() == [[1]]
    assert keep_confident_cells(grid_boxes(objectness), 2 / 3).tolist() == [[0, 1]]


def test_cell_score_of_four_boxes_is_their_mean():
    tied = torch.tensor([[[0.1, 0.9, 0.2, 0.4], [0.401] * 4]])
    beaten = torch.tensor([[[0.1, 0.9, 0.2, 0.4], [0.399] * 4]])
    assert keep_confident_cells(grid_boxes(tied), 0.5).tolist() == [[1]]
    assert keep_confident_cells(grid_boxes(beaten), 0.5).tolist() == [[0]]


def test_class_scores_do_not_rank_cells():
    boxes = grid_boxes(torch.tensor([[[0.5] * 4, [0.1] * 4]]))
    boxes[0, 1, :, 5:] = 1.0
    assert keep_confident_cells(boxes, 0.5).tolist() == [[0]]


def test_box_of_a_cell_is_the_one_with_the_highest_objectness():
    corners, objectness, _ = best_boxes(grid_boxes(torch.tensor([[[0.1, 0.9, 0.2, 0.4]]])))
    assert objectness.tolist() == [[pytest.approx(0.9)]]
    assert corners.tolist() == [[[98.0, 98.0, 102.0, 102.0]]]  # the second box, 4 pixels wide, as corners


def test_cells_of_a_map_are_row_major():
    rows, columns = torch.meshgrid(torch.arange(13), torch.arange(13), indexing="ij")
    cells = map_to_cells(torch.stack([rows, columns])[None].float())
    assert cells.shape == (1, 169, 2)
    for cell in (0, 1, 12, 13, 84, 168):
        assert cells[0, cell].tolist() == [cell // 13, cell % 13]


def test_cells_of_several_scales_stand_one_scale_after_the_other():
    maps = {"coarse": torch.zeros(1, 1, 1, 2), "middle": torch.ones(1, 1, 2, 4), "fine": torch.full((1, 1, 4, 8), 2.0)}
    assert maps_to_cells(maps, ("coarse", "fine"))[0, :, 0].tolist() == [0.0] * 2 + [2.0] * 32
    assert maps_to_cells(maps, ("middle",))[0, :, 0].tolist() == [1.0] * 8


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3), (2, 6, 4, 7)], ids=["scalars", "vectors", "boxes"])
def test_gather_cells_picks_rows_of_each_image(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    gathered = gather_cells(x, torch.tensor([[0, 4, 5], [1, 2, 3]]))
    assert torch.equal(gathered, torch.stack([x[0, [0, 4, 5]], x[1, [1, 2, 3]]]))
