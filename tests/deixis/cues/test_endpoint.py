import importlib.util
import json
import socket
from dataclasses import asdict

import pytest

from deixis.core.errors import ConfigError
from deixis.cues.answers import Phrase, import_extra
from deixis.cues.endpoint import VARIABLES, EndpointConfig, EndpointCues
from tests.deixis.cues.servers import KEY, chat_server, use_server

QUICK = EndpointConfig(retries=0, timeout_s=5.0, concurrency=2)
PHRASES = [Phrase("man on the right", 1, (1,)), Phrase("left guy", 2, (2,))]
needs_client = pytest.mark.skipif(not importlib.util.find_spec("openai"), reason="needs: uv sync --extra openai")


@needs_client
def test_good_lists(monkeypatch):
    with chat_server(lambda text: json.dumps([text.split()[-1], text])) as (address, questions):
        use_server(monkeypatch, address)
        answers = EndpointCues(EndpointConfig()).answer(PHRASES)
    assert [answer.cues for answer in answers] == [("right", "man on the right"), ("guy", "left guy")]
    assert {answer.source for answer in answers} == {"openai:toy"} and not any(answer.fallback for answer in answers)
    assert answers[0].gen == {"temperature": 0, "max_tokens": 128, "seed": 0}
    assert sorted(questions) == ["left guy", "man on the right"]


@needs_client
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("I would rather talk about the weather.", "no cue in the answer"),
        ('["man", "man on the', "no cue in the answer"),
        (500, "InternalServerError 500"),
        (401, "AuthenticationError 401"),
        (None, "no text in the answer"),
        ([{"type": "text", "text": '["man"]'}], "no text in the answer"),
        ({"cues": ["man"]}, "no text in the answer"),
    ],
    ids=["rubbish", "half a list", "server error", "refused", "nothing", "parts", "object"],
)
def test_the_rule_stands_in_for_one_bad_answer_and_no_other(monkeypatch, reply, error):
    with chat_server(lambda text: reply if text.startswith("man") else '["guy"]') as (address, _):
        use_server(monkeypatch, address)
        bad, good = EndpointCues(QUICK).answer(PHRASES)
    assert (bad.cues, bad.source, bad.fallback, bad.error) == (("man", "man on the right"), "rule-v2", True, error)
    assert (good.cues, good.fallback) == (("guy",), False)
    assert not any(secret in json.dumps([asdict(bad), asdict(good)]) for secret in (KEY, address))


@needs_client
def test_a_busy_server_is_asked_again(monkeypatch):
    replies = [503, '["man"]']
    with chat_server(lambda _: replies.pop(0)) as (address, questions):
        use_server(monkeypatch, address)
        (answer,) = EndpointCues(EndpointConfig(retries=1)).answer(PHRASES[:1])
    assert answer.cues == ("man",) and len(questions) == 2


@needs_client
def test_a_server_out_of_reach_is_given_up(monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_server(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        source = EndpointCues(QUICK)
        first, second = source.answer(PHRASES), source.answer(PHRASES)
    assert {answer.error for answer in first} == {"APIConnectionError"}
    assert {answer.error for answer in second} == {"the endpoint was given up"}
    assert [answer.cues for answer in first] == [answer.cues for answer in second]
    assert "APIConnectionError" in (messages := capsys.readouterr().err) and "dvc repro -f write_cues" in messages


@pytest.mark.parametrize("absent", VARIABLES)
def test_a_missing_variable_is_refused(monkeypatch, absent):
    use_server(monkeypatch, "http://127.0.0.1:1/v1")
    monkeypatch.delenv(absent)
    with pytest.raises(ConfigError, match=rf"lacks {absent}\. Needed: OPENAI_API_KEY, .*export {absent}="):
        EndpointCues(QUICK)


@needs_client
def test_an_address_that_is_none_is_refused(monkeypatch):
    use_server(monkeypatch, "http://host:port/v1")
    with pytest.raises(ConfigError, match=r"OPENAI_BASE_URL is no address of a server \(Invalid port"):
        EndpointCues(EndpointConfig())


def test_a_package_that_is_not_installed_is_refused():
    with pytest.raises(ConfigError, match=r"package nothing_like_it is not installed.*uv sync --extra nothing_like_it"):
        import_extra("nothing_like_it")
