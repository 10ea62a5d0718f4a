"""A chat-completions server on this machine, for tests."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret"


@contextmanager
def chat_server(reply: Callable[[str], Any]) -> Iterator[tuple[str, list[str]]]:
    """Serve what `reply` says about an expression: the content of a message, or an HTTP status.

    Yields the base URL and the expressions that were asked about.
    """
    questions: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = re.findall(r"Expression: (.*)", body["messages"][-1]["content"])[-1]
            assert self.path == "/v1/chat/completions" and self.headers["Authorization"] == f"Bearer {KEY}"
            assert body["temperature"] == 0 and body["model"] == "toy"
            questions.append(text)
            content = reply(text)
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "toy", "choices": [choice]}
            refusal = {"error": {"message": f"{KEY} is not welcome at {self.headers['Host']}"}}
            payload = json.dumps(refusal if isinstance(content, int) else whole).encode()
            self.send_response(content if isinstance(content, int) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", questions
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use_server(monkeypatch, address: str) -> None:
    """Name the server in the environment, as a user would."""
    for name, value in {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": address, "OPENAI_MODEL": "toy"}.items():
        monkeypatch.setenv(name, value)
