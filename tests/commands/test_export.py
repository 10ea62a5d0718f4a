"""`deixis export`: what it refuses, and that a folder appears whole or not at all."""

from typing import get_args

import pandas as pd
import pytest

from commands.export import Target, export, write_folder
from deixis.core.errors import ConfigError, DataError
from deixis.exports import TARGETS
from tests.deixis.exports.labelled import hard_rows, row, write_tables


def test_the_targets_offered_are_those_registered():
    assert get_args(Target) == tuple(TARGETS)


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_is_written_into_a_new_folder_and_told(tmp_path, capsys, target):
    labels, images = write_tables(tmp_path / "tables", hard_rows())
    export(labels, to=target, images=images, out=tmp_path / "new" / target)
    assert any((tmp_path / "new" / target).iterdir())
    assert [path.name for path in (tmp_path / "new").iterdir()] == [target]
    assert "3 labels written; left out: 1 not accepted" in capsys.readouterr().err


@pytest.mark.parametrize("target", list(TARGETS))
def test_equal_labels_give_equal_bytes(tmp_path, target):
    labels, images = write_tables(tmp_path / "tables", hard_rows())
    written = []
    for name in ("one", "two"):
        export(labels, to=target, images=images, out=tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert written[0] == written[1]


@pytest.mark.parametrize("target", list(TARGETS))
def test_texts_of_one_object_are_all_there(tmp_path, target):
    box = [0.0, 0.0, 9.0, 9.0]
    labels, images = write_tables(tmp_path / "tables", [row("s/1", 7, box, None), row("s/2", 7, box, None)])
    pairs = tmp_path / "pairs.parquet"
    pd.DataFrame({"sample_id": ["s/1", "s/2"], "ref_id": [4, 4]}).to_parquet(pairs)
    export(labels, to=target, images=images, out=tmp_path / "out", per="object", pairs=pairs)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"phrase of s/1" in written and b"phrase of s/2" in written


def test_objects_need_pairs(tmp_path):
    labels, images = write_tables(tmp_path, hard_rows())
    with pytest.raises(ConfigError, match="--per object needs --pairs"):
        export(labels, to="coco", images=images, out=tmp_path / "out", per="object")


def test_a_name_that_no_file_can_have_is_one_message(tmp_path):
    rows = [row("s/1", 7, [0.0, 0.0, 9.0, 9.0], None) | {"split": "a" * 3000}]
    labels, images = write_tables(tmp_path / "tables", rows)
    with pytest.raises(DataError, match=r"out: cannot be written: .*name too long.{,200}Make room"):
        export(labels, to="yolo", images=images, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_what_is_there_is_not_overwritten(tmp_path):
    labels, images = write_tables(tmp_path, hard_rows())
    with pytest.raises(ConfigError, match=r"is there already\. Allowed: a new folder"):
        export(labels, to="coco", images=images, out=tmp_path)


def test_a_failed_export_leaves_nothing(tmp_path):
    labels, images = write_tables(tmp_path / "tables", [*hard_rows(), row("s/9", 9, [0, 0, 9, 9], None, score=None)])
    with pytest.raises(DataError, match="the score of s/9"):
        export(labels, to="cvat", images=images, out=tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new" / "out", write)
    assert not list((tmp_path / "new").iterdir())
