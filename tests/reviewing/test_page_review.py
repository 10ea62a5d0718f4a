"""The list of labels and what is decided about them, through the JSON interface."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reviewing.log import DecisionLog
from reviewing.order import most_doubtful_first
from tests.reviewing.page_client import client_of, decide
from tests.reviewing.reviewable import HOSTILE, write_reviewable


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_reviewable(tmp_path_factory.mktemp("own") / "own", images=3, hostile=[2]).parent


@pytest.fixture
def labels(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "own")) / "labels.parquet"


@pytest.fixture
def client(labels):
    with client_of(labels) as client:
        yield client


@pytest.fixture
def table(labels):
    return pd.read_parquet(labels)


def rows_of(client, **query):
    return [row["row"] for row in client.get("/api/labels", params={"size": 200} | query).json()["rows"]]


def test_the_least_sure_come_first(client, table):
    for order, column in (("confidence", "confidence"), ("margin", "margin"), ("disagreement", "agreement")):
        assert rows_of(client, order=order) == table[column].argsort(kind="stable").tolist()
    boxes = np.stack(table["box"])
    doubtful = most_doubtful_first(table["image_id"].to_numpy(), boxes, table["margin"].to_numpy())
    assert rows_of(client) == rows_of(client, order="doubt") == doubtful.tolist()
    assert rows_of(client, order="file") == list(range(len(table)))
    reasons = table["reason"].iloc[rows_of(client, order="reason")].tolist()
    assert reasons == sorted(filter(None, reasons)) + [""] * reasons.count("")


def test_an_order_that_the_labels_do_not_know_is_the_next_best(tmp_path):
    for without, first in ((["confidence"], "doubt"), (["confidence", "margin", "agreement", "runner_up"], "reason")):
        labels = write_reviewable(tmp_path / first, images=1, without=without)
        with client_of(labels) as client:
            window = client.get("/api/labels", params={"order": "confidence"}).json()
            assert window["order"] == first
            assert client.get("/api/labels/0").json()["runner_up"] is None or "runner_up" not in without


def test_labels_without_a_number_come_last(labels, table):
    table.loc[4, "confidence"] = None
    table.to_parquet(labels, index=False)
    with client_of(labels) as client:
        assert rows_of(client, order="confidence")[-1] == 4
        assert "confidence" not in client.get("/api/labels/4").json()["numbers"]


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"split": "val"}, lambda row: row.split == "val"),
        ({"state": "accepted"}, lambda row: row.accept),
        ({"state": "refused"}, lambda row: not row.accept),
        ({"reason": "domain"}, lambda row: row.reason == "domain"),
        ({"text": "BALL"}, lambda row: "ball" in row.expression),
        ({"text": "<script>"}, lambda row: "<script>" in row.expression),
        ({"text": ".*"}, lambda row: ".*" in row.expression),
        ({"state": "refused", "split": "train"}, lambda row: not row.accept and row.split == "train"),
    ],
)
def test_filters_let_through_what_they_say(client, table, query, fits):
    expected = [row.Index for row in table.itertuples() if fits(row)]
    found = client.get("/api/labels", params={"order": "file", "size": 200} | query).json()
    assert [row["row"] for row in found["rows"]] == expected
    assert found["count"] == found["total"] == len(expected)


def test_windows_follow_each_other(client, table):
    parts = [client.get("/api/labels", params={"start": start, "size": 4}).json() for start in range(0, len(table), 4)]
    assert [row["row"] for part in parts for row in part["rows"]] == rows_of(client)
    assert {part["count"] for part in parts} == {len(table)}
    assert client.get("/api/labels", params={"start": 10_000}).json()["rows"] == []


def test_a_label_knows_its_neighbours_in_the_list_that_is_asked_for(client, table):
    query = {"order": "margin", "state": "accepted"}
    listed = rows_of(client, **query)
    for place, row in enumerate(listed):
        shown = client.get(f"/api/labels/{row}", params=query).json()
        assert shown["place"] == place
        assert shown["previous"] == (listed[place - 1] if place else None)
        assert shown["next"] == (listed[place + 1] if place + 1 < len(listed) else None)
    outside = int(table["accept"].to_numpy().argmin())  # a label that the filter leaves out: the next in order is next
    shown = client.get(f"/api/labels/{outside}", params=query).json()
    assert shown["next"] == next((row for row in listed if table.margin[row] > table.margin[outside]), None)


def test_going_through_undecided_labels_reaches_every_one(client, table):
    query = {"decided": "undecided", "order": "margin"}
    row, seen = rows_of(client, **query)[0], []
    while row is not None:
        shown = client.get(f"/api/labels/{row}", params=query).json()
        decide(client, shown["sample_id"], "accept")
        seen.append(row)
        row = shown["next"]
    assert seen == table["margin"].argsort(kind="stable").tolist()
    assert rows_of(client, **query) == []


def test_a_label_shows_what_the_table_says(client, table):
    shown, row = client.get("/api/labels/2").json(), table.iloc[2]
    assert (shown["phrase"], shown["sample_id"]) == (HOSTILE, "own/2")
    assert shown["box"] == row["box"].tolist() and shown["runner_up"] == row["runner_up"].tolist()
    assert shown["mask"]["counts"] == row["mask"]["counts"]
    assert shown["numbers"] == {name: row[name] for name in ("score", "margin", "confidence", "agreement")}
    picture = client.get(shown["picture"])
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")


def test_each_verdict_has_its_box(client, table, labels):
    drawn = [1.5, 2.25, 30.0, 40.0]
    sent = [("accept", None, 0), ("runner_up", None, 1), ("box", drawn, 2), ("reject", None, 3)]
    for verdict, box, row in sent:
        more = {"box": box} if box else {}
        answer = decide(client, f"own/{row}", verdict, label_box=table["box"][row].tolist(), **more)
        assert answer.status_code == 200, answer.text
    with DecisionLog(labels.parent / "decisions/log.sqlite") as log:
        standing = log.standing()
    assert [standing[f"own/{row}"].verdict for *_, row in sent] == [verdict for verdict, *_ in sent]
    assert standing["own/0"].box == standing["own/0"].label_box == tuple(table["box"][0])
    assert standing["own/1"].box == tuple(table["runner_up"][1])
    assert standing["own/2"].box == tuple(drawn) and standing["own/3"].box is None
    assert standing["own/2"].expression == HOSTILE
    said = {(one.who, one.source, one.teacher, one.checkpoint_sha256, one.image_id) for one in standing.values()}
    assert said == {("ann", "serve", "dvin", "c0ffee00" * 8, 7)}
    assert client.get("/api/labels").json()["decided"] == 4
    assert rows_of(client, decided="decided", order="file") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sample_id", "verdict", "more", "code", "message"),
    [
        ("own/999", "accept", {}, 404, "no label of that name"),
        ("own/0", "box", {}, 409, "Allowed: a box with 'box'"),
        ("own/0", "accept", {"box": [1, 2, 3, 4]}, 409, "Allowed: a box with 'box'"),
        ("own/0", "box", {"box": [10, 10, 500, 20]}, 409, "inside the image of 112 x 128 pixels"),
        ("own/0", "box", {"box": [-5, 10, 20, 20]}, 409, "inside the image"),
        ("own/0", "box", {"box": [20, 10, 10, 20]}, 409, "at least one pixel wide"),
        ("own/0", "accept", {"label_box": [1, 2, 3, 4]}, 409, "has changed since"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(client, sample_id, verdict, more, code, message):
    answer = decide(client, sample_id, verdict, **more)
    assert answer.status_code == code and message in answer.json()["error"]
    assert client.get("/api/labels").json()["decided"] == 0


def test_a_label_without_a_box_can_be_rejected_or_drawn_but_not_accepted(labels, table):
    table["box"] = table["box"].astype(object)
    table.at[0, "box"] = None
    table.to_parquet(labels, index=False)
    with client_of(labels) as client:
        assert "has no box" in decide(client, "own/0", "accept").json()["error"]
        assert decide(client, "own/0", "reject").status_code == 200
        assert decide(client, "own/0", "box", box=[1, 1, 9, 9]).status_code == 200


def test_half_a_character_is_refused(client):
    body = rb'{"sample_id": "\ud800", "verdict": "accept"}'
    answer = client.post("/api/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and "sample_id: " in answer.json()["error"]


def test_a_box_that_lies_outside_the_image_is_not_accepted(labels, table):
    table["box"], table["runner_up"] = table["box"].astype(object), table["runner_up"].astype(object)
    table.at[0, "box"], table.at[0, "runner_up"] = [-9.0, 1.0, 0.0, 9.0], [1.0, 128.0, 9.0, 140.0]
    table.at[1, "box"] = [-9.0, 1.0, 1.0, 9.0]  # which reaches into it
    table.to_parquet(labels, index=False)
    with client_of(labels) as client:
        for verdict in ("accept", "runner_up"):
            answer = decide(client, "own/0", verdict)
            assert answer.status_code == 409 and "lies inside the image. Draw a box, or reject it" in answer.text
        assert decide(client, "own/0", "reject").status_code == decide(client, "own/1", "accept").status_code == 200


def test_the_same_decision_sent_twice_is_taken_back_at_once(client):
    for _ in range(2):  # as a page does that did not hear the answer
        assert decide(client, "own/1", "accept").status_code == 200
    undone = client.post("/api/undo").json()
    assert (undone["sample_id"], undone["row"], undone["decided"]) == ("own/1", 1, 0)
    assert client.post("/api/undo").json()["sample_id"] is None


def test_undo_brings_back_the_decision_before(client):
    decide(client, "own/1", "accept")
    decide(client, "own/1", "reject")
    client.post("/api/undo")
    assert client.get("/api/labels/1").json()["decision"]["verdict"] == "accept"


def test_a_decision_about_another_box_says_so(labels, table):
    with client_of(labels) as client:
        decide(client, "own/0", "accept")
        assert client.get("/api/labels/0").json()["decision"]["of_this_label"]
    table.at[0, "box"] = [0.0, 0.0, 9.0, 9.0]
    table.to_parquet(labels, index=False)
    with client_of(labels) as client:
        assert not client.get("/api/labels/0").json()["decision"]["of_this_label"]


def test_decisions_of_others_show_when_the_page_is_loaded(client, labels):
    with client_of(labels, who="bob") as other:
        decide(other, "own/0", "reject")
    client.get("/review")
    assert client.get("/api/labels/0").json()["decision"]["who"] == "bob"
