import re

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from deixis.cues.answers import Phrase
from deixis.cues.causal_lm import CausalLMConfig, CausalLMCues
from deixis.cues.prompt import PROMPT

PHRASES = [Phrase("man on the right", 1, (1,)), Phrase("guy", 2, (2,)), Phrase("left guy near a bus", 3, (3,))]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte."""
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "</s>"]
    tokens = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="</s>")


def language_model(*, words: int = 257) -> LlamaForCausalLM:
    """A model as it was drawn at random."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=words, eos_token_id=256, bos_token_id=None, **sizes))


def save(folder, model=None, *, chat_template: str | None = None) -> str:
    tokens = tokenizer()
    tokens.chat_template = chat_template
    tokens.save_pretrained(folder)
    (model or language_model()).save_pretrained(folder)
    return str(folder)


def taught(answer: str, texts: list[str]) -> LlamaForCausalLM:
    """A model that has learnt to write one answer to some texts."""
    model, tokens = language_model(), tokenizer()
    target_ids = tokens(f"{answer}</s>")["input_ids"]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for text in texts * 30:
        prompt = tokens(PROMPT.write(text))["input_ids"]
        optimiser.zero_grad()
        labels = torch.tensor([[-100] * len(prompt) + target_ids])
        model(torch.tensor([prompt + target_ids]), labels=labels).loss.backward()
        optimiser.step()
    return model


def test_rubbish_falls_back_and_keeps_its_place(tmp_path):
    source = CausalLMCues(CausalLMConfig(save(tmp_path), max_new_tokens=4, batch_size=2))
    answers = source.answer(PHRASES)
    assert [answer.cues[-1] for answer in answers] == ["man on the right", "guy", "guy near a bus"]
    assert {(answer.source, answer.error) for answer in answers} == {("rule-v2", "no cue in the answer")}


def test_a_good_answer_is_kept_and_one_that_does_not_fit_the_phrase_is_not(tmp_path):
    folder = save(tmp_path / "tiny", taught('["guy"]', ["man on the right", "guy"]))
    man, guy = CausalLMCues(CausalLMConfig(folder, max_new_tokens=20)).answer(PHRASES[:2])
    assert guy.cues == ("guy",) and not guy.fallback
    assert guy.source == "hf:tiny@local" and guy.gen == {"do_sample": False, "max_new_tokens": 20}
    assert man.cues == ("man", "man on the right") and man.error == "a cue says what the expression does not"


def test_what_shares_the_batch_changes_nothing(tmp_path):
    source = CausalLMCues(CausalLMConfig(save(tmp_path), max_new_tokens=6))
    prompts = ["man", "left guy near"]
    assert source.generate(prompts) == [source.generate([prompt])[0] for prompt in prompts]


def test_a_chat_template_is_used_where_there_is_one(tmp_path):
    template = "{% for turn in messages %}<{{ turn['content'] }}>{% endfor %}"
    plain = CausalLMCues(CausalLMConfig(save(tmp_path / "plain"), max_new_tokens=6))
    chat = CausalLMCues(CausalLMConfig(save(tmp_path / "chat", chat_template=template), max_new_tokens=6))
    assert chat.generate(["man"]) == plain.generate(["<man>"])


def test_a_model_that_breaks_falls_back(tmp_path):
    source = CausalLMCues(CausalLMConfig(save(tmp_path, language_model(words=5)), max_new_tokens=4))
    answers = source.answer(PHRASES)
    assert {answer.error for answer in answers} == {"IndexError"} and all(answer.fallback for answer in answers)


def test_a_model_that_breaks_at_every_question_is_given_up_and_said_once(tmp_path, capsys):
    source = CausalLMCues(CausalLMConfig(save(tmp_path, language_model(words=5)), max_new_tokens=4, batch_size=2))
    first, second, third = (source.answer(PHRASES) for _ in range(3))
    assert {answer.error for answer in [*second, *third]} == {"the model was given up"}
    assert [answer.cues for answer in first] == [answer.cues for answer in second] and source.answer([]) == []
    messages = capsys.readouterr().err
    assert messages.count("the model was given up (") == 1 and "dvc repro -f write_cues" in messages


def test_a_model_that_breaks_at_some_questions_is_asked_again(tmp_path, monkeypatch):
    source = CausalLMCues(CausalLMConfig(save(tmp_path), max_new_tokens=4, batch_size=1))
    generate = source.generate

    def breaks_at_guy(prompts: list[str]) -> list[tuple[str, bool]]:
        if "Expression: guy\n" in prompts[0]:
            raise torch.OutOfMemoryError
        return generate(prompts)

    monkeypatch.setattr(source, "generate", breaks_at_guy)
    for _ in range(2):
        errors = [answer.error for answer in source.answer(PHRASES)]
        assert errors == ["no cue in the answer", "OutOfMemoryError", "no cue in the answer"]


def broken(error: Exception):
    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    return fail


def test_a_folder_without_a_model_is_given_up(tmp_path, capsys):
    source = CausalLMCues(CausalLMConfig(str(tmp_path)))
    answers = source.answer(PHRASES)
    assert [answer.cues[-1] for answer in answers] == ["man on the right", "guy", "guy near a bus"]
    assert all(answer.fallback for answer in answers) and len({answer.error for answer in answers}) == 1
    assert re.search(rf'model is "{tmp_path}": the model was not loaded: .*run: dvc repro', capsys.readouterr().err)


@pytest.mark.parametrize(
    ("owner", "method", "error"),
    [
        (AutoTokenizer, "from_pretrained", OSError("We couldn't connect to the hub\nand more")),
        (AutoModelForCausalLM, "from_pretrained", ImportError("needs a package")),
        (AutoModelForCausalLM, "from_pretrained", RuntimeError("")),
        (LlamaForCausalLM, "to", torch.OutOfMemoryError("out of memory")),
    ],
    ids=["hub out of reach", "missing package", "broken file", "out of memory"],
)
def test_a_model_that_cannot_be_loaded_is_given_up_and_said_once(tmp_path, monkeypatch, capsys, owner, method, error):
    folder, fine = save(tmp_path), CausalLMCues(CausalLMConfig(save(tmp_path)))
    monkeypatch.setattr(owner, method, broken(error))
    capsys.readouterr()
    source = CausalLMCues(CausalLMConfig(folder))
    for _ in range(2):
        answers = source.answer(PHRASES)
        expected = f"the model was not loaded: {type(error).__name__}"
        assert {(answer.source, answer.fallback, answer.error) for answer in answers} == {("rule-v2", True, expected)}
    assert capsys.readouterr().err.count("the rule stands in") == 1
    assert source.inputs != fine.inputs  # what the rule answered is not taken for the model's in a run that goes on
