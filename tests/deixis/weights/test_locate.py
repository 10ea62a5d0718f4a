"""Only files that someone vouches for are loaded."""

import hashlib

import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.weights.locate import card_state, pin, read_pins, resolve_weights, weights_folder
from tests.deixis.weights.cards import write_card

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def place(folder, name="little.pt", content=CONTENT):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_with_the_published_checksum_is_found(tmp_path):
    card = write_card(tmp_path / "cards", files=[{"name": "little.pt", "sha256": DIGEST}])
    path = place(tmp_path)
    assert card_state(card, tmp_path) == "found"
    assert resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards") == path


def test_a_missing_file_says_what_to_put_where(tmp_path):
    write_card(tmp_path, source="hub:somebody/little", revision="v3")
    message = (
        r"little\.pt: missing.*fetch little.*download little\.pt of the hub's model somebody/little at revision v3 and "
        r"put it at .*little\.pt; then run: deixis weights verify little$"
    )
    with pytest.raises(DataError, match=message):
        resolve_weights("little", folder=tmp_path / "weights", cards=tmp_path)


def test_another_file_is_refused_and_cannot_be_pinned(tmp_path):
    card = write_card(tmp_path / "cards", files=[{"name": "little.pt", "sha256": DIGEST}])
    place(tmp_path, content=b"another")
    assert card_state(card, tmp_path) == "wrong checksum"
    for attempt in (
        lambda: resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards"),
        lambda: pin(card, tmp_path),
    ):
        with pytest.raises(DataError, match=rf"SHA-256 is (?!{DIGEST}).* but {DIGEST} is published"):
            attempt()
    assert read_pins(tmp_path) == {}


def test_an_unknown_checksum_is_refused_until_it_is_pinned_and_again_when_the_file_changes(tmp_path):
    card = write_card(tmp_path / "cards")
    path = place(tmp_path)
    with pytest.raises(DataError, match=r"nobody vouches.*deixis weights verify little --pin"):
        resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards")
    assert pin(card, tmp_path) == {"little.pt": DIGEST}
    assert resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards") == path
    path.write_bytes(b"changed")
    with pytest.raises(DataError, match=rf"{DIGEST} is pinned in .*pins\.yaml"):
        resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards")
    assert list(pin(card, tmp_path)) == ["little.pt"]  # asked for again, it is vouched for anew
    assert card_state(card, tmp_path) == "found"


def test_pins_of_other_files_stay(tmp_path):
    first = write_card(tmp_path / "cards")
    second = write_card(tmp_path / "cards", file_name="b", name="big", files=[{"name": "big/w.pt", "sha256": None}])
    place(tmp_path)
    place(tmp_path, "big/w.pt")
    pin(first, tmp_path)
    pin(second, tmp_path)
    assert read_pins(tmp_path) == {"big/w.pt": DIGEST, "little.pt": DIGEST}


def test_the_first_digits_of_a_checksum_refuse_but_do_not_vouch(tmp_path):
    card = write_card(tmp_path / "cards", files=[{"name": "little.pt", "sha256": None, "sha256_prefix": DIGEST[:8]}])
    path = place(tmp_path)
    assert card_state(card, tmp_path) == "unpinned"
    path.write_bytes(b"another")
    assert card_state(card, tmp_path) == "wrong checksum"
    with pytest.raises(DataError, match=rf"{DIGEST[:8]}\.\.\. is published"):
        pin(card, tmp_path)


def test_one_missing_file_of_several_is_enough(tmp_path):
    files = [{"name": "little/w.pt", "sha256": DIGEST}, {"name": "little/vocab.txt", "sha256": None}]
    card = write_card(tmp_path / "cards", files=files)
    place(tmp_path, "little/w.pt")
    assert card_state(card, tmp_path) == "missing"
    with pytest.raises(DataError, match=r"vocab\.txt: missing"):
        resolve_weights("little", folder=tmp_path, cards=tmp_path / "cards")
    place(tmp_path, "little/vocab.txt")
    assert card_state(card, tmp_path) == "unpinned"


@pytest.mark.parametrize("text", ["little.pt: abc", "little.pt: [1]"])
def test_broken_pins_are_refused(tmp_path, text):
    (tmp_path / "pins.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"pins\.yaml: little\.pt is .*expected a SHA-256"):
        read_pins(tmp_path)


def test_the_folder_is_the_environments_or_the_checkouts(monkeypatch, tmp_path):
    monkeypatch.delenv("DEIXIS_WEIGHTS", raising=False)
    assert str(weights_folder()) == "data/published"
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path


@pytest.mark.parametrize(
    ("name", "problem"), [("file", "a file"), ("file/below", "not a directory"), ("x" * 300, "file name too long")]
)
def test_a_folder_that_is_none_is_named_with_its_variable(monkeypatch, tmp_path, name, problem):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path / name))
    with pytest.raises(ConfigError, match=rf"DEIXIS_WEIGHTS is .*: {problem}\. Allowed: a folder"):
        weights_folder()
