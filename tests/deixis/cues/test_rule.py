import pytest

from deixis.cues.answers import Phrase
from deixis.cues.rule import NoCues, NoSettings, RuleCues, fall_back, rule_cues


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        (
            "a woman wearing the cream color dress and cutting cake with a man",
            "woman / woman wearing the cream color dress / woman cutting cake / woman with a man",
        ),
        (
            "dark haired woman wearing a blue jacket next to a teddy bear",
            "woman / dark haired woman / woman wearing a blue jacket / woman next to a teddy bear",
        ),
        (
            "a player wearing a blue and gray uniform catches a ball",
            "player / player wearing a blue and gray uniform / player catches a ball",
        ),
        ("the visible table to the right of the bowl", "table / visible table / table to the right of the bowl"),
        ("a man that is sitting on the couch", "man / man sitting on the couch"),
        ("man on the right", "man / man on the right"),
        ("left guy", "guy / left guy"),
        ("in the middle", "object in the middle"),
        ("broccoli", "broccoli"),
    ],
)
def test_table_of_the_specification(text, cues):
    assert rule_cues(text) == cues.split(" / ")


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("left of the bus", "object left of the bus"),
        ("far right", "object far right"),
        ("second from the left", "object second from the left"),
        ("guy 2nd from left", "guy / guy 2nd from left"),
        ("man left", "man / man left"),
        ("cup of coffee near the laptop", "cup / cup of coffee / cup near the laptop"),
        ("the cross higher than the blue moon", "cross / cross higher than the blue moon"),
    ],
)
def test_neither_a_place_nor_another_object_is_taken_for_the_target(text, cues):
    assert rule_cues(text) == cues.split(" / ")


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("closest sheep", "sheep / closest sheep"),
        ("lady closest to us", "lady / lady closest to us"),
        ("smiling girl in red", "girl / smiling girl / girl in red"),
        ("wearing red", "object wearing red"),
        ("building with a painting", "building / building with a painting"),
        ("that man in between two cars", "man / man in between two cars"),
        ("woman whose hair is long", "woman / woman whose hair is long"),
        ("A man, red shirt, and on the left.", "man / man red shirt / man on the left"),
        ("man standing next to a car", "man / man standing next to a car"),
    ],
)
def test_words_that_divide_and_words_that_only_look_like_it(text, cues):
    assert rule_cues(text) == cues.split(" / ")


@pytest.mark.parametrize("text", ["", "and", "the", "that is", " , . "])
def test_a_text_that_says_nothing_is_some_object(text):
    assert rule_cues(text) == ["object"]


def test_no_more_than_five_and_no_two_the_same():
    cues = rule_cues("man in red with hat near car by tree at night under sky in red")
    assert cues == ["man", "man in red", "man with hat", "man near car", "man by tree"]


def test_sources_that_need_no_model():
    phrases = [Phrase("man on the right", 1, (1,)), Phrase("ball", 2, (2,))]
    by_rule = RuleCues(NoSettings()).answer(phrases)
    assert [answer.cues for answer in by_rule] == [("man", "man on the right"), ("ball",)]
    assert {answer.source for answer in by_rule} == {"rule-v2"}
    assert [answer.cues for answer in NoCues(NoSettings()).answer(phrases)] == [("man on the right",), ("ball",)]


def test_commas_of_what_was_written_part_what_the_normalised_text_runs_together():
    phrase = Phrase("woman blue jacket", 1, (1,), "Woman, blue jacket!")
    (answer,) = RuleCues(NoSettings()).answer([phrase])
    assert answer.cues == fall_back(phrase, "why").cues == ("woman", "woman blue jacket")
    (answer,) = RuleCues(NoSettings()).answer([Phrase("the dogs ball", 2, (2,), "the dog's ball")])
    assert answer.cues == ("ball", "dogs ball")  # cues are normalised


def test_standing_in_says_so():
    answer = fall_back(Phrase("left guy", 1, (1,)), "no cue in the answer")
    assert answer.cues == ("guy", "left guy") and answer.source == "rule-v2"
    assert answer.fallback and answer.error == "no cue in the answer" and answer.prompt_sha1 is None
