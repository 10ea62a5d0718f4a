"""What stages ask of a cluster, what nodes have, and what a node lacks; without Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from deixis.core.errors import ConfigError
from pipelines.cluster.body import CODE, Job, checksum, environment_of, what_is_missing
from pipelines.cluster.nodes import Node, connect
from pipelines.cluster.resources import AUTO, Needs, needs_of, refuse_unfit
from tests.pipelines.checkouts import ROOT

GB = 10**9
GPU_NODE, CPU_NODE = Node("a", "one", 16, 4, 64 * GB), Node("b", "two", 8, 0, 32 * GB)
GRAPH = """stages:
  first: {cmd: python -m stages.train --seed 1, meta: {gpus: 2}}
  second: {matrix: {x: [a]}, cmd: python -m stages.train --seed 2, meta: {gpus: 0.5, cpus: 3, memory: 1.5GB}}
  third: {foreach: [a], do: {cmd: python -m stages.draw, meta: {gpus: auto, pieces: true}}}
  plain: {cmd: python -m stages.plain}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "stage", "expected"),
    [
        ("stages.train", "first", Needs(gpus=2)),
        ("stages.train", "second@a", Needs(gpus=0.5, cpus=3, memory=1_500_000_000)),
        ("stages.train", "dvc.yaml:second@a", Needs(gpus=0.5, cpus=3, memory=1_500_000_000)),
        ("stages.train", "", Needs(gpus=2)),
        ("stages.draw", "", Needs(gpus=AUTO, pieces=1)),
        ("stages.plain", "plain", Needs()),
        ("stages.unknown", "", Needs()),
        ("deixis", "", Needs(gpus=AUTO, pieces=1)),
    ],
)
def test_needs_are_those_of_the_stage_or_else_of_its_module(checkout, module, stage, expected):
    assert needs_of(module, stage) == expected


def test_a_stage_of_another_graph_is_found_there(checkout):
    (checkout / "claims").mkdir()
    (checkout / "claims/dvc.yaml").write_text("stages: {first: {cmd: python -m claims.score, meta: {cpus: 7}}}")
    assert needs_of("claims.score", "claims/dvc.yaml:first") == Needs(cpus=7)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{gpu: 1}", r"meta is \{'gpu': 1\}"),
        ("[1]", r"meta is \[1\]"),
        ("{gpus: many}", 'meta.gpus is "many"'),
        ("{gpus: -1}", 'meta.gpus is "-1"'),
        ("{gpus: .nan}", 'meta.gpus is "nan"'),
        ("{gpus: 0.1.2}", 'meta.gpus is "0.1.2"'),
        ("{cpus: auto}", 'meta.cpus is "auto"'),
        ("{cpus: true}", 'meta.cpus is "True"'),
        ("{memory: 8}", 'meta.memory is "8"'),
        ("{memory: 8 gigs}", 'meta.memory is "8 gigs"'),
        ("{pieces: 10}", 'meta.pieces is "10"'),
        ("{pieces: maybe}", 'meta.pieces is "maybe"'),
        ("{ranks: 0}", 'meta.ranks is "0"'),
        ("{ranks: 1.5}", 'meta.ranks is "1.5"'),
    ],
)
def test_a_meta_that_cannot_be_read_is_named(checkout, meta, message):
    (checkout / "dvc.yaml").write_text(f"stages: {{a: {{cmd: python -m stages.a, meta: {meta}}}}}")
    with pytest.raises(ConfigError, match=rf"^a@x: {message}\. Allowed: gpus: a number or auto.*Fix dvc.yaml"):
        needs_of("stages.a", "a@x")


