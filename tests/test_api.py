"""`import deixis` costs nothing, and its few names do what the example shows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deixis
from deixis.core.errors import DataError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def test_the_import_loads_nothing():
    code = "import sys, deixis; print([name for name in ('numpy', 'torch', 'commands') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_resolves_and_others_are_told():
    assert all(getattr(deixis, name) for name in deixis.__all__)
    assert set(deixis.__all__) <= set(dir(deixis))
    with pytest.raises(AttributeError, match=r"no 'predict'. Known: load"):
        deixis.predict


def labels_file(path: Path) -> Path:
    rows = {
        "sample_id": ["a", "b", "c"], "image_id": [1, 1, 2], "expression": ["x", "y", "z"], "split": ["train"] * 3,
        "box": [[0.0, 0.0, 2.0, 3.0], None, [1.0, 1.0, 2.0, 2.0]], "score": [1.0, 0.5, 2.0], "margin": [0.1, 0.0, 0.3],
        "mask": [{"size": [2, 2], "counts": "04"}, None, None], "accept": [True, False, True],
        "reason": ["", "no mask", ""],
    }  # fmt: skip
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path


def test_labels_come_one_by_one(tmp_path):
    path = labels_file(tmp_path / "labels.parquet")
    first, last = deixis.iterate_labels(path)
    assert (first.sample_id, first.box, last.sample_id) == ("a", (0.0, 0.0, 2.0, 3.0), "c")
    np.testing.assert_array_equal(first.mask, np.ones((2, 2), bool))
    assert last.mask is None
    everything = list(deixis.iterate_labels(path, accepted_only=False))
    assert [label.reason for label in everything] == ["", "no mask", ""] and everything[1].box is None


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"missing. It is written by: dvc repro segment_boxes"):
        next(deixis.iterate_labels(tmp_path / "none.parquet"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"not a whole Parquet file"):
        next(deixis.iterate_labels(tmp_path / "cut.parquet"))
    pd.DataFrame({"image_id": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"lacks sample_id.*has image_id. Run: dvc repro segment_boxes"):
        next(deixis.iterate_labels(tmp_path / "other.parquet"))


def test_another_package_of_the_same_name_is_told_at_once(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    code = f"import sys; sys.path.append({str(ROOT)!r}); import deixis"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: deixis has a package 'models'") and str(tmp_path / "models") in message


def test_a_folder_of_that_name_without_a_package_is_not_in_the_way(tmp_path):
    (tmp_path / "models").mkdir()
    code = f"import sys; sys.path.append({str(ROOT)!r}); import deixis; print(deixis.load)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "Predictor" in done.stdout, done.stderr
