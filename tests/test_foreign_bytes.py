"""Files that are not what their names say end in one message that names the file, wherever they are read."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from answering.cards import read_card
from commands.chunks import chunks, rows_about
from deixis.batches.features import FeatureStore, extract
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.published import read_tensors
from deixis.core.records import read_json, read_table
from deixis.datasets.pairs.settings import PairsConfig
from deixis.datasets.pairs.sources import find_sources, read_rows
from deixis.exports.reading import LabelReader
from deixis.labelling.labels import iterate_labels
from models.loading.teachers import load_teacher
from tests.deixis.exports.labelled import hard_rows, row, write_tables
from tests.factories import refclip


def test_whatever_a_reader_raises_names_the_file(tmp_path):
    for error in (TypeError(), RecursionError("deep"), MemoryError(), KeyError("a"), AssertionError("two\nlines")):
        with pytest.raises(DataError, match=r"a\.bin: not a whole file \(\w+") as caught:
            with foreign_bytes(tmp_path / "a.bin", "a whole file", "Restore it"):
                raise error
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="ours"), foreign_bytes(tmp_path, "a whole file", "Restore it"):
        raise ConfigError("ours")
    with pytest.raises(KeyboardInterrupt), foreign_bytes(tmp_path, "a whole file", "Restore it"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("width", ["90", "40", "9"], r"the column width holds .*string; allowed: whole numbers"),
        ("height", [60.5, 1.0, 2.0], "the column height holds double; allowed: whole numbers"),
        ("path", [1, 2, 3], "the column path holds int64; allowed: text"),
        ("path", ["a.png", None, "b.png"], "row 1 has no path"),
        ("image_id", [[7], [8], [9]], r"the column image_id holds list.*; allowed: numbers or text"),
        ("width", [90, 0, 90], "row 1 is 0 x 100 pixels; allowed: at least one"),
    ],
)  # fmt: skip
def test_a_table_of_images_of_another_type(tmp_path, column, values, message):
    labels, images = write_tables(tmp_path, hard_rows())
    pd.read_parquet(images).assign(**{column: values}).to_parquet(images)
    with pytest.raises(DataError, match=rf"images\.parquet: {message}.*dvc repro -f prepare"):
        list(LabelReader(labels, images).images())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": "1,2,3,4"}, r"the column box holds .*string; allowed: lists of numbers"),
        ({"box": [1.0, 2.0, 3.0]}, r"the box of s/1 has 3 sides; allowed: 4"),
        ({"score": "high"}, r"the column score holds .*string; allowed: numbers"),
        ({"accept": 1}, "the column accept holds int64; allowed: true or false"),
        ({"accept": None}, "the column accept holds null; allowed: true or false"),
        ({"mask": "04"}, r"the column mask holds .*string; allowed: run-length codes"),
        ({"mask": {"size": [60, 90], "counts": "0"}}, r"the mask of s/1 is no run-length code of 90 x 60 pixels"),
        ({"mask": {"size": [60, 90], "counts": "\u00ff"}}, r"the mask of s/1 is no run-length code of 90 x 60 pixels"),
        ({"mask": {"size": [60], "counts": "04"}}, r"the mask of s/1 is no run-length code of 90 x 60 pixels"),
        ({"expression": None}, r"row 0 has no expression|expression holds null"),
        ({"teacher": 7}, "the column teacher holds int64; allowed: text"),
    ],
)  # fmt: skip
def test_labels_of_another_type(tmp_path, changes, message):
    tables = write_tables(tmp_path, [row("s/1", 7, [0.0, 0.0, 9.0, 9.0], None) | changes])
    with pytest.raises(DataError, match=rf"labels\.parquet: .*({message})"):
        list(LabelReader(*tables).images())


def test_damaged_pages_of_labels(tmp_path):
    labels, images = write_tables(tmp_path, hard_rows())
    whole = bytearray(labels.read_bytes())
    for place in range(4, len(whole) // 2, 7):
        labels.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        for read in (lambda: list(LabelReader(labels, images).images()), lambda: list(iterate_labels(labels))):
            try:
                read()
            except DataError as error:
                assert "labels.parquet" in str(error)


@pytest.mark.parametrize("text", ["[" * 100_000, "\ufeff{", '{"a": NaN', "\ud800".encode("utf-8", "surrogatepass")])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"a\.json: not valid JSON \(.*dvc repro train_teacher"):
        read_json(tmp_path / "a.json", made_by="train_teacher")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("licence: 2024-13-45", r"a\.licence is '2024-13-45': month must be"),
        ("licence: !!float abc", r"a\.licence is 'abc': could not convert"),
        ("fields: {image: !!int x}", r"a\.fields\.image is 'x': invalid literal"),
        ("val_share: .inf", r"a\.val_share is inf\. Allowed: a finite number"),
        ("val_share: .nan", r"a\.val_share is nan\. Allowed: a finite number"),
        ("val_share: 1.5", r"a\.val_share is 1\.5: Input should be less than or equal to 1"),
        ("splits: {train: .inf}", r"a\.splits\.train is inf"),
        ("splits: &y [*y], licence: 2024-13-45", r"a\.licence is '2024-13-45': month must be"),
        ("licence: &x [*x]", r"a\.licence is .*: Input should be a valid string"),
    ],
)
def test_values_that_no_manifest_could_hold(tmp_path, value, message):
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {{adapter: pairs, {value}}}")
    with pytest.raises(ConfigError, match=rf"params\.yaml: .*{message}"):
        read_section(path, "a", PairsConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a: {licence: "\\ud800"}', r"(half of a surrogate pair|invalid Unicode)"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)  # fmt: skip
def test_params_that_no_loader_can_make(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"params\.yaml: (.|\n)*{message}"):
        read_section(tmp_path / "params.yaml", "a", PairsConfig)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": ["refclip"]}, r"teacher is \['refclip'\]; allowed: a str"),
        ({"model": None}, "model is None; allowed: a dict"),
        ({"sha256": 7}, "sha256 is 7; allowed: a str"),
        ({"vocabulary": "red"}, "vocabulary is 'red'; allowed: a list"),
    ],
)  # fmt: skip
def test_cards_of_another_type(tmp_path, change, message):
    facts = {"teacher": "refclip", "model": {}, "vocabulary": [], "sha256": "0"} | change
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=rf"config\.json: {message}.*dvc repro -f train_teacher"):
        read_card(tmp_path)


@pytest.mark.parametrize("model", [{"fused_width": "wide"}, {"fused_width": -3}, {"joint_width": 1 << 60}, 3])
def test_cards_of_models_that_cannot_be_built(tmp_path, model):
    save_checkpoint(refclip(), tmp_path, config={"teacher": "refclip", "model": model, "vocabulary": []})
    with pytest.raises(DataError, match=r"config\.json: not the card of a teacher \(.*dvc repro -f train_teacher"):
        load_teacher(tmp_path, torch.device("cpu"))


@pytest.mark.parametrize(
    "change", [{"shards": 3}, {"shards": [{}]}, {"arrays": []}, {"arrays": {"map": {"shape": "x"}}}]
)
def test_descriptions_of_feature_stores_of_another_type(tmp_path, change):
    extract(
        [1], lambda ids: {"map": np.ones((len(ids), 2), np.float16)}, scratch=tmp_path / "s", out=tmp_path / "store",
        meta={}, batch_size=2,
    )  # fmt: skip
    path = tmp_path / "store/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"meta\.json: not the description of a feature store \(.*extract_features"):
        FeatureStore(tmp_path / "store")


@pytest.mark.parametrize(
    "state", [{"_data_files": ["a.arrow"]}, {"_data_files": {"filename": "a"}}, {"_data_files": 7}]
)
def test_states_of_saved_datasets_of_another_type(tmp_path, state):
    (tmp_path / "state.json").write_text(json.dumps(state))
    kind, paths = find_sources(tmp_path, PairsConfig())
    with pytest.raises(DataError, match=r"state\.json: _data_files is .*allowed: a list of objects with filename"):
        list(read_rows(tmp_path, PairsConfig(), kind, paths))


@pytest.mark.parametrize("content", [{1: torch.ones(2)}, {"a": torch.ones(2).to_sparse(), "b": 3}, {"a": {}}, {}])
def test_weight_files_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a\.pt: .*Allowed: names of tensors only"):
        read_tensors(tmp_path / "a.pt")


def test_pairs_of_another_type_are_refused_before_any_is_labelled(tmp_path):
    pairs = {name: ["a"] for name in PAIR_COLUMNS} | {"image_id": [[1]]}
    pd.DataFrame(pairs).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match=r"pairs\.parquet: the column image_id holds list"):
        next(chunks(tmp_path / "pairs.parquet", PAIR_COLUMNS))
    pd.DataFrame({"image_id": [1]}).to_parquet(tmp_path / "images.parquet")
    with pytest.raises(DataError, match=r"images\.parquet: lacks path; has image_id"):
        rows_about(tmp_path / "images.parquet", [1], ["image_id", "path"])
    with pytest.raises(DataError, match=r"pairs\.parquet: the column image_id holds list"):
        read_table(tmp_path / "pairs.parquet", columns=PAIR_COLUMNS, made_by="prepare")
