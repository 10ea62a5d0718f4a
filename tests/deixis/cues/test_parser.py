"""The parses here are given; a pipeline is taught two of them, since no trained one may be downloaded for a test."""

import pytest

from deixis.core.errors import ConfigError
from deixis.cues.answers import Phrase
from deixis.cues.parser import ParserConfig, ParserCues, parsed_cues

spacy = pytest.importorskip("spacy", reason="needs: uv sync --extra spacy")

# word, part of speech, head, label
PARSES = {
    "woman / dark haired woman / woman wearing a blue jacket / woman standing next to a bus": """
        dark ADJ 1 amod; haired ADJ 2 amod; woman NOUN 2 ROOT; wearing VERB 2 acl; a DET 6 det; blue ADJ 6 amod;
        jacket NOUN 3 dobj; and CCONJ 3 cc; standing VERB 3 conj; next ADV 8 advmod; to ADP 9 prep; a DET 12 det;
        bus NOUN 10 pobj""",
    "player / tall player / player in red / player catches a ball": """
        the DET 2 det; tall ADJ 2 amod; player NOUN 5 nsubj; in ADP 2 prep; red NOUN 3 pobj; catches VERB 5 ROOT;
        a DET 7 det; ball NOUN 5 dobj""",
    "man / man sitting on the couch": """
        a DET 1 det; man NOUN 1 ROOT; that PRON 4 nsubj; is AUX 4 aux; sitting VERB 1 relcl; on ADP 4 prep;
        the DET 7 det; couch NOUN 5 pobj""",
    "": "in ADP 0 ROOT; the DET 2 det; middle NOUN 0 pobj",
}


def parse(pipeline, written):
    words, tags, heads, labels = zip(*(line.split() for line in written.split(";")), strict=True)
    return spacy.tokens.Doc(pipeline.vocab, words, pos=tags, heads=[int(head) for head in heads], deps=labels)


@pytest.mark.parametrize(("cues", "written"), PARSES.items())
def test_the_noun_its_phrase_and_what_hangs_on_it(cues, written):
    assert " / ".join(parsed_cues(parse(spacy.blank("en"), written))) == cues


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pipeline = spacy.blank("en")
    pipeline.add_pipe("morphologizer"), pipeline.add_pipe("parser", config={"min_action_freq": 1})
    given = [parse(pipeline, list(PARSES.values())[place]) for place in (2, 3)]
    lessons = [spacy.training.Example(pipeline.make_doc(doc.text), doc) for doc in given]
    spacy.util.fix_random_seed(0)
    optimiser = pipeline.initialize(lambda: lessons)
    for _ in range(40):
        pipeline.update(lessons, sgd=optimiser)
    path = tmp_path_factory.mktemp("pipelines") / "taught"
    pipeline.to_disk(path)
    return path


def test_a_pipeline_answers_and_the_rule_stands_in_where_no_noun_heads(folder):
    phrases = [Phrase("a man that is sitting on the couch", 1, (1,)), Phrase("in the middle", 2, (2,))]
    man, middle = ParserCues(ParserConfig(str(folder))).answer(phrases)
    assert man.cues == ("man", "man sitting on the couch") and man.source == "spacy:en_pipeline@0.0.0"
    assert middle.cues == ("object in the middle",) and middle.error == "no noun phrase is root or subject"


def test_a_pipeline_without_parser_is_refused(tmp_path):
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(ConfigError, match=r"which has nothing\. Allowed: .*with a parser.*spacy download"):
        ParserCues(ParserConfig(str(tmp_path)))


def test_a_pipeline_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\": not found\. Allowed: .*Run: "):
        ParserCues(ParserConfig(str(tmp_path / "absent")))
