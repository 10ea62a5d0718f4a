"""The waits for the page, measured on a few labels."""

from benchmarks.review_list import Client, measure, write_labels
from tests.reviewing.page_client import client_of


def test_a_few_labels_are_measured_to_the_end(tmp_path, monkeypatch):
    write_labels(tmp_path, 30)
    with client_of(tmp_path / "labels.parquet") as page:
        client = Client(f"http://127.0.0.1:8765/?token={page.access.token}")

        def ask(path, body=None):
            answer = page.get(path) if body is None else page.post(path, json=body)
            assert answer.status_code == 200
            return answer.content

        monkeypatch.setattr(client, "ask", ask)
        waits = measure(client, repeat=3)
        assert page.get("/api/labels").json()["decided"] == 3
    assert set(waits) == {"cold_first_screen_ms", "first_screen_ms", "next_label_ms", "other_search_ms"}
    assert all(0 < wait < 5_000 for wait in waits.values())