@pytest.mark.parametrize("text", ["stages: [", "1", "stages: {a: 1}", "other: {}"])
def test_a_graph_that_cannot_be_read_is_named(checkout, text):
    (checkout / "dvc.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"dvc.yaml: cannot be read as a graph.*dvc stage list"):
        needs_of("stages.a", "")


def test_every_stage_of_ours_can_be_read(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert needs_of("stages.extract_features", "extract_features@scenes-detector") == Needs(gpus=AUTO, pieces=1)
    assert needs_of("stages.write_pseudo_labels", "write_pseudo_labels@scenes-dvin") == Needs(gpus=AUTO, pieces=3)
    assert needs_of("claims.run_teacher", "") == needs_of("stages.train_teacher", "") == Needs(gpus=AUTO)
    assert needs_of("stages.evaluate", "evaluate_teacher@scenes-dvin") == Needs()


def test_auto_is_a_gpu_where_there_is_one():
    needs = Needs(gpus=AUTO)
    assert needs.settled([CPU_NODE]).gpus == 0 and needs.settled([CPU_NODE, GPU_NODE]).gpus == 1


def test_what_no_node_has_is_refused_with_what_there_is():
    refuse_unfit(Needs(gpus=4, cpus=16, memory=64 * GB), [CPU_NODE, GPU_NODE], "a")
    listed = r"\{gpus: 5, cpus: 1, memory: 2GB\}, and no node has that.*one \{gpus: 4, cpus: 16, memory: 64GB\}; two"
    with pytest.raises(ConfigError, match=rf"a asks for {listed}.*Add a node.*dvc.yaml"):
        refuse_unfit(Needs(gpus=5, memory=2 * GB), [GPU_NODE, CPU_NODE], "a")
    with pytest.raises(ConfigError, match="no node has that"):  # together they would
        refuse_unfit(Needs(cpus=20), [GPU_NODE, CPU_NODE], "a")


@pytest.mark.parametrize(
    ("needs", "threads", "cap", "expected"),
    [
        (Needs(gpus=1), None, None, 4),
        (Needs(gpus=0.5), None, None, 8),
        (Needs(gpus=1, cpus=8), None, None, 2),
        (Needs(gpus=1, memory=40 * GB), None, None, 1),
        (Needs(), None, None, 2),  # every thread of each node
        (Needs(), "4", None, 4 + 2),
        (Needs(), "1", None, 16 + 8),
        (Needs(), "4,2", None, 4 + 2),
        (Needs(), "all", None, 2),
        (Needs(cpus=10), "1", None, 1),
        (Needs(), "64", None, 2),
        (Needs(gpus=1), None, "3", 3),
        (Needs(gpus=1), None, "99", 4),
    ],
)
def test_shares_are_as_many_as_the_cluster_holds(monkeypatch, needs, threads, cap, expected):
    for name, value in (("OMP_NUM_THREADS", threads), ("DEIXIS_PIECES", cap)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert needs.shares([GPU_NODE, CPU_NODE]) == expected


@pytest.mark.parametrize("cap", ["0", "x", "-1", "1.5"])
def test_a_cap_that_is_none_is_refused(monkeypatch, cap):
    monkeypatch.setenv("DEIXIS_PIECES", cap)
    with pytest.raises(ConfigError, match=rf'DEIXIS_PIECES is "{cap}"'):
        Needs().shares([CPU_NODE])


@pytest.mark.parametrize("address", ["auto", "ray://host:10001", "host", "host:port", "host:1:", "http://host:1"])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ConfigError, match=rf'DEIXIS_CLUSTER is "{address}"\. Allowed: HOST:PORT.*local.*unset'):
        connect(address)


@pytest.fixture
def job(checkout) -> Job:
    (checkout / CODE).parent.mkdir()
    (checkout / CODE).write_text("{}")
    (checkout / "stamp").touch()
    code = checksum(str(checkout))
    return Job(("-c", ""), str(checkout), str(checkout / "stamp"), code, "guard", {"A": "1"}, has_gpu=True)


def test_a_node_that_sees_the_checkout_lacks_nothing(job):
    assert what_is_missing(job) is None


def test_a_node_says_what_it_lacks(job, checkout, monkeypatch):
    monkeypatch.setattr("pipelines.cluster.body.SECONDS_UNTIL_SEEN", 0.1)
    assert what_is_missing(replace(job, folder="/nowhere")) == "has no folder /nowhere"
    (checkout / CODE).write_text("{ }")
    assert what_is_missing(job) == f"has another {CODE} in {checkout}"
    (checkout / CODE).unlink()
    assert what_is_missing(job) == f"has another {CODE} in {checkout}"
    (checkout / "stamp").unlink()
    assert what_is_missing(job) == f"has a folder {checkout} of its own, and not the one where the stage was started"


def test_a_body_has_the_devices_of_its_node_and_none_that_it_did_not_ask_for(job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    assert environment_of(job) == {"A": "1", "CUDA_VISIBLE_DEVICES": "3"}
    none = {"A": "1", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    assert environment_of(replace(job, has_gpu=False)) == none
