"""Which tables can be reviewed, and where the images, the log and the model of each are."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from deixis.core.errors import DataError
from reviewing.page.labels import Labels
from reviewing.page.listing import Query
from reviewing.page.places import places_of
from tests.reviewing.page_client import client_of
from tests.reviewing.reviewable import write_reviewable


@pytest.fixture
def labels(tmp_path):
    return write_reviewable(tmp_path / "own", images=1)


@pytest.fixture
def table(labels):
    return pd.read_parquet(labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(sample_id="own/0"), "own/0 stands there twice. Allowed: one label a phrase"),
        (lambda t: t.assign(image_id=99), "image 99 is not in the table of images. Name the right one: --images"),
        (lambda t: t.assign(image_id="a"), "image 'a' has no whole number"),
        (lambda t: t.assign(expression=None), "row 0 has no expression"),
        (lambda t: t.assign(confidence="high"), "the column confidence holds .*; allowed: numbers"),
        (lambda t: t.drop(columns="accept"), "lacks accept"),
    ],
)
def test_other_tables_are_refused(labels, table, change, message):
    change(table).to_parquet(labels, index=False)
    with pytest.raises(DataError, match=message):
        Labels(labels, pd.Index([7]))


def test_a_table_without_a_label_has_an_empty_list(labels):
    pq.write_table(pq.read_table(labels).slice(0, 0), labels)
    with client_of(labels) as client:
        assert client.get("/review").status_code == 200
        window = client.get("/api/labels").json()
        assert (window["rows"], window["count"], window["total"]) == ([], 0, 0)
        assert client.get("/api/labels/0").status_code == 404


def test_places_are_those_of_the_graph_or_beside_the_labels(tmp_path, labels, monkeypatch):
    beside = places_of(labels.parent)
    assert (beside.labels, beside.model) == (labels, None)
    assert beside.images == labels.parent / "prepared/images.parquet"
    assert beside.log == labels.parent / "decisions/log.sqlite"
    graph = tmp_path / "data/labels/toy/dvin-rated/labels.parquet"
    graph.parent.mkdir(parents=True)
    labels.rename(graph)
    (tmp_path / "data/teachers/toy/dvin").mkdir(parents=True)
    (tmp_path / "data/teachers/toy/dvin/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    places = places_of(graph.relative_to(tmp_path))
    assert str(places.images) == "data/prepared/toy/images.parquet"
    assert str(places.log) == "data/decisions/toy/log.sqlite"
    assert str(places.model) == "data/teachers/toy/dvin"
    with pytest.raises(DataError, match=r"nowhere: missing\. Allowed: labels.parquet of a folder"):
        places_of(tmp_path / "nowhere")


def test_a_query_names_no_unknown_filter():
    with pytest.raises(ValueError, match="Extra inputs"):
        Query(colour="red")  # pyright: ignore
