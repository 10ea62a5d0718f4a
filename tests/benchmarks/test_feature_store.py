"""The benchmark of the feature store, at a size that takes no time."""

import json

from benchmarks import feature_store


def test_it_opens_and_compares(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(feature_store, "PAPER", feature_store.SMALL | {"fine": (64, 16, 16)})
    monkeypatch.setattr("sys.argv", ["feature_store", "--images", "130", "--small", "640", "--batches", "2"])
    feature_store.main()
    found = json.loads(capsys.readouterr().out)
    assert found["shards opened"] == 120 and found["share of a raw map's speed"] > 0
    assert list(tmp_path.iterdir()) == []
