"""Who gets in, and what a request cannot do: no token, another page, another host, paths, large bodies."""

import asyncio
import json
import re

import pytest
from starlette.testclient import TestClient

from reviewing.page.access import SMALL_BODY
from reviewing.page.model import Model
from tests.reviewing.page_client import ORIGIN, client_of, stranger
from tests.reviewing.reviewable import write_reviewable

MAX_UPLOAD = 1 << 20
DECISION = {"sample_id": "own/0", "verdict": "accept"}


def no_model():
    raise AssertionError("nobody asks it")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    labels = write_reviewable(tmp_path_factory.mktemp("own"), images=1)
    with client_of(labels, model=Model(no_model), max_upload=MAX_UPLOAD) as client:
        yield client


def routes(client: TestClient) -> set[tuple[str, str]]:
    """Method and path of everything that is served, with something in place of what varies."""
    app = client.app._small.app  # FastAPI's, behind the limits of bodies
    known = [route for included in app.routes for route in included.original_router.routes]
    return {(method, re.sub(r"{\w+}", "0", route.path)) for route in known for method in route.methods}


def test_every_route_but_the_entrance_needs_the_token(client):
    known = routes(client)
    assert {("GET", "/review"), ("GET", "/pictures/0/0"), ("PUT", "/api/images"), ("GET", "/openapi.json")} < known
    assert {path for _, path in known} >= {"/"} | {path.replace("{row}", "0") for path in schema_paths(client)}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"{client.access.cookie}=wrong"}):
        outside = stranger(client, **headers)
        for method, path in known:
            answer = outside.request(method, path)
            unfit = answer.status_code == 422 and method == "POST" and "own/0" not in answer.text
            assert answer.status_code == 401 or unfit, (method, path)  # a body is looked at before the token is


def schema_paths(client: TestClient) -> set[str]:
    return {path.replace("{number}", "0") for path in client.get("/openapi.json").json()["paths"]}


def test_the_entrance_takes_the_token_alone(client):
    outside = stranger(client)
    for wrong in ({}, {"token": "wrong"}, {"token": ""}):
        answer = outside.get("/", params=wrong)
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
    cookie = outside.get("/", params={"token": client.access.token}).headers["set-cookie"].lower()
    assert cookie.startswith("deixis-8765=") and "httponly" in cookie and "samesite=strict" in cookie
    assert outside.get("/review").status_code == 200


def test_programs_send_the_token_with_each_request(client):
    program = stranger(client, authorization=f"Bearer {client.access.token}")
    assert program.get("/api/labels").status_code == 200
    assert program.post("/api/decisions", json=DECISION).status_code == 200
    assert program.post("/api/undo").json()["sample_id"] == "own/0"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9999", "http://localhost:8765", "null", ""]
)
def test_a_write_from_another_page_is_refused(client, origin):
    answer = client.post("/api/decisions", json=DECISION, headers={"origin": origin})
    assert answer.status_code == 403 and "Allowed: from http://127.0.0.1:8765" in answer.json()["error"]
    assert client.get("/api/labels").json()["decided"] == 0


def test_a_write_by_cookie_says_where_it_comes_from(client):
    del client.headers["origin"]
    try:
        assert client.post("/api/decisions", json=DECISION).status_code == 403
    finally:
        client.headers["origin"] = ORIGIN


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "0.0.0.0:8765", "127.0.0.1.evil.example"])
def test_another_host_is_refused(client, host):
    assert client.get("/api/labels", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
        "/pictures/x/../../../labels.parquet", "/pictures/x/%2e%2e%2f0.png", "/pictures/x/-1", "/pictures/x/1",
        "/pictures/x/0.png", "/pictures/x/0%00", "/uploads/..%2f..%2fetc%2fpasswd", "/uploads/0",
        "/etc/passwd", "/static/..%5capp.py",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422), path
    assert b"import" not in answer.content and b"root:" not in answer.content and b"PNG" not in answer.content


