"""The stage: its files, what it refuses, and a run that is stopped while a server answers."""

import importlib.util
import json
import os
import signal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deixis.core.errors import ConfigError, DataError
from deixis.core.records import write_table
from deixis.cues.asking import CHUNK
from deixis.cues.prompt import PROMPT
from deixis.cues.reading import read_cues
from deixis.language.text import normalise
from stages.write_cues import distinct_phrases, summarise, write_cues
from tests.deixis.cues.servers import KEY, chat_server, use_server

TEXTS = ["left guy", "broccoli", "man on the right", "left guy"]
needs_client = pytest.mark.skipif(not importlib.util.find_spec("openai"), reason="needs: uv sync --extra openai")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a table of pairs."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path, TEXTS)
    return tmp_path


def write_pairs(folder, texts) -> None:
    rows = [(text, normalise(text), 10 + number, 100 + number) for number, text in enumerate(texts)]
    columns = ["expression", "text", "ref_id", "sent_id"]
    write_table(pd.DataFrame(rows, columns=columns), folder / "pairs.parquet")


def configure(folder, source: str, settings: str = "{}") -> None:
    text = f"cues: {{source: {source}, settings: {settings}}}\ndatasets: {{toy: {{adapter: refer, split_by: umd}}}}\n"
    (folder / "params.yaml").write_text(text)


def run(folder) -> list[dict]:
    write_cues(dataset="toy", pairs=folder / "pairs.parquet", out=folder / "cues")
    return [json.loads(line) for line in (folder / "cues/cues.jsonl").read_text().splitlines()]


def statistics(folder) -> dict:
    return json.loads((folder / "cues/statistics.json").read_text())


def test_one_line_per_distinct_text_in_order_of_appearance(place, capsys):
    configure(place, "rule")
    records = run(place)
    assert [(row["dataset"], row["split_by"], row["ref_id"], row["sent_id"], row["text"]) for row in records] == [
        ("toy", "umd", 10, 100, "left guy"),
        ("toy", "umd", 11, 101, "broccoli"),
        ("toy", "umd", 12, 102, "man on the right"),
    ]
    assert read_cues(place / "cues/cues.jsonl") == {
        "left guy": ["guy", "left guy"], "broccoli": ["broccoli"], "man on the right": ["man", "man on the right"],
    }  # fmt: skip
    assert statistics(place) == {
        "texts": 3, "mean_cues": pytest.approx(5 / 3), "share_below_three": 1.0, "fallbacks": 0, "fallback_rate": 0.0,
        "errors": {}, "sources": {"rule-v2": 3}, "prompt_sha1": PROMPT.hashes(),
    }  # fmt: skip
    assert "cues of 3 texts by rule; the rule stood in for 0" in capsys.readouterr().err
    assert not list((place / "scratch/write_cues").iterdir())


def test_commas_as_written_divide(place):
    write_pairs(place, ["Woman, blue jacket", "the dog, brown"])
    configure(place, "rule")
    assert [(row["text"], row["cues"]) for row in run(place)] == [
        ("woman blue jacket", ["woman", "woman blue jacket"]),
        ("the dog brown", ["dog", "dog brown"]),
    ]


def test_what_fell_back_is_counted_and_said(place, capsys):
    (place / "given").mkdir()
    (place / "given" / "11.json").write_text('{"101": ["broccoli", "a", "b"]}')
    configure(place, "cache", "{path: given}")
    assert [row["fallback"] for row in run(place)] == [True, False, True]
    counts = statistics(place)
    assert (counts["fallbacks"], counts["errors"], counts["fallback_rate"]) == (2, {"not in the cache": 2}, 2 / 3)
    assert counts["sources"] == {"imported": 1, "rule-v2": 2} and counts["share_below_three"] == 2 / 3
    assert "the rule stood in for 2 (2 not in the cache)" in capsys.readouterr().err


def test_a_model_that_is_not_there_does_not_stop_the_stage(place, capsys):
    (place / "empty").mkdir()
    configure(place, "hf", "{model: empty}")
    assert all(row["fallback"] and row["source"] == "rule-v2" for row in run(place))
    (error,) = statistics(place)["errors"]
    assert f"the rule stood in for 3 (3 {error})" in capsys.readouterr().err


