"""Cues by a causal language model that runs here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from transformers import AutoModelForCausalLM, AutoTokenizer

from deixis.core.config import STRICT
from deixis.core.progress import say
from deixis.core.runtime import pick_device
from deixis.cues.answers import Answer, Phrase
from deixis.cues.prompt import PROMPT, judge_answer
from deixis.cues.rule import fall_back


@dataclass(frozen=True, config=STRICT)
class CausalLMConfig:
    """Settings of `hf`."""

    # a folder, or a name of the model hub, such as that of an instruct model of 7B parameters
    model: Annotated[str, Field(min_length=1)]
    revision: str | None = None  # of the hub; the newest one where it is unsaid
    max_new_tokens: int = 96
    batch_size: int = 16


class CausalLMCues:
    """Asks a local model, greedily, through its chat template where it has one.

    A model that cannot be loaded is given up, and so is one that breaks at every question of a call: the rule answers
    without asking.
    """

    Config = CausalLMConfig

    def __init__(self, config: CausalLMConfig) -> None:
        self._config = config
        self._device = pick_device("auto")
        self._gen = {"do_sample": False, "max_new_tokens": config.max_new_tokens}
        self._given_up = ""  # why, in words that can be counted
        try:
            self._tokenizer, self._model = self._load()
        except Exception as error:  # whatever a hub, a folder, a library or memory can do wrong must not end the run
            self._give_up(f"the model was not loaded: {type(error).__name__}", error)
            self.inputs = (self._given_up,)  # a run that goes on later must not take the rule's answers for the model's
            return
        revision = getattr(self._model.config, "_commit_hash", None) or config.revision or "local"
        # The last part of a folder's path names the model as well on any other machine.
        self._source = f"hf:{Path(config.model).name if Path(config.model).exists() else config.model}@{revision}"
        self.inputs = (self._source,)

    def _load(self) -> tuple[Any, Any]:
        name, revision = self._config.model, self._config.revision
        # Decoder-only models go on from the last token, which must not be padding.
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, padding_side="left")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # transformers describes its models by a protocol that they do not meet
        model: Any = AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype="auto", use_safetensors=True)
        return tokenizer, model.to(self._device).eval()

    def _give_up(self, reason: str, error: Exception) -> None:
        """Say so once, and answer by rule from here on."""
        self._given_up = reason
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        say(
            f'cues.settings.model is "{self._config.model}": {reason} ({problem}), and the rule stands in. '
            "Needed: a folder or a hub name of a causal language model with its tokenizer. To ask it again, run: "
            "dvc repro -f write_cues"
        )

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Ask about every phrase, in batches of phrases of like length."""
        if self._given_up or not phrases:
            return [fall_back(phrase, self._given_up) for phrase in phrases]
        order = sorted(range(len(phrases)), key=lambda row: len(phrases[row].text))
        answers: dict[int, Answer] = {}
        errors: list[Exception | None] = []
        for start in range(0, len(order), self._config.batch_size):
            rows = order[start : start + self._config.batch_size]
            batch, error = self._ask([phrases[row] for row in rows])
            answers |= zip(rows, batch, strict=True)
            errors.append(error)
        if (last := errors[-1]) and all(errors):
            self._give_up("the model was given up", last)
        return [answers[row] for row in range(len(phrases))]

    def _ask(self, phrases: list[Phrase]) -> tuple[list[Answer], Exception | None]:
        """Answers of one batch, and what broke the model, if anything did."""
        try:
            outputs = self.generate([PROMPT.write(phrase.text) for phrase in phrases])
        except Exception as error:  # whatever a model can do wrong, out of memory included, must not end the run
            return [fall_back(phrase, type(error).__name__) for phrase in phrases], error
        return [
            judge_answer(answer, phrase, finished=finished, source=self._source, gen=self._gen)
            for phrase, (answer, finished) in zip(phrases, outputs, strict=True)
        ], None

    @torch.inference_mode()
    def generate(self, prompts: list[str]) -> list[tuple[str, bool]]:
        """What the model writes after each prompt, and whether it ended by itself."""
        chat = self._tokenizer.chat_template is not None
        if chat:
            turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
            prompts = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        inputs = self._tokenizer(
            prompts, padding=True, return_tensors="pt", add_special_tokens=not chat, return_token_type_ids=False
        ).to(self._device)
        tokens = self._model.generate(**inputs, **self._gen, pad_token_id=self._tokenizer.pad_token_id)
        written = tokens[:, inputs["input_ids"].shape[1] :]
        finished = (written == self._tokenizer.eos_token_id).any(1).tolist()
        return list(zip(self._tokenizer.batch_decode(written, skip_special_tokens=True), finished, strict=True))
