"""A seed for training that leaves the world alone."""

import pytest

from deixis.core.errors import ConfigError
from deixis.training.seeds import read_training_seed


@pytest.mark.parametrize(("text", "seed"), [("seed: 3", 3), ("seed: 3\ntraining_seed: 5", 5)])
def test_training_has_its_own_seed_or_that_of_the_world(tmp_path, text, seed):
    (tmp_path / "params.yaml").write_text(text)
    assert read_training_seed(tmp_path / "params.yaml") == seed


def test_a_seed_is_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 0\ntraining_seed: many")
    with pytest.raises(ConfigError, match="training_seed is 'many'"):
        read_training_seed(tmp_path / "params.yaml")
