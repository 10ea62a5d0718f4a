"""How a second round of labels is compared with the first."""

import pandas as pd
import pytest
from ruamel.yaml import YAML

from benchmarks.second_round import FIRST, compare, write_params
from deixis.core.config import load_params


def test_a_gain_is_paired_and_has_two_intervals():
    of_world = [
        pd.DataFrame({FIRST: [1, 0, 0, 0], "agreed": [1, 1, 0, 0]}, index=[1, 1, 2, 2], dtype=bool),
        pd.DataFrame({FIRST: [1, 1, 0, 0], "agreed": [1, 1, 1, 1]}, index=[1, 1, 2, 2], dtype=bool),
    ]
    found = compare(of_world, "agreed")
    assert found["each"] == [50.0, 100.0] and found["gain"] == 37.5  # 25 and 50 points
    low, high = found["over_worlds"]
    assert low < 0 < high and low + high == pytest.approx(75)  # two worlds say little
    assert compare(of_world, FIRST)["gain"] == 0 and compare(of_world, FIRST)["over_images"] == [0.0, 0.0]
    assert "over_worlds" not in compare(of_world[:1], "agreed")


def test_fewer_labels_have_as_many_steps(tmp_path):
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump({"seed": 3, "students": {"simrec": {"recipe": {"epochs": 4}}}}, stream)
    write_params(tmp_path / "params.yaml", "simrec", share=0.64, to=tmp_path / "other.yaml")
    written = load_params(tmp_path / "other.yaml")
    assert written["students"]["simrec"]["recipe"]["epochs"] == 6  # 4 / 0.64 = 6.25
    assert (written["seed"], written["training_seed"]) == (3, 1)
