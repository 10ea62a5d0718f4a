"""Stages through Ray's own nodes: who gets which device, what comes home, and what a death leaves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines._guard import SECONDS_TO_STOP
from tests.cluster.conftest import NO_RAY, ROOT, SECONDS, end_of, kill_node, raylet_of
from tests.pipelines.test_runner import is_there
from tests.waiting import wait_until

pytest.importorskip("ray", reason=NO_RAY)

CODES = (0, 2, 65, 75) * 2
FOREVER = "99"  # others that never come
LINES = "".join(f"{{0}} {number}\n" for number in range(5))


def facts_of(folder: Path, pattern: str = "began/*") -> list[dict]:
    return [json.loads(path.read_text()) for path in folder.glob(pattern)]


def own_processes(folder: Path, start) -> tuple[subprocess.Popen[str], list[int]]:
    """A stage that waits for ever, and its processes up to the one that Ray gave it: stage, guard, shell."""
    launcher = start("sleeper", FOREVER, "0", stage="sleep")
    wait_until(lambda: any(path.stat().st_size for path in folder.glob("began/*")))
    return launcher, facts_of(folder)[0]["pids"][:3]


def test_eight_stages_at_once_get_eight_devices_and_keep_codes_and_output(cluster, checkout, start):
    running = [start("sleeper", str(len(CODES)), str(code), stage=f"sleep@{n}") for n, code in enumerate(CODES)]
    ended = [end_of(process) for process in running]
    assert [code for code, _, _ in ended] == list(CODES)
    assert {(out, err) for _, out, err in ended} == {
        (LINES.format("out") + "last line without an end", LINES.format("err"))
    }
    facts = facts_of(checkout, "ended.*")
    assert max(one["start"] for one in facts) < min(one["end"] for one in facts)  # all at one instant
    nodes = {raylet_of(node): number for number, node in enumerate(cluster.list_all_nodes())}
    places = [(nodes[next(pid for pid in one["pids"] if pid in nodes)], one["gpu"]) for one in facts]
    assert sorted(places) == [(node, gpu) for node in (0, 1) for gpu in "0123"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_ends_leaves_no_process_behind(checkout, start, number):
    launcher, pids = own_processes(checkout, start)
    assert all(map(is_there, pids))
    launcher.send_signal(number)
    assert launcher.wait(SECONDS) in (-signal.SIGKILL, 128 + signal.SIGINT)
    wait_until(lambda: not any(map(is_there, pids)), SECONDS_TO_STOP + 10)


def test_a_stage_whose_node_dies_is_to_be_tried_again_and_leaves_no_process_behind(cluster, checkout, start):
    node = cluster.add_node(num_cpus=1, num_gpus=8)
    launcher = start("sleeper", FOREVER, "0", stage="sleep_alone")
    wait_until(lambda: any(path.stat().st_size for path in checkout.glob("began/*")))
    pids = facts_of(checkout)[0]["pids"][:3]
    kill_node(cluster, node)
    code, _, err = end_of(launcher)
    assert code == 75
    assert f"error: sleep_alone: it was lost with node {socket.gethostname()}" in err
    wait_until(lambda: not any(map(is_there, pids)), SECONDS_TO_STOP + 10)


def test_devices_that_no_node_has_are_refused_at_once(start):
    code, out, err = end_of(start("sleeper", "0", "0", stage="sleep_nowhere@x"))
    asked, has = r"{gpus: 99, cpus: 1, memory: 3GB}", "{gpus: 4, cpus: 4, memory: "
    assert code == 2 and not out
    assert err.startswith(f"error: sleep_nowhere@x asks for {asked}, and no node has that. There are: ")
    assert err.count(has) == 2 and len(err.splitlines()) == 1


def test_a_node_without_the_checkout_is_named(cluster, checkout, start):
    """It lives in a space of its own, where another disk lies over the checkout's parent."""
    hidden = checkout.parent
    alone = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(hidden)], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk in a space of its own")
    ray = Path(sys.executable).parent / "ray"
    script = f"mount -t tmpfs none {hidden} && exec {ray} start --address={cluster.address} --num-gpus=8 --block"
    node = subprocess.Popen(
        [*alone, "sh", "-c", script], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        code, out, err = last_try(start)
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait(SECONDS)
    assert (code, out) == (2, "")
    assert f"node {socket.gethostname()}" in err and f"has no folder {checkout}" in err and "shared disk" in err


def last_try(start) -> tuple[int, str, str]:
    """The stage that needs the node, once it is there."""
    end = time.monotonic() + SECONDS
    while True:
        ended = end_of(start("sleeper", "0", "0", stage="sleep_alone"))
        if not re.search("no node (has that|is left)", ended[2]) or time.monotonic() > end:
            return ended


def test_an_address_where_nobody_listens_is_refused_at_once(start):
    code, out, err = end_of(start("sleeper", "0", "0", stage="sleep", address="127.0.0.1:1"))
    assert (code, out) == (2, "")
    assert err.startswith("error: DEIXIS_CLUSTER is 127.0.0.1:1, where no cluster takes us in ([Errno ")
    assert "ray start --address=127.0.0.1:1" in err and len(err.splitlines()) == 1


def test_an_address_where_something_else_listens_is_refused_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code = f"from pipelines.cluster import nodes; nodes.SECONDS_TO_JOIN = 2; nodes.connect('{address}')"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert (
        f"error: DEIXIS_CLUSTER is {address}, where no cluster takes us in (nothing that Ray understands" in done.stderr
    )
