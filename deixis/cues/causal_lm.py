"""Cues by a causal language model that runs here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from transformers import AutoModelForCausalLM, AutoTokenizer

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.core.runtime import pick_device
from deixis.cues.answers import Answer, Phrase
from deixis.cues.prompt import PROMPT, judge_answer
from deixis.cues.rule import fall_back


@dataclass(frozen=True, config=STRICT)
class CausalLMConfig:
    """Settings of `hf`."""

    model: str  # a folder, or a name of the model hub, such as that of an instruct model of 7B parameters
    revision: str | None = None  # of the hub; the newest one where it is unsaid
    max_new_tokens: int = 96
    batch_size: int = 16


class CausalLMCues:
    """Asks a local model, greedily, through its chat template where it has one.

    Raises:
        ConfigError: If the model cannot be loaded.
    """

    Config = CausalLMConfig

    def __init__(self, config: CausalLMConfig) -> None:
        self._config = config
        self._device = pick_device("auto")
        try:
            # Decoder-only models go on from the last token, which must not be padding.
            self._tokenizer = AutoTokenizer.from_pretrained(config.model, revision=config.revision, padding_side="left")
            # transformers describes its models by a protocol that they do not meet
            model: Any = AutoModelForCausalLM.from_pretrained(
                config.model, revision=config.revision, dtype="auto", use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f'cues.settings.model is "{config.model}": cannot be loaded ({reason}). Allowed: a folder or a '
                "hub name of a causal language model with its tokenizer. Mend params.yaml, then run: "
                "dvc repro write_cues"
            ) from None
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = model.to(self._device).eval()
        revision = getattr(model.config, "_commit_hash", None) or config.revision or "local"
        # The last part of a folder's path names the model as well on any other machine.
        self._source = f"hf:{Path(config.model).name if Path(config.model).exists() else config.model}@{revision}"
        self.inputs = (self._source,)
        self._gen = {"do_sample": False, "max_new_tokens": config.max_new_tokens}

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Ask about every phrase, in batches of phrases of like length."""
        order = sorted(range(len(phrases)), key=lambda row: len(phrases[row].text))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), self._config.batch_size):
            rows = order[start : start + self._config.batch_size]
            answers |= zip(rows, self._ask([phrases[row].text for row in rows]), strict=True)
        return [answers[row] for row in range(len(phrases))]

    def _ask(self, texts: list[str]) -> list[Answer]:
        try:
            said = self.generate([PROMPT.write(text) for text in texts])
        except Exception as error:  # whatever a model can do wrong, out of memory included, must not end the run
            return [fall_back(text, type(error).__name__) for text in texts]
        return [
            judge_answer(answer, text, finished=finished, source=self._source, gen=self._gen)
            for text, (answer, finished) in zip(texts, said, strict=True)
        ]

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
