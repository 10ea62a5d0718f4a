"""The files for Slurm and Kubernetes against what these document: nobody has run them."""

import re
import subprocess
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines.cluster.resources import Needs
from tests.pipelines.checkouts import PAGE, ROOT

SBATCH = {
    "job-name": r"[\w-]+", "nodes": r"\d+", "ntasks-per-node": "1", "cpus-per-task": r"\d+", "gpus-per-node": r"\d+",
    "time": r"\d+:\d\d:\d\d", "output": r"[\w%.-]+", "requeue": "",
}  # fmt: skip


def test_the_slurm_script_is_sound_shell_with_options_that_slurm_knows():
    path = ROOT / "deploy/ray-slurm.sbatch"
    head, _, rest = path.read_text().partition("\nset -euo pipefail\n")
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", head, re.MULTILINE))
    assert len(options) == head.count("#SBATCH")
    assert options.keys() == SBATCH.keys() and "#SBATCH" not in rest  # Slurm reads none after the first command
    for name, value in options.items():
        assert re.fullmatch(SBATCH[name], value), name
    assert subprocess.run(["bash", "-n", path], capture_output=True).returncode == 0
    assert "Not run: no such cluster" in head


# What KubeRay's definition of ray.io/v1 RayJob, and Kubernetes' of a pod, say of the fields that ours has: kinds of
# values, and after "!" fields that must be there.
RESOURCES = {"requests": {"*": str}, "limits": {"*": str}}
POD = {
    "spec": {
        "!": ["containers"],
        "containers": [
            {
                "!": ["name"], "name": str, "image": str, "env": [{"!": ["name"], "name": str, "value": str}],
                "resources": RESOURCES,
                "volumeMounts": [{"!": ["name", "mountPath"], "name": str, "mountPath": str}],
            }
        ],
        "volumes": [{"!": ["name"], "name": str, "persistentVolumeClaim": {"!": ["claimName"], "claimName": str}}],
    }
}  # fmt: skip
RAY_JOB = {
    "!": ["apiVersion", "kind", "metadata", "spec"], "apiVersion": "ray.io/v1", "kind": "RayJob",
    "metadata": {"generateName": str},
    "spec": {
        "entrypoint": str, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "!": ["headGroupSpec"],
            "headGroupSpec": {"!": ["template"], "rayStartParams": {"*": str}, "template": POD},
            "workerGroupSpecs": [
                {
                    "!": ["groupName", "maxReplicas", "minReplicas", "template"], "groupName": str, "replicas": int,
                    "minReplicas": int, "maxReplicas": int, "rayStartParams": {"*": str}, "template": POD,
                }
            ],
        },
    },
}  # fmt: skip


def load_job() -> Any:
    return YAML(typ="safe").load((ROOT / "deploy/rayjob.yaml").read_text())


def faults(value, allowed, at: str = "") -> list[str]:
    """Where a value is not as allowed."""
    if isinstance(allowed, dict):
        if not isinstance(value, dict):
            return [f"{at}: no mapping"]
        lacking = [f"{at}: lacks {name}" for name in allowed.get("!", []) if name not in value]
        known = {name: allowed.get(name, allowed.get("*")) for name in value}
        return lacking + [
            fault
            for name, inner in value.items()
            for fault in (faults(inner, known[name], f"{at}.{name}") if known[name] else [f"{at}: knows no {name}"])
        ]
    if isinstance(allowed, list):
        if not isinstance(value, list):
            return [f"{at}: no list"]
        return [fault for number, one in enumerate(value) for fault in faults(one, allowed[0], f"{at}.{number}")]
    if isinstance(allowed, type):
        return [] if type(value) is allowed else [f"{at}: no {allowed.__name__}"]
    return [] if value == allowed else [f"{at}: not {allowed}"]


def test_the_ray_job_has_the_structure_that_kuberay_documents():
    job = load_job()
    assert faults(job, RAY_JOB) == []
    assert "Not run: no such cluster" in (ROOT / "deploy/rayjob.yaml").read_text()
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for spec in (group["template"]["spec"] for group in groups):
        assert {mount["name"] for one in spec["containers"] for mount in one["volumeMounts"]} == {
            volume["name"] for volume in spec["volumes"]
        }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "entryPoint"], "x"), (["spec", "ttlSecondsAfterFinished"], "600"), (["apiVersion"], "ray.io/v2"),
        (["spec", "rayClusterSpec", "headGroupSpec"], {}), (["spec", "rayClusterSpec", "workerGroupSpecs"], [{}]),
        (["spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"], {"num-cpus": 0}),
    ],
)  # fmt: skip
def test_another_structure_would_be_noticed(path, value):
    job = load_job()
    inner = job
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert faults(job, RAY_JOB)


def test_the_cluster_page_names_what_meta_may_hold():
    table = PAGE.partition("| in `meta` |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| ([a-z]+) \|", table, re.MULTILINE))
    assert documented == set(Needs.__dataclass_fields__)