def test_a_table_that_names_a_file_elsewhere_shows_none(tmp_path):
    import pandas as pd

    labels = write_reviewable(tmp_path / "own", images=2)
    (tmp_path / "secret.png").write_bytes((tmp_path / "own/prepared/images/0.png").read_bytes())
    images = pd.read_parquet(tmp_path / "own/prepared/images.parquet")
    images.loc[0, "path"] = "../../../secret.png"
    images.to_parquet(tmp_path / "own/prepared/images.parquet", index=False)
    with client_of(labels) as client:
        answer = client.get("/pictures/x/0")
        assert answer.status_code == 422 and "leaves the image root" in answer.json()["error"]
        assert client.get("/pictures/x/1").headers["content-type"] == "image/png"


@pytest.mark.parametrize(("path", "limit"), [("/api/decisions", SMALL_BODY), ("/api/images", MAX_UPLOAD)])
def test_a_declared_body_that_is_too_large_is_refused_unread(client, path, limit):
    method = "PUT" if path == "/api/images" else "POST"
    for size in (limit + 1, 1 << 30):
        answer = client.request(method, path, content=b"x", headers={"content-length": str(size)})
        assert answer.status_code == 413 and "--max-upload" in answer.json()["error"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "limit"), [("/api/decisions", SMALL_BODY), ("/api/images", MAX_UPLOAD)])
def test_a_body_without_end_is_cut_off(client, path, limit):
    taken = 0
    answers = []

    async def endless():
        nonlocal taken
        taken += 1 << 14
        assert taken < limit + (1 << 20)
        return {"type": "http.request", "body": b" " * (1 << 14), "more_body": True}

    async def send(message):
        answers.append(message)

    headers = {
        "host": "127.0.0.1:8765",
        "authorization": f"Bearer {client.access.token}",
        "transfer-encoding": "chunked",
    }
    headers["content-type"] = "application/json"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "path": path, "raw_path": path.encode(),
        "method": "PUT" if path == "/api/images" else "POST", "query_string": b"", "scheme": "http", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(client.app(scope, endless, send))
    assert answers[0]["status"] == 413 and b"--max-upload" in answers[1]["body"]
    assert taken > limit


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for answer in (client.get("/review"), client.get("/nowhere"), stranger(client).get("/review")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_pages_hold_no_script_of_their_own(client):
    for path in ("/review", "/try"):
        page = client.get(path).text
        assert "<script>" not in page and " style=" not in page and " onclick=" not in page
        assert "http://" not in page and "https://" not in page


def test_errors_are_one_message_for_programs_and_a_page_for_people(client):
    assert list(client.get("/nowhere").json()) == ["error"]
    page = client.get("/pictures/x/99", headers={"accept": "text/html"})
    assert page.status_code == 404 and "image 99. Allowed: 0 to 0" in page.text
    shown = client.get("/static/<script>alert(1)</script>", headers={"accept": "text/html"})
    assert "<script>" not in shown.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"sample_id": "own/0"}, "verdict: Field required"),
        ({"sample_id": "own/0", "verdict": "maybe"}, "verdict: Input should be"),
        ({"sample_id": 7, "verdict": "accept"}, "sample_id: Input should be a valid string"),
        ({"sample_id": "own/0", "verdict": "box", "box": [1, 2, 3]}, "box: List should have at least 4 items"),
        ({"sample_id": "own/0", "verdict": "box", "box": [1, 2, "3", 4]}, "box.2: Input should be a valid number"),
        ({"sample_id": "own/0", "verdict": "accept", "who": "eve"}, "who: Extra inputs are not permitted"),
    ],
)
def test_a_body_of_another_form_is_refused_with_what_is_wrong(client, body, message):
    answer = client.post("/api/decisions", json=body)
    assert answer.status_code == 422 and message in answer.json()["error"]


def test_infinite_sides_are_refused(client):
    body = json.dumps({"sample_id": "own/0", "verdict": "box", "box": [1, 2, float("inf"), 4]})
    answer = client.post("/api/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and "box.2" in answer.json()["error"]
