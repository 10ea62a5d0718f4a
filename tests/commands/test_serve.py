"""`deixis serve`: what it finds by itself, what it refuses, and that it starts without torch."""

import getpass
import json
import signal
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from answering.cards import DEFAULT_MODEL
from commands.serve import choose_model, name_of, serve
from deixis.core.errors import ConfigError, DataError
from reviewing.page.access import Access
from reviewing.page.app import Parts, build_app
from reviewing.page.places import places_of
from reviewing.page.server import listen, run
from tests.reviewing.reviewable import write_reviewable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def labels(tmp_path):
    return write_reviewable(tmp_path / "own", images=1)


def write_card(folder: Path) -> Path:
    folder.mkdir(parents=True)
    card = {"teacher": "dvin", "model": {}, "vocabulary": [], "sha256": "0"}
    (folder / "config.json").write_text(json.dumps(card))
    return folder


def test_nothing_to_serve_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"nothing to serve: no labels were named.*dvc repro"):
        serve(port=0)


def test_a_taken_port_is_said_once_and_nothing_is_written(labels):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: is taken, .* or 0 for a free one"):
            serve(labels, port=port)
    assert not (labels.parent / "decisions").exists()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ConfigError, match=r"Allowed: 1 to 65535, or 0"):
        listen(port)


def test_nobody_outside_this_machine_is_listened_to():
    with listen(0) as opened:
        assert opened.getsockname()[0] == "127.0.0.1"
        assert opened.proto == socket.IPPROTO_TCP  # without it every answer waits 40 ms


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_being_stopped_before_the_first_request_ends_without_a_failure(monkeypatch, how):
    class Stopped(StringIO):
        """A terminal at which somebody stops the server when its address is printed."""

        def write(self, text: str) -> int:
            signal.raise_signal(how)
            return super().write(text)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr("sys.stdout", Stopped())
    try:
        with listen(0) as opened:
            run(build_app(Parts(access=Access(0))), opened, "http://here", show=False)
    except KeyboardInterrupt:
        pytest.fail("an exception where the server should have ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("who", ["", "  ", "x" * 101])
def test_a_name_is_needed_to_decide(who):
    with pytest.raises(ConfigError, match="Allowed: a name of 1 to 100 characters"):
        name_of(who)


def test_the_account_decides_where_nobody_is_named():
    assert name_of(None) == getpass.getuser() and name_of(" ann ") == "ann"


def test_images_that_are_not_found_are_asked_for(labels, tmp_path):
    (labels.parent / "prepared/images").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"was not found\. Name it: --image-root FOLDER"):
        serve(labels, port=0)
    (labels.parent / "prepared").rename(tmp_path / "tables")
    with pytest.raises(DataError, match=r"images.parquet: missing.*Name it with --images"):
        serve(labels, port=0)
    assert not (labels.parent / "decisions").exists()


def test_the_model_is_the_one_stated_else_that_of_the_labels_else_the_usual_one(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stated, own = write_card(tmp_path / "stated"), write_card(tmp_path / "own_model")
    assert choose_model(None, places_of(labels)) is None
    write_card(DEFAULT_MODEL)
    assert choose_model(None, places_of(labels)) is not None
    (labels.parent / "summary.json").write_text(json.dumps({"model": str(own)}))
    assert [choose_model(model, places_of(labels))() for model in (stated, None)] == [stated, own]
    with pytest.raises(DataError, match=r"nowhere: no trained model"):
        choose_model(tmp_path / "nowhere", None)


def test_the_server_does_not_wait_for_torch(labels):
    code = (
        "import sys, commands.serve as s; from pathlib import Path\n"
        "s.run = lambda *_, **__: print('torch' in sys.modules)\n"
        "s.serve(Path(sys.argv[1]), port=0, who='ann')"
    )
    done = subprocess.run([sys.executable, "-c", code, labels], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
