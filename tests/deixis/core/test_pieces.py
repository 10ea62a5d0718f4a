"""Numbered pieces of a work that several processes share: each is done once, and only whoever does all finishes."""

import pytest

from deixis.core.errors import ConfigError
from deixis.core.pieces import PIECE, do_pieces, is_share

COUNT = 7


def done_by(share: str | None, monkeypatch, there=()) -> list[int]:
    monkeypatch.delenv(PIECE, raising=False) if share is None else monkeypatch.setenv(PIECE, share)
    done: list[int] = []
    do_pieces(COUNT, lambda number: number in there, done.append)
    return done


def test_one_process_does_all_that_is_missing(monkeypatch):
    assert done_by(None, monkeypatch) == list(range(COUNT))
    assert done_by("", monkeypatch, there=(0, 4)) == [1, 2, 3, 5, 6]
    assert done_by("0/1", monkeypatch) == list(range(COUNT))


@pytest.mark.parametrize("shares", [2, 3, 10])
def test_shares_are_all_pieces_together_and_each_ends_its_process(monkeypatch, capsys, shares):
    done: list[int] = []
    for share in range(shares):
        monkeypatch.setenv(PIECE, f"{share}/{shares}")
        with pytest.raises(SystemExit) as end:
            do_pieces(COUNT, lambda number: False, done.append)
        assert end.value.code == 0 and is_share()
        assert capsys.readouterr().err == f"share {share + 1} of {shares} is done\n"
    assert sorted(done) == list(range(COUNT))


def test_whoever_goes_before_all_shares_does_no_piece(monkeypatch):
    monkeypatch.setenv(PIECE, "0/0")
    with pytest.raises(SystemExit) as end:
        do_pieces(COUNT, lambda number: False, lambda number: pytest.fail("did a piece"))
    assert end.value.code == 0 and not is_share()


@pytest.mark.parametrize("stated", ["2/2", "1/0", "x", "-1/2", "1", "1/2/3"])
def test_a_share_that_is_none_is_refused(monkeypatch, stated):
    monkeypatch.setenv(PIECE, stated)
    with pytest.raises(ConfigError, match=rf'DEIXIS_PIECE is "{stated}"\. Allowed: K/N.*unset it'):
        do_pieces(COUNT, lambda number: False, print)
