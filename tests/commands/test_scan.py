"""`deixis scan`: what it finds is what `prepare` accepts, and what it prints can be pasted."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from commands.scan import scan
from deixis.core.errors import ConfigError, DataError
from stages.prepare import prepare
from tests.deixis.datasets.pairs.corpora import image

ROWS = [{"file_name": f"{number}.png", "Caption": f"red ball {number}"} for number in range(3)]


def write(folder, kind: str, rows) -> None:
    for number in range(3):
        image(folder / "images" / f"{number}.png", number)
    table = pd.DataFrame(rows)
    if kind == "csv":
        table.to_csv(folder / "pairs.csv", index=False, sep=";")
    elif kind == "jsonl":
        table.to_json(folder / "pairs.jsonl", orient="records", lines=True)
    elif kind == "json":
        table.to_json(folder / "pairs.json", orient="records")
    elif kind == "parquet":
        table.to_parquet(folder / "pairs.parquet")
    else:  # as save_to_disk writes it
        with (
            pa.OSFile(str(folder / "part.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, pa.Schema.from_pandas(table)) as out,
        ):
            out.write_table(pa.Table.from_pandas(table))
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "part.arrow"}]}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "hf"])
def test_the_printed_entry_prepares_what_was_counted(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "my pairs", kind, ROWS)
    before = sorted(tmp_path.rglob("*"))
    scan(tmp_path / "my pairs")
    assert sorted(tmp_path.rglob("*")) == before
    printed = capsys.readouterr().out
    assert f"3 rows of {kind}" in printed and "image = file_name, text = Caption" in printed
    assert "3 pairs about 3 images: 3 train" in printed
    pasted = YAML(typ="safe").load(printed.splitlines()[-1])
    assert pasted == {"my_pairs": {"adapter": "pairs", "fields": {"image": "file_name", "text": "Caption"}}}
    YAML(typ="safe", pure=True).dump({"datasets": pasted}, tmp_path / "params.yaml")
    prepare(dataset="my_pairs", raw=tmp_path / "my pairs", out=tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out/pairs.parquet").num_rows == 3


@pytest.mark.parametrize("name", ["2024", "1e3", "null", "2024-05"])
def test_a_folder_whose_name_yaml_would_not_read_as_text_is_named_in_quotes(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, "csv", ROWS)
    scan(tmp_path / name)
    *_, listed, entry = capsys.readouterr().out.splitlines()
    (dataset,) = YAML(typ="safe").load(entry)
    assert dataset == name.replace("-", "_") and f"'{dataset}' under run.datasets" in listed
    (tmp_path / "params.yaml").write_text(f"datasets:\n{entry}\n")
    prepare(dataset=dataset, raw=tmp_path / name, out=tmp_path / "out")
    scan(tmp_path / name)
    (tmp_path / "params.yaml").write_text(f"datasets:\n{entry}\n".replace("'", ""))
    for attempt in (lambda: scan(tmp_path / name), lambda: prepare(dataset=dataset, raw=tmp_path, out=tmp_path)):
        with pytest.raises(ConfigError, match=f'Write "{dataset}": in place of {dataset}: there'):
            attempt()


def test_bad_rows_are_shown_with_their_code_and_an_entry_of_params_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"image": f"{number}.png", "text": "?!" if number == 1 else "red ball", "part": "a"} for number in range(4)]
    write(tmp_path / "mine", "csv", rows)
    (tmp_path / "params.yaml").write_text(
        "datasets: {mine: {adapter: pairs, fields: {split: part}, splits: {a: train}}}"
    )
    scan(tmp_path / "mine/pairs.csv")
    printed = capsys.readouterr().out
    assert "2 pairs about 2 images: 2 train" in printed
    assert re.search(r"refused +1 E_TEXT_EMPTY, such as\n +pairs.csv row 2: E_TEXT_EMPTY '\?!'", printed)
    assert re.search(r"refused +1 E_IMG_MISSING, such as\n +pairs.csv row 4: .*3\.png", printed)
    assert "too many  2 of 8 rows and images are bad" in printed


def test_what_cannot_be_scanned_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"none: no such file or folder\..* run: deixis scan none$"):
        scan(Path("none"))
    write(tmp_path / "boxed", "csv", [row | {"bbox": "[1, 2, 11, 12]"} for row in ROWS])
    with pytest.raises(ConfigError, match=r"column bbox holds boxes.* Run: deixis scan .*boxed --boxes xywh_abs$"):
        scan(tmp_path / "boxed")
    scan(tmp_path / "boxed", boxes="xyxy_abs")
    write(tmp_path / "odd", "csv", [{"a": "0.png", "b": "red ball"}])
    with pytest.raises(DataError, match=r"no column image, text\. Found: a;?b?.*, then run: deixis scan .*odd$"):
        scan(tmp_path / "odd")
    for params in ("datasets:\n", "datasets: [odd]\n", "datasets: {odd: pairs}\n"):  # none of them says anything of it
        (tmp_path / "params.yaml").write_text(params)
        with pytest.raises(DataError, match="no column image, text"):
            scan(tmp_path / "odd")
    write(tmp_path / "bad", "jsonl", [{"image": "none.png", "text": "red ball"}])
    with pytest.raises(DataError, match=r"bad: no usable pair"):
        scan(tmp_path / "bad")
