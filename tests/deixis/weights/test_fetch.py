"""Downloads from a server on this machine: files by address, in an archive, and from a model hub."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from deixis.core.errors import DataError
from deixis.weights.fetch import fetch
from deixis.weights.locate import card_state, read_pins
from tests.deixis.weights.cards import write_card

ROOT = Path(__file__).parents[3]
CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.reply(self.server.files.get(self.path), with_body=False)

    def do_GET(self):
        self.reply(self.server.files.get(self.path), with_body=True)

    def reply(self, content, *, with_body):
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)  # as a model hub does
        self.end_headers()
        if with_body:
            self.wfile.write(content or b"")

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files = {}
        running.address = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def zipped(*members, content=CONTENT):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, content)
    return stream.getvalue()


def card_with(tmp_path, **file):
    return write_card(tmp_path / "cards", files=[{"name": "little.pt", "sha256": None} | file])


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_fetched_by_its_address_once(tmp_path, server):
    server.files["/little.pt"] = CONTENT
    card = card_with(tmp_path, sha256=DIGEST, url=f"{server.address}/little.pt")
    assert fetch(card, tmp_path / "w") == [tmp_path / "w" / "little.pt"]
    assert card_state(card, tmp_path / "w") == "found"
    server.files.clear()
    assert fetch(card, tmp_path / "w") == []
    assert left_behind(tmp_path / "w") == [tmp_path / "w" / "little.pt"]


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"sha256_prefix": "00000000"}])
def test_another_file_than_published_is_not_kept(tmp_path, server, known):
    server.files["/little.pt"] = CONTENT
    card = card_with(tmp_path, url=f"{server.address}/little.pt", **known)
    with pytest.raises(DataError, match=rf"what arrived has SHA-256 {DIGEST}, published is 0+\. Nothing was kept"):
        fetch(card, tmp_path / "w")
    assert left_behind(tmp_path / "w") == []


def test_a_file_whose_checksum_is_not_published_is_fetched_but_not_vouched_for(tmp_path, server):
    server.files["/little.pt"] = CONTENT
    card = card_with(tmp_path, url=f"{server.address}/little.pt")
    fetch(card, tmp_path / "w")
    assert card_state(card, tmp_path / "w") == "unpinned"


def test_without_the_server_it_says_which_file_to_put_where(tmp_path, server):
    address = server.address
    server.shutdown()
    server.server_close()
    card = card_with(tmp_path, url=f"{address}/little.pt")
    with pytest.raises(DataError, match=rf"could not be fetched.*download {address}/little\.pt and put it at"):
        fetch(card, tmp_path / "w")
    assert left_behind(tmp_path / "w") == []


def test_a_file_that_is_gone_is_told_apart(tmp_path, server):
    card = card_with(tmp_path, url=f"{server.address}/little.pt")
    with pytest.raises(DataError, match=r"could not be fetched \(HTTP Error 404"):
        fetch(card, tmp_path / "w")


def test_a_model_without_an_address_is_brought_by_hand(tmp_path):
    with pytest.raises(DataError, match=r"without an address.*little\.pt as https://example\.org/little describes"):
        fetch(card_with(tmp_path), tmp_path / "w")


def test_a_file_of_the_users_is_not_overwritten(tmp_path, server):
    server.files["/little.pt"] = CONTENT
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "little.pt").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"another checksum than published or pinned\. Move it away"):
        fetch(card_with(tmp_path, sha256=DIGEST, url=f"{server.address}/little.pt"), tmp_path / "w")
    assert (tmp_path / "w" / "little.pt").read_bytes() == b"mine"


def test_what_comes_out_of_a_known_archive_is_known(tmp_path, server):
    packed = zipped("folder/little.pt", "folder/readme.txt")
    server.files["/little.zip"] = packed
    archive = {"url": f"{server.address}/little.zip", "sha256": hashlib.sha256(packed).hexdigest()}
    card = card_with(tmp_path, archive=archive)
    fetch(card, tmp_path / "w")
    assert read_pins(tmp_path / "w") == {"little.pt": DIGEST}
    assert card_state(card, tmp_path / "w") == "found"
    assert {path.name for path in left_behind(tmp_path / "w")} == {"little.pt", "pins.yaml"}


def test_what_comes_out_of_an_unknown_archive_is_not(tmp_path, server):
    server.files["/little.zip"] = zipped("../../little.pt")  # a path in an archive decides nothing
    card = card_with(tmp_path, archive={"url": f"{server.address}/little.zip", "sha256": None})
    fetch(card, tmp_path / "w")
    assert card_state(card, tmp_path / "w") == "unpinned"
    assert left_behind(tmp_path / "w") == [tmp_path / "w" / "little.pt"]


@pytest.mark.parametrize(
    ("packed", "match"),
    [
        pytest.param(zipped("other.pt"), r"holds 0 files named little\.pt", id="absent"),
        pytest.param(zipped("a/little.pt", "b/little.pt"), r"holds 2 files named little\.pt", id="twice"),
        pytest.param(zipped("little.pt")[:-40], "not a whole zip file", id="cut short"),
        pytest.param(zipped("little.pt", content=bytes(1 << 22)), "over 100 times the archive", id="bomb"),
    ],
)
def test_broken_archives_are_refused(tmp_path, server, packed, match):
    server.files["/little.zip"] = packed
    card = card_with(tmp_path, archive={"url": f"{server.address}/little.zip", "sha256": None})
    with pytest.raises(DataError, match=match):
        fetch(card, tmp_path / "w")
    assert left_behind(tmp_path / "w") == []


def test_another_archive_than_published_is_not_opened(tmp_path, server):
    server.files["/little.zip"] = zipped("little.pt")
    card = card_with(tmp_path, archive={"url": f"{server.address}/little.zip", "sha256": "0" * 64})
    with pytest.raises(DataError, match=r"what arrived has SHA-256"):
        fetch(card, tmp_path / "w")


def test_files_come_from_a_model_hub_at_the_revision_of_the_card(tmp_path, server):
    server.files["/somebody/little/resolve/v3/weights.safetensors"] = CONTENT
    files = [{"name": "little/weights.safetensors", "sha256": DIGEST}]
    write_card(tmp_path / "cards", source="hub:somebody/little", revision="v3", files=files)
    program = (
        "from pathlib import Path; from deixis.weights.cards import find_card; from deixis.weights.fetch import fetch\n"
        "print(fetch(find_card('little', Path('cards')), Path('w')))"
    )
    places = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(tmp_path / "hub"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | places, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "w" / "little" / "weights.safetensors").read_bytes() == CONTENT
    assert left_behind(tmp_path / "w") == [tmp_path / "w" / "little" / "weights.safetensors"]
