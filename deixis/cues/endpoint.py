"""Cues by any server that speaks the chat-completions protocol; who it is comes from the environment alone."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from deixis.core.foreign import first_words
from deixis.core.progress import say
from deixis.cues.answers import Answer, Phrase, import_extra
from deixis.cues.prompt import PROMPT, judge_answer
from deixis.cues.rule import fall_back

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")


@dataclass(frozen=True, config=STRICT)
class EndpointConfig:
    """Settings of `openai`. Key, address and model are no settings, and DVC does not see them change."""

    max_tokens: int = 128
    seed: int = 0  # servers that know no seed ignore it
    json_mode: bool = False  # ask for JSON as such; not every server knows how
    concurrency: int = 8  # questions at once
    retries: int = 4  # of one question, with growing pauses, where the server is busy or out of reach
    timeout_s: float = 60.0


class EndpointCues:
    """Asks a chat endpoint, greedily.

    After a call in which every question failed the endpoint is given up, and the rule answers without asking:
    otherwise a server that is down would be waited for once per phrase.

    Raises:
        ConfigError: If the package `openai` or one of `VARIABLES` is missing, or the address is none.
    """

    Config = EndpointConfig

    def __init__(self, config: EndpointConfig) -> None:
        missing = [name for name in VARIABLES if not os.environ.get(name)]
        if missing:
            raise ConfigError(
                f'cues.source is "openai", but the environment lacks {", ".join(missing)}. Needed: '
                f"{', '.join(VARIABLES)} (any text for a key that the server does not check). "
                f"Run: export {missing[0]}=..., or set cues.source in params.yaml to rule."
            )
        key, address, self._model = (os.environ[name] for name in VARIABLES)
        client = import_extra("openai").OpenAI
        try:
            self._client = client(api_key=key, base_url=address, max_retries=config.retries, timeout=config.timeout_s)
        except Exception as error:  # of no kind that a library of ours knows
            raise ConfigError(
                f"OPENAI_BASE_URL is no address of a server ({first_words(error)}). Allowed: such as "
                "http://localhost:8000/v1. Fix it, or set cues.source in params.yaml to rule."
            ) from None
        self.inputs = (self._model,)
        self._config = config
        self._gen: dict[str, Any] = {"temperature": 0, "max_tokens": config.max_tokens, "seed": config.seed}
        if config.json_mode:
            self._gen["response_format"] = {"type": "json_object"}
        self._given_up = False

    def answer(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """Ask about every phrase, several at a time."""
        if self._given_up:
            return [fall_back(phrase, "the endpoint was given up") for phrase in phrases]
        with ThreadPoolExecutor(self._config.concurrency) as pool:
            outcomes = list(pool.map(self._ask, phrases))
        self._given_up = not any(reached for _, reached in outcomes)
        if self._given_up:
            say(
                f"no question reached the endpoint ({outcomes[0][0].error}): the rule answers in its place. "
                "Once it does, run: dvc repro -f write_cues"
            )
        return [answer for answer, _ in outcomes]

    def _ask(self, phrase: Phrase) -> tuple[Answer, bool]:
        """The answer, and whether the server gave one, good or bad."""
        messages = [{"role": "user", "content": PROMPT.write(phrase.text)}]
        try:
            reply = self._client.chat.completions.create(model=self._model, messages=messages, **self._gen)
            content, finished = reply.choices[0].message.content, reply.choices[0].finish_reason == "stop"
        except Exception as error:  # whatever a server can do wrong must not end the run
            # The message may quote the key or the address, so only the kind of error and the HTTP status are kept.
            status = getattr(error, "status_code", None)
            return fall_back(phrase, f"{type(error).__name__} {status}" if status else type(error).__name__), False
        if not isinstance(content, str):
            return fall_back(phrase, "no text in the answer"), True
        source = f"openai:{self._model}"
        return judge_answer(content, phrase, finished=finished, source=source, gen=self._gen), True