def test_a_file_of_cues_serves_another_dataset(place):
    configure(place, "rule")
    first = run(place)
    (place / "cues/cues.jsonl").rename(place / "given.jsonl")
    configure(place, "cache", "{path: given.jsonl, when_missing: refuse}")
    assert run(place) == first


def test_no_pairs():
    empty = pd.DataFrame({"expression": [], "text": [], "ref_id": [], "sent_id": []})
    assert distinct_phrases(empty) == [] and summarise([])["mean_cues"] == 0.0


@pytest.mark.parametrize(
    ("source", "settings", "match"),
    [
        ("llm", "{}", r'no cue source "llm"\. Known: cache, hf, none, openai, rule, spacy\.'),
        ("rule", "{seed: 1}", r'cues\.settings has no setting "seed" \(1\)\. Known: none'),
        ("hf", "{}", r"cues\.settings\.model"),
        ("hf", '{model: ""}', r"cues\.settings\.model"),
        ("hf", "{model: x, seed: 1}", r'cues\.settings has no setting "seed" \(1\)'),
        ("cache", "{path: absent}", r"absent: no such file or folder"),
        ("openai", "{}", r"the environment lacks OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL\. Needed: "),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_asked(place, monkeypatch, source, settings, match):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    configure(place, source, settings)
    with pytest.raises(ConfigError, match=match):
        run(place)
    assert not (place / "cues").exists() and not (place / "scratch").exists()


def test_a_cache_that_grew_since_a_run_was_stopped_is_read_anew(place):
    texts = [f"ball {number}" for number in range(CHUNK + 1)]
    write_pairs(place, texts)
    configure(place, "cache", "{path: given.jsonl, when_missing: refuse}")
    for cue, known in (("old", texts[:-1]), ("ball", texts)):
        lines = [json.dumps({"text": text, "cues": [cue]}) + "\n" for text in known]
        (place / "given.jsonl").write_text("".join(lines))
        if cue == "old":
            with pytest.raises(DataError, match=f'holds no cues of "{texts[-1]}"'):
                run(place)
    assert {row["cues"][0] for row in run(place)} == {"ball"}


@pytest.mark.parametrize(("refs", "expected"), [([None] * 4, [None] * 3), ([7, None, None, 8], [7, None, None])])
def test_phrases_that_no_group_holds_have_cues_too(place, refs, expected):
    columns = {"expression": TEXTS, "text": TEXTS, "ref_id": pa.array(refs, pa.int64()), "sent_id": range(4)}
    pq.write_table(pa.table(columns), place / "pairs.parquet")  # as the adapter of own corpora writes it
    configure(place, "rule")
    records = run(place)
    assert [row["ref_id"] for row in records] == expected
    assert all(row["cues"] for row in records) and all(type(row["ref_id"]) is not float for row in records)


@pytest.fixture
def interruptible():
    """Ctrl-C stops a run, although whoever started the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_client
@pytest.mark.usefixtures("interruptible")
def test_a_stopped_run_goes_on_where_it_stopped_and_no_secret_is_written(place, monkeypatch):
    texts = [f"ball {number}" for number in range(CHUNK + 6)]
    write_pairs(place, texts)
    configure(place, "openai", "{retries: 0, concurrency: 1}")

    def reply(text: str) -> str:
        if len(questions) == CHUNK + 3:
            os.kill(os.getpid(), signal.SIGINT)
        return json.dumps(["ball", text])

    with chat_server(reply) as (address, questions):
        use_server(monkeypatch, address)
        with pytest.raises(KeyboardInterrupt):
            run(place)
        assert not (place / "cues").exists()
        first = len(questions)
        assert first < len(texts)
        run(place)
        assert questions[first:] == texts[CHUNK:]
    assert read_cues(place / "cues/cues.jsonl") == {text: ["ball", text] for text in texts}
    assert statistics(place)["sources"] == {"openai:toy": len(texts)}
    written = "".join(path.read_text() for path in (place / "cues").iterdir())
    assert KEY not in written and address not in written
