"""What the doctor finds, and that every problem has its remedy."""

import json

import pytest

from commands.doctor import doctor, examine

pytestmark = pytest.mark.slow


def by_name(root) -> dict[str, tuple[str, str, str]]:
    return {f"{check.group} {check.name}": (check.state, check.found, check.remedy) for check in examine(root)}


def test_every_problem_has_a_remedy(tmp_path, world):
    for root in (tmp_path, world):
        for check in examine(root):
            assert (check.state == "ok") == (not check.remedy), check


def test_it_sees_what_is_trained_and_what_is_not(world, tmp_path, monkeypatch):
    monkeypatch.delenv("DEIXIS_WEIGHTS", raising=False)
    checks = by_name(world)
    assert checks["weights detector"][0] == "ok" and checks["weights distilled_vit"][0] == "note"
    assert checks["data teachers"][1] == "toy/dvin, toy/refclip"
    assert checks["data prepared"][1] == "toy"
    assert by_name(tmp_path)["data teachers"] == ("note", "none", "dvc repro")
    assert checks["versions torch"][0] == "ok" and checks["versions python"][0] == "ok"


def test_a_checkpoint_cut_in_half_breaks_the_default_run(tmp_path):
    folder = tmp_path / "data/weights/embedded/detector"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    state, problem, remedy = by_name(tmp_path)["weights detector"]
    assert (state, problem) == ("broken", "only config.json") and str(folder) in remedy and "dvc repro" in remedy


def test_the_exit_code_tells_what_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEIXIS_DEVICE", raising=False)
    doctor(as_json=True)
    assert {"group", "name", "state", "found", "remedy"} == set(json.loads(capsys.readouterr().out)[0])
    monkeypatch.setenv("DEIXIS_DEVICE", "tpu")
    with pytest.raises(SystemExit) as ended:
        doctor()
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "broken: DEIXIS_DEVICE" in printed and "unset DEIXIS_DEVICE" in printed


def test_published_weights_are_looked_for_where_other_commands_look(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEIXIS_WEIGHTS", "")
    assert by_name(tmp_path)["weights published"][:2] == ("note", f"none in {tmp_path / 'data/published'}")
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path / "file"))
    state, found, remedy = by_name(tmp_path)["weights published"]
    assert (state, remedy) == ("note", "unset DEIXIS_WEIGHTS") and "a file. Allowed: a folder" in found
