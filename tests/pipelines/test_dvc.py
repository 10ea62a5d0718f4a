"""Reading DVC's graph and its messages, and stopping what runs."""

import signal

import pytest

from deixis.core.errors import ConfigError
from pipelines._dvc import Runner, StageFailed, StageNode, parse_action, parse_dag, plan, refuse_broken_lock
from tests.dvc_folder import init_dvc

DOT = """strict digraph  {
"make";
"train@a-b";
"report";
"make" -> "train@a-b";
"train@a-b" -> "report";
"make" -> "report";
}"""


def test_plan_puts_every_stage_after_its_upstream():
    assert parse_dag(DOT) == [
        StageNode("make", ()),
        StageNode("train@a-b", ("make",)),
        StageNode("report", ("make", "train@a-b")),
    ]


GRAPH = """stages:
  make: {cmd: touch made, outs: [made]}
  train: {foreach: [a, b], do: {cmd: "touch ${item}", deps: [made], outs: ["${item}"]}}
  report: {cmd: touch report, deps: [a, b], outs: [report]}
"""


def test_plan_joins_what_several_targets_need(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init_dvc(tmp_path)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    both = [StageNode("make", ()), StageNode("train@a", ("make",)), StageNode("train@b", ("make",))]
    assert plan(["train@a", "train@b"]) == both
    assert plan(["train@b"]) == [both[0], both[2]]
    assert plan() == [*both, StageNode("report", ("train@a", "train@b"))]
    with pytest.raises(ConfigError, match=r"'train@c'.* does not exist.* dvc stage list --name-only"):
        plan(["train@c"])


@pytest.mark.parametrize(
    ("output", "action"),
    [
        pytest.param("Running stage 'a':\n> python -m a\nUpdating lock file", "ran", id="ran"),
        pytest.param("Stage 'a' is cached - skipping run, checking out outputs\n", "restored", id="restored"),
        pytest.param("Stage 'a' didn't change, skipping\nData and pipelines are up to date.", "skipped", id="skipped"),
    ],
)
def test_action(output, action):
    assert parse_action(output) == action


@pytest.mark.parametrize(
    ("code", "again"), [(75, True), (-signal.SIGKILL, True), (137, True), (65, False), (2, False), (1, False)]
)
def test_only_what_can_pass_later_is_tried_again(code, again):
    assert StageFailed("a", code, "").may_pass_later is again


def test_failure_names_the_command_that_shows_it():
    with pytest.raises(StageFailed, match=r"train@x: exit code 65\. Look at it alone with: dvc repro -s train@x"):
        raise StageFailed("train@x", 65, "error: what was found")


def test_a_stopped_runner_starts_nothing():
    runner = Runner()
    runner.stop()
    with pytest.raises(StageFailed, match="stopped before it began"):
        runner.run("anything")


@pytest.mark.parametrize("content", [b"", b"{bro", b"[]", b"\xff\xfe"])
def test_a_broken_lock_of_dvc_is_named_before_anything_runs(tmp_path, content):
    path = tmp_path / "rwlock"
    refuse_broken_lock(path)
    path.write_bytes(b"{}")
    refuse_broken_lock(path)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rwlock: broken, so that DVC runs no stage\. .* delete it: rm "):
        refuse_broken_lock(path)
