"""What `prepare` writes is DVC's: a dataset that was deleted comes back whole from the cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from deixis.core.fingerprint import Code, CodeList
from deixis.core.records import write_json
from deixis.imaging.decoding import open_image
from tests.deixis.datasets.pairs.corpora import image, turned
from tests.dvc_folder import init_dvc

ROOT = Path(__file__).parents[2]


def dvc(*words: str, cwd: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_deleted_dataset_comes_back_with_its_turned_images(tmp_path):
    yaml = YAML(typ="safe", pure=True)
    stage = yaml.load((ROOT / "dvc.yaml").read_text())["stages"]["prepare"]
    stage["params"] = [name for name in stage["params"] if isinstance(name, str)]  # the code lies elsewhere here
    yaml.dump({"stages": {"prepare": stage}}, tmp_path / "dvc.yaml")
    yaml.dump({"run": {"datasets": ["mine"]}, "datasets": {"mine": {"adapter": "pairs"}}}, tmp_path / "params.yaml")
    raw, prepared = tmp_path / "data/raw/mine", tmp_path / "data/prepared/mine"
    image(raw / "images/turned.jpg", 0, exif=turned(6))
    (raw / "pairs.jsonl").write_text(json.dumps({"image": "turned.jpg", "text": "red ball"}))
    write_json(CodeList.of(Code()).nested(), tmp_path / "data/code.json")
    init_dvc(tmp_path)
    dvc("repro", "-q", cwd=tmp_path)
    before = contents(prepared)
    assert "manifest.json" in before and any(name.startswith("images/") for name in before)

    shutil.rmtree(tmp_path / "data/prepared")
    dvc("checkout", "-q", cwd=tmp_path)
    assert contents(prepared) == before
    (path,) = pd.read_parquet(prepared / "images.parquet")["path"]
    assert open_image(raw / "images" / path).size == (20, 30)
