"""Other settings for one run, and the file's own bytes afterwards."""

import pytest

from deixis.core.config import load_params
from deixis.core.errors import ConfigError
from pipelines._settings import experiment

PARAMS = "seed: 0  # of everything\nteachers: {dvin: {epochs: 3, rate: 1e-4}}\n"


@pytest.fixture
def files(tmp_path):
    path, kept = tmp_path / "params.yaml", tmp_path / "params.json"
    path.write_text(PARAMS)
    return path, kept


def test_settings_hold_for_the_run_alone(files):
    with experiment(["seed=7", "teachers.dvin.rate=2e-5"], *files):
        assert load_params(files[0]) == {"seed": 7, "teachers": {"dvin": {"epochs": 3, "rate": 2e-5}}}
    assert files[0].read_text() == PARAMS and not files[1].exists()


def test_a_failed_run_leaves_the_file_as_it_was(files):
    with pytest.raises(RuntimeError), experiment(["seed=7"], *files):
        raise RuntimeError
    assert files[0].read_text() == PARAMS


def test_the_run_after_a_killed_one_has_the_files_own_settings(files):
    killed = experiment(["seed=7"], *files)
    killed.__enter__()
    with experiment([], *files):
        assert files[0].read_text() == PARAMS


def test_an_edit_during_a_killed_run_is_not_overwritten(files):
    killed = experiment(["seed=7"], *files)
    killed.__enter__()
    files[0].write_text("seed: 8\n")
    with pytest.raises(ConfigError, match=r"edited while a run had other settings in it\. .*rm .*params\.json"):
        with experiment([], *files):
            raise AssertionError("it runs")
    files[1].unlink()


@pytest.mark.parametrize("setting", ["sed=1", "seed", "seed.x=1", "teachers.refclip.epochs=1"])
def test_what_is_no_setting_is_told_with_those_that_are(files, setting):
    with pytest.raises(ConfigError, match=rf'"{setting}" is no setting of .*params.yaml with a value.*seed=1'):
        with experiment([setting], *files):
            raise AssertionError("it runs")
    assert files[0].read_text() == PARAMS and not files[1].exists()


def test_a_value_that_is_no_yaml_is_told(files):
    with pytest.raises(ConfigError, match=r'"seed=\[1": not a value in YAML'):
        with experiment(["seed=[1"], *files):
            raise AssertionError("it runs")
