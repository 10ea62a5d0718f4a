"""A training step by several processes is the step of one: gradients, statistics and loss of the whole batch."""

import json

import pytest
import torch
from safetensors.torch import load_file

from deixis.training.draws import common_seed
from tests.together import run_together
from tests.training.rank_gradients import cases, sizes, write_gradients
from tests.training.rank_trainings import NORMS, normed, small_model, train, train_together

pytestmark = pytest.mark.slow

CLOSE = 1e-12  # of the largest gradient, or of the loss where that is larger: so far its own numbers are rounded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    run_together(write_gradients, 4, folder)
    return folder


def distance(one, other):
    """Largest difference of two sets of gradients over the largest gradient or term of the loss."""
    assert one.keys() == other.keys()
    gradients = [name for name in one if name != "loss" and not name.startswith("buffer")]
    largest = max(one[name].abs().max() for name in [*gradients, "loss"])
    return float(max((one[name] - other[name]).abs().max() for name in gradients) / largest)


@pytest.mark.parametrize(("what", "size"), [(what, size) for what in cases() for size in sizes(what)[1:]])
def test_gradients_of_several_processes_are_those_of_one(folder, what, size):
    one, several = load_file(folder / f"{what} of 1"), load_file(folder / f"{what} of {size}")
    assert distance(one, several) <= CLOSE, (
        f"{what}: {size} processes have other gradients than one. Its loss must hand what it compares or counts to "
        "deixis.training.ranks.gathered first, and draw by deixis.training.draws (docs/adding-a-method.md)"
    )
    for name in (name for name in one if name == "loss" or name.startswith("buffer")):
        torch.testing.assert_close(several[name], one[name], rtol=CLOSE, atol=CLOSE, msg=name)


@pytest.mark.parametrize("way", ["plain", "local"])
@pytest.mark.parametrize("size", [2, 4])
def test_gradients_of_a_plain_gather_and_of_slices_alone_are_others(folder, way, size):
    one = load_file(folder / "teacher refclip of 1")
    assert distance(one, load_file(folder / f"{way} of {size}")) > 1e-2


# --- whole trainings -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folder):
    together = tmp_path_factory.mktemp("trainings")
    run_together(train_together, 2, together)
    return together


def test_two_processes_end_with_the_same_weights_and_the_first_alone_writes(trained):
    first, second = (load_file(trained / f"straight {number}") for number in (0, 1))
    assert_same(first, second)
    assert json.loads((trained / "straight 0.json").read_text())["ranks"] == 2
    assert {path.name for path in trained.glob("straight*")} >= {"straight.csv", "straight-2-ranks"}


def test_a_training_that_was_interrupted_ends_with_the_same_bits(trained):
    assert_same(load_file(trained / "straight 0"), load_file(trained / "resumed 0"))
    assert (trained / "straight.csv").read_bytes() == (trained / "killed.csv").read_bytes()


def test_without_dropout_two_processes_train_to_the_weights_of_one(trained, tmp_path):
    model = small_model(dropout=0.0)
    card = train(model, tmp_path / "alone")
    assert "ranks" not in card
    together = load_file(trained / "without dropout 0")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-9, atol=1e-9)


def test_what_one_process_finds_wrong_stops_both(trained):
    for number in (0, 1):
        not_finite, other_state = json.loads((trained / f"refusals {number}.json").read_text())
        assert "step 0: the loss is not finite" in not_finite
        assert f"goes on after epoch {3 * number}. Put scratch on a folder that all of them share" in other_state


def test_draws_for_the_batch_are_common_and_others_are_not(trained):
    first, second = (load_file(trained / f"draws {number}") for number in (0, 1))
    assert torch.equal(first["common"], second["common"]) and not torch.equal(first["own"], second["own"])
    torch.manual_seed(common_seed(7))
    assert torch.equal(first["common"], torch.rand(3))
    assert torch.equal(torch.cat([first["rows"], second["rows"]]), torch.rand(5))


@pytest.mark.parametrize("name", NORMS)
def test_a_synchronised_norm_is_that_of_all_rows(trained, name):
    whole, parts = normed(name), [load_file(trained / f"norm {name} {number}") for number in (0, 1)]
    for key, expected in whole.items():
        of_rows = key.startswith(("out", "gradient ")) and not key.startswith("gradient of")
        found = torch.cat([part[key] for part in parts]) if of_rows else parts[0][key]
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12, msg=key)
        assert of_rows or torch.equal(parts[0][key], parts[1][key])


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
