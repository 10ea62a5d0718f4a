import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deixis.cues.answers import Phrase
from deixis.cues.asking import CHUNK, ask_all
from deixis.cues.reading import parse_record
from deixis.cues.rule import NoSettings, RuleCues

pytestmark = pytest.mark.slow

PHRASES = [Phrase(f"ball {number}", number, (number,)) for number in range(2 * CHUNK + 10)]
SOURCE = RuleCues(NoSettings())


def ask(scratch, phrases=PHRASES):
    return ask_all(phrases, SOURCE, scratch=scratch, belongs_to={"dataset": "toy", "split_by": "unc"})


def marked(line: str) -> str:
    """A line that only an earlier run can have written."""
    return json.dumps(json.loads(line) | {"source": "earlier"}) + "\n"


def sources(lines) -> list[str]:
    return [json.loads(line)["source"] for line in lines]


def test_a_record_says_whose_it_is_and_who_made_it(tmp_path):
    assert json.loads(ask(tmp_path / "s.jsonl", [Phrase("left guy", 7, (70, 71))])[0]) == {
        "dataset": "toy", "split_by": "unc", "ref_id": 7, "sent_id": 70, "text": "left guy",
        "text_sha1": "5dc45df105e2f6524557788d422d6d0451a8237a", "cues": ["guy", "left guy"], "source": "rule-v2",
        "prompt_sha1": None, "gen": None, "fallback": False, "error": "",
    }  # fmt: skip


def test_a_half_written_file_is_continued_from_its_last_whole_chunk(tmp_path):
    fresh = ask(tmp_path / "fresh.jsonl")
    scratch = tmp_path / "killed.jsonl"
    before = [marked(line) for line in fresh[: CHUNK + 3]]
    scratch.write_text("".join(before) + fresh[CHUNK + 3][:40])
    lines = ask(scratch)
    assert sources(lines) == ["earlier"] * CHUNK + ["rule-v2"] * (CHUNK + 10)
    assert lines[CHUNK:] == fresh[CHUNK:] and scratch.read_text() == "".join(lines)


def test_a_killed_run_goes_on_and_ends_with_the_same_lines(tmp_path):
    phrases = [Phrase(f"man on the right of ball {number}", number, (number,)) for number in range(80 * CHUNK)]
    scratch = tmp_path / "s.jsonl"
    code = (
        "import sys, pathlib; from deixis.cues import answers, asking, rule\n"
        "phrases = [answers.Phrase(f'man on the right of ball {n}', n, (n,)) for n in range(80 * asking.CHUNK)]\n"
        "belongs_to = {'dataset': 'toy', 'split_by': 'unc'}\n"
        "source = rule.RuleCues(rule.NoSettings())\n"
        "asking.ask_all(phrases, source, scratch=pathlib.Path(sys.argv[1]), belongs_to=belongs_to)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(scratch)], cwd=Path(__file__).parents[3])
    while not (scratch.exists() and scratch.stat().st_size):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole = scratch.read_text().count("\n") // CHUNK * CHUNK
    scratch.write_text("".join(marked(line) for line in scratch.read_text().split("\n")[:whole]))
    lines = ask(scratch, phrases)
    assert sources(lines) == ["earlier"] * whole + ["rule-v2"] * (len(phrases) - whole)
    assert lines[whole:] == ask(tmp_path / "fresh.jsonl", phrases[whole:])


def test_a_finished_file_is_not_asked_again(tmp_path):
    scratch = tmp_path / "done.jsonl"
    scratch.write_text("".join(marked(line) for line in ask(scratch)))
    assert set(sources(ask(scratch))) == {"earlier"}


def test_what_is_no_record_of_these_phrases_is_asked_anew(tmp_path):
    scratch = tmp_path / "odd.jsonl"
    expected = ask(scratch)
    for content in (b"\xff\xfe\n" * 200, b"{}\n" * 200, "".join(reversed(expected)).encode()):
        scratch.write_bytes(content)
        assert ask(scratch) == expected


def test_no_phrases(tmp_path):
    assert ask(tmp_path / "s.jsonl", []) == []


def test_every_line_is_a_record(tmp_path):
    assert all(parse_record(line) for line in ask(tmp_path / "s.jsonl"))
