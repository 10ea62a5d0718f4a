"""docs/cluster.md literally, and the files that it names, as far as no machine of their own is needed."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from pipelines.flow import rebuild
from tests.pipelines.checkouts import PAGE, ROOT, commands


def load(name: str) -> dict:
    return YAML(typ="safe").load(ROOT / "deploy" / name)


def variables() -> dict:
    return load("prefect.yaml")["deployments"][0]["work_pool"]["job_variables"]["env"]


def test_the_schedule_names_parameters_of_the_flow_and_one_run_at_a_time():
    (nightly,) = load("prefect.yaml")["deployments"]
    assert nightly["concurrency_limit"]["limit"] == 1
    rebuild.validate_parameters(nightly["parameters"])
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert documented == set(rebuild.parameters.properties) > set(nightly["parameters"])


def test_a_run_has_three_heartbeats_until_it_counts_as_dead():
    (automation,) = load("automations.yaml")["automations"]
    assert automation["trigger"]["within"] == 3 * int(variables()["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])


def test_retries_outlast_a_server_that_is_away_for_ten_minutes():
    retries = int(
        load("prefect.yaml")["deployments"][0]["work_pool"]["job_variables"]["env"]["PREFECT_CLIENT_MAX_RETRIES"]
    )
    shortest = 0.8  # of a wait that is drawn at random around its length
    assert sum(2**attempt for attempt in range(1, retries + 1)) * shortest > 600


def test_the_unit_starts_a_program_of_the_environment(tmp_path):
    text = (ROOT / "deploy/deixis-worker.service").read_text()
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).is_absolute() and (Path(sys.executable).parent / Path(program).name).exists()
    assert ["uv", "run", "prefect", *arguments[:4]] in commands("bash")
    if shutil.which("systemd-analyze"):
        here = tmp_path / "deixis-worker.service"
        here.write_text(
            text.replace("/srv/deixis/.venv/bin", str(Path(sys.executable).parent)).replace("User=deixis", "")
        )
        done = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True)
        assert "deixis-worker" not in done.stderr, done.stderr


def test_the_compose_file_has_the_servers_version_and_a_database_that_is_waited_for():
    services = load("compose.yaml")["services"]
    version = re.search(r"^prefect==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert version and f":{version[1]}-" in services["server"]["image"]
    assert services["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_commands_that_are_not_run_name_files_that_are_there():
    named = [word for line in commands("sh") for word in line if word.startswith("deploy/")]
    assert named and all((ROOT / word).exists() for word in named)
