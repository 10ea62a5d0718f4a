import json
from dataclasses import replace

import pytest

from deixis.cues.answers import Phrase
from deixis.cues.prompt import PROMPT, BadAnswer, judge_answer, read_answer

TEXT = "woman in a red coat near the bus"


@pytest.mark.parametrize(
    "answer",
    [
        '["woman", "woman in a red coat", "woman near the bus"]',
        'Sure!\n```json\n["Woman.", "woman in a red coat", "woman near the bus", "woman"]\n```',
        '{"phrases": ["woman", "woman in a red coat", "woman near the bus"]}',
        "1. woman\n2. woman in a red coat\n3) woman near the bus",
        'I see [some] words: ["woman", "woman in a red coat", "woman near the bus"], as asked',
    ],
    ids=["list", "fenced and repeated", "in an object", "numbered lines", "among words"],
)
def test_good_answers(answer):
    assert read_answer(answer, TEXT, finished=True) == ("woman", "woman in a red coat", "woman near the bus")


def test_numbers_inside_a_line_do_not_divide_it():
    assert read_answer("1. bus no 2. near", "bus no 2 near", finished=True) == ("bus no 2 near",)


@pytest.mark.parametrize(
    ("answer", "finished", "match"),
    [
        pytest.param("", True, "no cue in the answer", id="empty"),
        pytest.param("[]", True, "no cue in the answer", id="empty list"),
        pytest.param("woman in red", True, "no cue in the answer", id="prose"),
        pytest.param('["woman", "woman in a r', True, "no cue in the answer", id="half a list"),
        pytest.param('[["woman"], ["woman in a r', False, "no cue in the answer", id="half a list of lists"),
        pytest.param('["red woman", ["woman"]', False, "no cue in the answer", id="a list in half a list"),
        pytest.param('{"cues": {"a": ["woman"], "b": ["wo', False, "no cue in the answer", id="half an object"),
        pytest.param('{"cues": {"a": ["woman"]}}', True, "no cue in the answer", id="object in an object"),
        pytest.param("[" * 100_000, True, "no cue in the answer", id="brackets"),
        pytest.param("1. woman\n2. woman in a r", False, "no cue in the answer", id="lines cut short"),
        pytest.param('["woman", 3]', True, "a cue is not text", id="number"),
        pytest.param('["woman", "..."]', True, "a cue is empty", id="punctuation"),
        pytest.param(json.dumps([f"woman {i}" for i in range(6)]), True, "more than 5 cues", id="six"),
        pytest.param(json.dumps(["woman " * 9]), True, "more than 8 words", id="long"),
        pytest.param('["woman", "young woman smiling happily"]', True, "the expression does not", id="made up"),
    ],
)
def test_bad_answers_say_what_is_wrong(answer, finished, match):
    with pytest.raises(BadAnswer, match=match):
        read_answer(answer, TEXT, finished=finished)


def test_plural_and_object_count_as_said():
    assert read_answer('["guy"]', "left guys", finished=True) == ("guy",)
    assert read_answer('["object", "object in the middle"]', "in the middle", finished=True)


def test_a_judged_answer_carries_what_made_it_or_why_it_failed():
    good = judge_answer('["woman"]', Phrase(TEXT, 1, (1,)), finished=True, source="hf:x@1", gen={"do_sample": False})
    assert (good.cues, good.source, good.fallback) == (("woman",), "hf:x@1", False)
    assert good.prompt_sha1 == PROMPT.sha1() and good.gen == {"do_sample": False}
    bad = judge_answer("no", Phrase(TEXT, 1, (1,)), finished=True, source="hf:x@1", gen={})
    assert (bad.source, bad.prompt_sha1, bad.gen, bad.error) == ("rule-v2", None, None, "no cue in the answer")


def test_the_prompt_obeys_its_own_constraints():
    assert len(PROMPT.examples) >= 4
    for text, cues in PROMPT.examples:
        assert read_answer(json.dumps(cues), text, finished=True) == cues


def test_every_part_has_its_own_hash():
    changed = replace(PROMPT, task="Split it.")
    differing = {part for part, sha1 in changed.hashes().items() if sha1 != PROMPT.hashes()[part]}
    assert differing == {"task"} and set(PROMPT.hashes()) == {"task", "constraints", "examples", "question"}
    assert changed.sha1() != PROMPT.sha1()


def test_the_expression_ends_the_prompt():
    assert PROMPT.write("left {guy}").endswith("Expression: left {guy}\nPhrases:")
