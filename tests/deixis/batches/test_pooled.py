"""Stores that keep only what teachers of the coarse grid read: the same answers, and a refusal for all others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from answering.live_store import detector_arrays, expert_arrays
from deixis.batches.pooled import pool_detector, pool_expert, refuse_pooled
from deixis.core.errors import ConfigError
from deixis.types import TeacherBatch
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from tests.factories import MadeUpExpertMaps, dvin, refclip, teacher_batch

TINY = YOLOv3Config(input_size=64, num_classes=3, stem=4, widths=(8, 8, 16), blocks=(0, 0, 0))


def pooled(batch: TeacherBatch) -> TeacherBatch:
    """As a reader of such a store would give it."""
    side = batch.detections.maps[0].shape[-1]
    return replace(batch, detections=replace(batch.detections, maps=pool_detector(batch.detections.maps, side)))


class PooledExperts:
    def __init__(self, maps: MadeUpExpertMaps, side: int) -> None:
        self._maps, self._side = maps, side

    def maps(self, expert: str, rows: torch.Tensor) -> torch.Tensor:
        return pool_expert(self._maps.maps(expert, rows), self._side)


@pytest.mark.parametrize("make", [refclip, dvin])
def test_teachers_of_the_coarse_grid_answer_and_learn_the_same(make):
    model, whole = make(), teacher_batch(4)
    side = whole.detections.maps[0].shape[-1]
    small = replace(pooled(whole), experts=PooledExperts(whole.experts, side))
    assert small.detections.maps[2].numel() * 4 == whole.detections.maps[2].numel()
    torch.manual_seed(0)
    of_whole = sum(model.train().loss(whole).values())
    torch.manual_seed(0)
    of_small = sum(model.loss(small).values())
    torch.testing.assert_close(of_small, of_whole)
    torch.testing.assert_close(model.eval().match(small).scores, model.match(whole).scores)


def test_who_reads_finer_cells_is_refused():
    with pytest.raises(ConfigError, match=r"finest grid reads more.*extraction.coarse_side: null.*dvc repro"):
        refclip(compat="released").loss(pooled(teacher_batch(4)))
    with pytest.raises(ConfigError, match="a mask head reads more"):
        refuse_pooled(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8), "a mask head")


def test_arrays_of_a_store_are_smaller_and_the_grid_must_be_the_detectors():
    detector = YOLOv3(TINY).eval()
    squares = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        whole = {name: array for name, (array, _) in detector_arrays(detector)(squares).items()}
        kept = {name: array for name, (array, _) in detector_arrays(detector, coarse_side=8)(squares).items()}
        with pytest.raises(ConfigError, match="coarse_side is 13, and the detector's coarse map has 8 cells"):
            detector_arrays(detector, coarse_side=13)(squares)
    assert whole["fine"].shape[-1] == 32 and kept["fine"].shape[-1] == 16
    torch.testing.assert_close(kept["fine"], torch.nn.functional.avg_pool2d(whole["fine"], 2))
    assert all(torch.equal(kept[name], whole[name]) for name in ("coarse", "middle", "boxes"))


@pytest.mark.parametrize(("own", "stored"), [(26, 13), (13, 13), (7, 7)])
def test_an_experts_map_is_pooled_where_it_is_finer(own, stored):
    class Expert:
        Config = None

        def encode(self, squares):
            return torch.randn(len(squares), 5, own, own)

    arrays = expert_arrays(Expert(), coarse_side=13)(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    ((array, dtype),) = arrays.values()
    assert array.shape == (2, 5, stored, stored) and dtype is np.float16
