"""Coordinates of cells: their values, and that students with them tell places apart that look the same."""

from dataclasses import replace

import pytest
import torch

from models.blocks.coordinates import with_coordinates
from models.blocks.csp_darknet import CSPConfig
from models.students.mcn import MCN, MCNConfig
from models.students.realgin import RealGIN, RealGINConfig
from models.students.simrec import SimREC, SimRECConfig
from models.students.tris import TRISSegmenter, TRISSegmenterConfig
from tests.factories import TINY_TEXT, VOCABULARY, student_batch

TINY = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))
SHARED = {"input_size": 64, "resize_sides": (64,), "backbone": TINY, "text": TINY_TEXT}
STUDENTS = {
    "simrec": (SimREC, SimRECConfig, {"fused_width": 16, "head_width": 8}),
    "realgin": (
        RealGIN,
        RealGINConfig,
        {"fused_width": 16, "selection_width": 8, "product_width": 8, "head_width": 8},
    ),
    "mcn": (MCN, MCNConfig, {"fused_width": 16, "aspp_width": 8, "aspp_rates": (2, 4, 6)}),
    "tris": (TRISSegmenter, TRISSegmenterConfig, {"decoder_widths": (16, 8, 8, 8)}),
}

READERS = {  # the first convolution that reads each map
    "simrec": lambda model: [product.image[0] for product in model.merge.values()],
    "realgin": lambda model: [scale[0][0] for scale in model.selection.scales],
    "mcn": lambda model: [model.merge.image[0], model.fusion.up_fine[0][0], model.fusion.down_middle[0][0]],
    "tris": lambda model: [reduce[0] for reduce in model.decoder.reduce],
}


def student(name: str, **changes):
    torch.manual_seed(0)
    kind, config, sizes = STUDENTS[name]
    return kind(config(**(SHARED | sizes | changes)), VOCABULARY)


def test_corners_centre_and_size_of_each_cell_follow_what_it_shows():
    shown = torch.randn(2, 3, 2, 4)
    placed = with_coordinates(shown)
    assert torch.equal(placed[:, :3], shown)
    assert placed[0, 3:, 0, 0].tolist() == pytest.approx([-1, -1, -0.5, 0, -0.75, -0.5, 0.25, 0.5])
    assert placed[1, 3:, 1, 3].tolist() == pytest.approx([0.5, 0, 1, 1, 0.75, 0.5, 0.25, 0.5])


@pytest.mark.parametrize("name", STUDENTS)
def test_coordinates_cost_weights_only_where_they_are_on(name):
    plain, placed = student(name), student(name, coordinates=True)
    assert plain.config == replace(placed.config, coordinates=False)
    assert sum(p.numel() for p in placed.parameters()) > sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("name", STUDENTS)
def test_all_three_maps_have_coordinates_when_they_meet_the_phrase(name):
    model = student(name, coordinates=True)
    terms = model.loss(replace(student_batch(2), masks=torch.ones(2, 64, 64)))
    sum(terms.values()).backward()
    readers = READERS[name](model)
    assert len(readers) == 3
    assert all(reader.weight.grad[:, -8:].any() for reader in readers)
