"""A training step by several processes is the step of one: gradients, statistics and loss of the whole batch."""

import pytest
import torch
from safetensors.torch import load_file

from tests.together import run_together
from tests.training.rank_gradients import cases, write_gradients

CLOSE = 1e-12  # of the largest gradient of the model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    run_together(write_gradients, 4, folder)
    return folder


def distance(one, other):
    """Largest difference of two sets of gradients over the largest gradient."""
    assert one.keys() == other.keys()
    gradients = [name for name in one if name != "loss" and not name.startswith("buffer")]
    largest = max(one[name].abs().max() for name in gradients)
    return float(max((one[name] - other[name]).abs().max() for name in gradients) / largest)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("what", cases())
def test_gradients_of_several_processes_are_those_of_one(folder, what, size):
    one, several = load_file(folder / f"{what} of 1"), load_file(folder / f"{what} of {size}")
    assert distance(one, several) <= CLOSE
    for name in (name for name in one if name == "loss" or name.startswith("buffer")):
        torch.testing.assert_close(several[name], one[name], rtol=CLOSE, atol=CLOSE, msg=name)


@pytest.mark.parametrize("way", ["plain", "local"])
@pytest.mark.parametrize("size", [2, 4])
def test_gradients_of_a_plain_gather_and_of_slices_alone_are_others(folder, way, size):
    one = load_file(folder / "teacher refclip of 1")
    assert distance(one, load_file(folder / f"{way} of {size}")) > 1e-2
