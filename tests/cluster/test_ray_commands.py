"""What scripts and pages say to `ray`: options that it has."""

import re

import pytest

from tests.cluster.conftest import NO_RAY
from tests.pipelines.checkouts import ROOT, commands
from tests.pipelines.test_ray_files import load_job

start = pytest.importorskip("ray.scripts.scripts", reason=NO_RAY).start
symmetric_run = pytest.importorskip("ray.scripts.symmetric_run", reason=NO_RAY).symmetric_run


def options_of(*programs) -> set[str]:
    return {option for program in programs for parameter in program.params for option in parameter.opts}


def named(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def test_the_slurm_script_starts_ray_with_options_that_it_has():
    script = (ROOT / "deploy/ray-slurm.sbatch").read_text().replace("\\\n", " ")
    (words,) = re.findall(r"ray symmetric-run (.*?) -- ", script)
    given = named(words.split())
    assert {"--address", "--min-nodes"} < given <= options_of(symmetric_run, start)


def test_the_page_and_the_job_start_nodes_with_options_that_ray_has():
    lines = [line for line in commands("sh") if line[:5] == ["uv", "run", "--extra", "cluster", "ray"]]
    assert [line[5] for line in lines] == ["start", "start"]
    cluster = load_job()["spec"]["rayClusterSpec"]
    params = [group["rayStartParams"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    given = named([word for line in lines for word in line[6:]]) | {f"--{name}" for one in params for name in one}
    assert {"--head", "--num-cpus"} < given <= options_of(start)
