"""`deixis weights` as a user calls it, on real cards and an own folder of weights."""

import hashlib

import pytest

from commands.weights import app
from deixis.core.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def say(capsys):
    """Run a command and give what it printed."""

    def call(*words: str) -> str:
        app(list(words), result_action="return_value", exit_on_error=False)
        return capsys.readouterr().out

    return call


def state_in(listed: str, name: str) -> str:
    row = next(line for line in listed.splitlines() if f" {name} " in line)
    return [cell.strip() for cell in row.split("│")][5]


def test_list_tells_the_four_states_apart(folder, say):
    (folder / "sam_vit_b_01ec64.pth").write_bytes(b"not SAM")
    (folder / "yolo11n.pt").write_bytes(b"a detector")
    (folder / "yolo11s.pt").write_bytes(b"another")
    say("verify", "yolo11s", "--pin")
    listed = say("list")
    states = {name: state_in(listed, name) for name in ("sam-vit-b", "yolo11n", "yolo11s", "mobile-sam")}
    assert states == {
        "sam-vit-b": "wrong checksum", "yolo11n": "unpinned", "yolo11s": "found", "mobile-sam": "missing",
    }  # fmt: skip


def test_where_says_the_path_the_source_and_what_was_seen(folder, say):
    shown = say("where", "yolo11n")
    for fact in (str(folder / "yolo11n.pt"), "AGPL-3.0", "COCO train2017 (labels: box)", "640 pixels", "weights fetch"):
        assert fact in shown


def test_pinning_says_what_was_pinned_and_lets_the_file_pass(folder, say):
    (folder / "yolo11n.pt").write_bytes(b"a detector")
    with pytest.raises(DataError, match="nobody vouches"):
        say("verify", "yolo11n")
    digest = hashlib.sha256(b"a detector").hexdigest()
    assert f"pinned yolo11n.pt as {digest}" in say("verify", "yolo11n", "--pin")
    assert say("verify") == "yolo11n: found\n"  # without a name: all that lie there


def test_verify_of_an_empty_folder_and_of_an_unknown_name(folder, say):
    with pytest.raises(DataError, match="holds no published weights"):
        say("verify")
    with pytest.raises(ConfigError, match=r'no card "yolo". Known: all-minilm-l6-v2, bert-base-uncased'):
        say("verify", "yolo")


def test_fetch_of_a_model_that_is_brought_by_hand(folder, say):
    with pytest.raises(
        DataError, match=r"yolov3_coco\.pth as https://github\.com/kingthreestones/RefCLIP describes"
    ) as caught:
        say("fetch", "refclip-yolov3")
    assert caught.value.exit_code == 65
    with pytest.raises(ConfigError, match="no model named"):
        say("fetch")


@pytest.mark.parametrize("words", [["--help"], ["list", "-h"], ["where", "-h"], ["verify", "-h"], ["fetch", "-h"]])
def test_help_names_the_folder_or_the_argument(words, say):
    shown = say(*words)
    assert "Usage: weights" in shown
    assert any(word in shown for word in ("DEIXIS_WEIGHTS", "unpinned", "NAME"))
