"""The page's app without a server around it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from commands.serve import review_parts
from reviewing.page.access import Access
from reviewing.page.app import Parts, build_app
from reviewing.page.places import places_of

PORT = 8765
ORIGIN = f"http://127.0.0.1:{PORT}"


@contextmanager
def client_of(labels: Path | None, *, who: str = "ann", **parts: Any) -> Iterator[TestClient]:
    """A client that has come in through the printed address, as a browser does.

    `client.access` holds the token, `client.desk` the labels.
    """
    with ExitStack() as stack:
        access = Access(PORT)
        reviewed = review_parts(places_of(labels), stack, who) if labels else {}
        app = build_app(Parts(access=access, who=who, **reviewed, **parts))
        client = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)
        client.access, client.desk = access, reviewed.get("desk")
        client.get("/", params={"token": access.token})
        client.headers["origin"] = ORIGIN
        yield client


def stranger(client: TestClient, **headers: str) -> TestClient:
    """Somebody at the same server without the cookie."""
    return TestClient(client.app, base_url=ORIGIN, headers=headers)


def decide(client: TestClient, sample_id: str, verdict: str, **more: Any) -> Any:
    """The answer to a decision."""
    return client.post("/api/decisions", json={"sample_id": sample_id, "verdict": verdict} | more)
