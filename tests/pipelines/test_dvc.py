"""Reading DVC's graph and its messages, and stopping what runs."""

import signal

import pytest

from pipelines._dvc import Runner, StageFailed, StageNode, parse_action, parse_dag

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
