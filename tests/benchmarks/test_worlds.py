"""Numbers of several worlds: what all of them have, with a mean and its interval."""

import os
import subprocess
from pathlib import Path

import pytest
from cyclopts import App

from benchmarks.worlds import CELLS, HELPED, as_table, check_out, commit_of, interval, main, rebuilding
from deixis.core.config import load_params
from deixis.core.errors import ConfigError
from deixis.core.records import read_json, write_json
from pipelines._settings import experiment
from pipelines.rebuild import main as rebuild

ROOT = Path(__file__).parents[2]


def world(folder, *, title="as it was", **scores) -> None:
    """A checkout with results."""
    folder.mkdir()
    of_nobody = ("-c", "user.name=-", "-c", "user.email=-", "-c", "commit.gpgsign=false")
    dated = os.environ | {
        "GIT_AUTHOR_DATE": "@0 +0000",
        "GIT_COMMITTER_DATE": "@0 +0000",
    }  # equal commits where titles are
    for command in (["init", "-q"], [*of_nobody, "commit", "-q", "--allow-empty", "-m", title]):
        subprocess.run(["git", *command], cwd=folder, env=dated, check=True)
    for name, acc50 in scores.items():
        write_json({"n": 10, "acc50": acc50, "miou": acc50 / 2}, folder / f"reports/headlines/scenes/{name}.json")


def test_what_all_worlds_have_is_summed_up(tmp_path, capsys):
    world(tmp_path / "1", dvin=0.7, simrec=0.6, transvg=0.5)
    world(tmp_path / "2", dvin=0.8, simrec=0.6)
    world(tmp_path / "3", dvin=0.75, simrec=0.6)
    main(folder=tmp_path, out=tmp_path / "worlds.json", build=False)
    stated = read_json(tmp_path / "worlds.json", made_by="this test")
    assert stated["seeds"] == [1, 2, 3] and len(stated["commit"]) == 40
    assert stated["worlds"]["scenes"]["dvin"]["acc50"] == {
        "each": [70.0, 80.0, 75.0],
        "mean": 75.0,
        "interval": [62.6, 87.4],
    }
    assert stated["worlds"]["scenes"]["simrec"]["miou"]["interval"] == [30.0, 30.0]
    assert set(stated["worlds"]["scenes"]) == {"dvin", "simrec"}  # transvg is of one world
    assert "| `dvin` | 75.0 [62.6, 87.4]: 70.0, 80.0, 75.0 |" in capsys.readouterr().out


def test_a_student_is_compared_with_its_teacher_world_by_world(tmp_path, capsys):
    world(tmp_path / "1", **{"dvin": 0.7, "dvin-simrec": 0.65, "truth-simrec": 0.9})
    world(tmp_path / "2", **{"dvin": 0.8, "dvin-simrec": 0.77, "truth-simrec": 0.9})
    main(seeds=(1, 2), folder=tmp_path, out=tmp_path / "worlds.json", build=False)
    of = read_json(tmp_path / "worlds.json", made_by="this test")["worlds"]["scenes"]
    assert of["dvin-simrec"]["acc50_less_teacher"] == {"each": [-5.0, -3.0], "mean": -4.0, "interval": [-16.7, 8.7]}
    assert "acc50_less_teacher" not in of["dvin"] | of["truth-simrec"]
    assert "65.0, 77.0; less its teacher -4.0 [-16.7, 8.7] |" in capsys.readouterr().out


def test_every_setting_has_a_value_in_params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with experiment(HELPED, path, tmp_path / "kept.json"):
        params = load_params(path)
    assert params["students"]["transvg"]["recipe"]["epochs"] == 40
    assert params["students"]["realgin"]["model"] == params["students"]["realgin"]["model"] | CELLS


def test_the_flow_reads_every_setting():
    program, *arguments = rebuilding("seed=1", *HELPED)[2:]
    assert program == "pipelines.rebuild"
    _, bound, _ = App(default_command=rebuild).parse_args(arguments)
    assert tuple(bound.arguments["settings"]) == ("seed=1", *HELPED)


def test_a_clone_begins_without_numbers_of_another_world(tmp_path, monkeypatch):
    world(tmp_path / "origin", dvin=0.7)
    monkeypatch.chdir(tmp_path / "origin")
    for command in (["add", "reports"], ["-c", "user.name=-", "-c", "user.email=-", "commit", "-qm", "with numbers"]):
        subprocess.run(["git", *command], check=True)
    check_out(tmp_path / "clone", commit_of(Path()))
    assert not (tmp_path / "clone/reports/headlines").exists() and commit_of(tmp_path / "clone") == commit_of(Path())


def test_worlds_of_different_commits_are_not_put_together(tmp_path):
    world(tmp_path / "1", dvin=0.7)
    world(tmp_path / "2", dvin=0.8, title="another one")
    with pytest.raises(ConfigError, match=r"worlds of 2 commits\. Build them anew: python -m benchmarks\.worlds"):
        main(seeds=(1, 2), folder=tmp_path, out=tmp_path / "worlds.json", build=False)


def test_an_interval_is_students():
    low, high = interval([1.0, 3.0])  # t of one degree of freedom: 12.706
    assert low == pytest.approx(2 - 12.706, abs=1e-3) and high == pytest.approx(2 + 12.706, abs=1e-3)


def test_a_predictor_of_one_dataset_has_an_empty_cell_for_others():
    of = {"acc50": {"each": [1.0, 3.0], "mean": 2.0, "interval": [-10.7, 14.7]}}
    assert (
        as_table({"scenes": {"dvin": of}, "scenes_plus": {}}).splitlines()[-1]
        == "| `dvin` | 2.0 [-10.7, 14.7]: 1.0, 3.0 |  |"
    )


def test_one_world_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"of one world there is no interval. Allowed: two or more"):
        main(seeds=(1, 1), folder=tmp_path, build=False)
