"""Preparing hostile and broken folders: nothing is executed, nothing crashes, and no valid pair is lost."""

import copy
import json
import pickle
import random

import pytest

from deixis.core.errors import DataError
from deixis.datasets.quarantine import Quarantine
from deixis.datasets.refer import ReferConfig, read_source
from deixis.datasets.referring import read_tables
from tests.factories import read_refer, refer_folder, write_refer

ALL = [f"toy/{number // 2}/{number}" for number in range(8)]


def read(folder):
    quarantine, config = Quarantine(), ReferConfig(adapter="refer")
    tables = read_tables(read_source(folder, config), config, raw=folder, dataset="toy", quarantine=quarantine)
    return tables, sorted(quarantine.table()["code"])


def ids(tables) -> list[str]:
    return [row[0] for row in tables.pairs]


def change(folder, edit) -> None:
    instances, refs = read_refer(folder)
    edit(instances, refs)
    write_refer(folder, instances, refs)


@pytest.fixture
def raw(tmp_path):
    return refer_folder(tmp_path / "raw", images=4)


class Harm:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return type(self.marker).touch, (self.marker,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path, raw, protocol):
    marker = tmp_path / "marker"
    harmful = pickle.dumps([{"ref_id": Harm(marker)}], protocol=protocol)
    pickle.loads(harmful)
    assert marker.exists()  # it is harmful where it is let
    marker.unlink()
    (raw / "refs(unc).p").write_bytes(harmful)
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: refused.*dvc repro"):
        read(raw)
    assert not marker.exists()


def test_a_pickle_cut_anywhere_is_refused(raw):
    whole = (raw / "refs(unc).p").read_bytes()
    for length in range(0, len(whole), 7):
        (raw / "refs(unc).p").write_bytes(whole[:length])
        with pytest.raises(DataError, match="refused"):
            read(raw)


@pytest.mark.parametrize(
    "broken",
    [
        None, "text", 7, [], {}, {"sentences": None}, {"sentences": [{"raw": "no id"}]}, {"image_id": [1]},
        {"ann_id": {}}, {"ref_id": "nine"}, {"ref_id": None},
    ],
    ids=str,
)  # fmt: skip
def test_no_ref_however_broken_takes_a_valid_pair_with_it(raw, broken):
    def add(_, refs):
        whole = copy.deepcopy(refs[1]) | {"ref_id": 9}
        refs.insert(2, whole | broken if isinstance(broken, dict) and broken else broken)

    change(raw, add)
    assert set(ALL) <= set(ids(read(raw)[0]))


@pytest.mark.parametrize(
    "broken",
    [
        {"bbox": None}, {"bbox": [1, 2, 3]}, {"bbox": ["a", 1, 2, 3]}, {"segmentation": None}, {"image_id": 3},
        {"segmentation": {"size": [10, 10], "counts": [40, 60]}}, {"segmentation": {"size": [48, 64], "counts": [9]}},
    ],
    ids=[
        "no box", "three numbers", "text in the box", "no mask", "of another image", "mask of another size",
        "mask cut short",
    ],
)  # fmt: skip
def test_no_annotation_however_broken_takes_a_valid_pair_with_it(raw, broken):
    change(raw, lambda instances, _: instances["annotations"][2].update(broken))
    assert ids(read(raw)[0]) == ALL[:4] + ALL[6:]


BAD_ROWS = [
    lambda ref: ref | {"sentences": [{"sent_id": 90, "raw": "..."}]},
    lambda ref: ref | {"ann_id": 12345},
    lambda ref: ref | {"image_id": 12345},
    lambda ref: ref | {"split": "elsewhere"},
    lambda ref: {key: value for key, value in ref.items() if key != "split"},
    lambda ref: dict(ref),  # the same ref twice
    lambda ref: None,
]


@pytest.mark.parametrize("seed", range(12))
def test_every_valid_pair_survives_among_random_bad_rows(tmp_path, seed):
    rng = random.Random(seed)
    raw = refer_folder(tmp_path / "raw", images=6, seed=seed)
    expected, _ = read(raw)

    def spoil(_, refs):
        valid = copy.deepcopy(refs)
        for _ in range(rng.randrange(1, 15)):
            row = rng.choice(BAD_ROWS)(copy.deepcopy(rng.choice(valid)))
            refs.insert(rng.randrange(len(valid), len(refs) + 1), row)

    change(raw, spoil)
    tables, codes = read(raw)
    assert tables == expected and codes


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"images": []}), json.dumps({"images": 1})])
def test_broken_instances_are_refused(raw, text):
    (raw / "instances.json").write_text(text)
    with pytest.raises(DataError, match="dvc repro prepare"):
        read(raw)
