"""Reading DVC's graph, and which part of it may have to run."""

import pytest

from deixis.core.errors import ConfigError
from pipelines._graph import StageNode, parse_dag, plan, stale_and_below, stale_stages
from tests.pipelines.checkouts import init

pytestmark = pytest.mark.slow

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
    init(tmp_path, GRAPH)
    both = [StageNode("make", ()), StageNode("train@a", ("make",)), StageNode("train@b", ("make",))]
    assert plan(["train@a", "train@b"]) == both
    assert plan() == [*both, StageNode("report", ("train@a", "train@b"))]
    assert stale_stages(["train@b"]) == {"make", "train@b"}
    with pytest.raises(ConfigError, match=r"'train@c'.* does not exist.* dvc stage list --name-only"):
        stale_stages(["train@c"])


def test_what_is_below_a_stale_stage_may_have_to_run_and_waits_for_nothing_else():
    nodes = [
        StageNode("code", ()),
        StageNode("make", ("code",)),
        StageNode("train", ("make",)),
        StageNode("other", ("code",)),
        StageNode("report", ("other", "train")),
    ]
    assert stale_and_below(nodes, {"train"}) == [StageNode("train", ()), StageNode("report", ("train",))]
    assert stale_and_below(nodes, {"make", "report"}) == [
        StageNode("make", ()),
        StageNode("train", ("make",)),
        StageNode("report", ("train",)),
    ]
    assert stale_and_below(nodes, set()) == []
