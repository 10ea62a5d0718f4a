"""What a user can get wrong ends in one message: what was found, where, what is allowed, what fixes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.batches.features import FeatureStore, extract
from deixis.core.checkpoints import load_checkpoint, load_state, save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_json, read_table, write_table
from deixis.core.registry import resolve
from deixis.core.runtime import pick_device
from deixis.imaging.decoding import open_image
from deixis.imaging.images import ImageReader
from deixis.training.fit import Recipe
from models.teachers import TEACHERS
from models.teachers.refclip import RefCLIPConfig
from stages.prepare import prepare
from stages.train_teacher import train_teacher
from tests.factories import read_refer, refclip, refer_folder, write_refer

ROOT = Path(__file__).parents[1]


def params_file(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "section", "kind", "match"),
    [
        pytest.param("a: {epohs: 3}", "a", Recipe, r'a has no setting "epohs" \(3\)\. Known: epochs', id="unknown key"),
        pytest.param("a: {lr: fast}", "a", Recipe, r"a\.lr is 'fast'.*number.*dvc repro", id="wrong kind"),
        pytest.param("a: {lr: fast, epochs: x}", "a", Recipe, r"a\.epochs is 'x'.*a\.lr is 'fast'", id="all at once"),
        pytest.param("a: {compat: old}", "a", RefCLIPConfig, r"a\.compat is 'old'.*'fixed'", id="not a choice"),
        pytest.param("a: {text: {lenght: 3}}", "a", RefCLIPConfig, r'a\.text has no setting "lenght"', id="nested key"),
        pytest.param("b: 1", "a", Recipe, r'the top level has no "a"\. Known: b', id="absent section"),
        pytest.param("a: {b: 1}", "a.c", Recipe, r'a has no "c"\. Known: b', id="absent subsection"),
        pytest.param("a: [", "a", Recipe, r"not valid YAML", id="broken YAML"),
        pytest.param("- 1", "a", Recipe, r"found list, expected sections", id="not sections"),
    ],
)  # fmt: skip
def test_params(tmp_path, text, section, kind, match):
    with pytest.raises(ConfigError, match=match):
        read_section(params_file(tmp_path, text), section, kind)


@pytest.mark.parametrize(("content", "match"), [(None, "Is a directory"), (b"seed: \xff", "not UTF-8")])
def test_params_that_cannot_be_read(tmp_path, content, match):
    path = tmp_path / "params.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"params.yaml: cannot be read: {match}. Pass --params FILE"):
        read_section(path, "seed", int)


def test_folders_in_the_place_of_files(tmp_path):
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_json(tmp_path, made_by="prepare")
    with pytest.raises(DataError, match=r"a folder\. Name a Parquet file that prepare wrote"):
        read_table(tmp_path, columns=("sample_id",), made_by="prepare")


def test_params_file_absent(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file\. Run from the root of the checkout"):
        read_section(tmp_path / "params.yaml", "a", Recipe)


def test_unknown_name_lists_the_known():
    known = ", ".join(sorted(TEACHERS))
    with pytest.raises(ConfigError, match=rf'there is no teacher "divn"\. Known: {known}\.'):
        resolve(TEACHERS, "divn", role="teacher")


def test_unknown_device(monkeypatch):
    monkeypatch.setenv("DEIXIS_DEVICE", "gpu")
    with pytest.raises(ConfigError, match=r'device is "gpu"\. Allowed: auto, cpu, cuda'):
        pick_device("auto")
    monkeypatch.setenv("DEIXIS_DEVICE", "")
    assert pick_device("auto") in (torch.device("cpu"), torch.device("cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_cuda_without_a_gpu():
    with pytest.raises(ConfigError, match=r"torch sees no GPU.*Pass --device cpu"):
        pick_device("cuda")


def test_missing_image(tmp_path):
    with pytest.raises(DataError, match=r"no such image\. Restore it"):
        open_image(tmp_path / "absent.jpg")


def test_truncated_image(tmp_path):
    path = refer_folder(tmp_path / "raw") / "images" / "000000.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut short or damaged.*Restore it"):
        open_image(path)


def test_image_of_another_size_than_stated(tmp_path):
    folder = refer_folder(tmp_path / "raw") / "images"
    table = pd.DataFrame({"image_id": [0], "path": ["000000.jpg"], "width": [10], "height": [48]})
    with pytest.raises(DataError, match=r"64 x 48 pixels, but images\.parquet says 10 x 48"):
        ImageReader(table, root=folder, side=32).squares([0])


PREPARE_PARAMS = "datasets: {corpus: {adapter: refer, split_by: unc, max_quarantined: 0.0}}"


def test_bad_rows_above_the_limit(tmp_path):
    raw = refer_folder(tmp_path / "raw")
    (raw / "images" / "000001.jpg").unlink()
    with pytest.raises(
        DataError, match=r"corpus: 1 of 9 rows are bad \(1 E_IMG_MISSING\).*max_quarantined.*prepare@corpus"
    ):
        prepare(dataset="corpus", raw=raw, out=tmp_path / "out", params=params_file(tmp_path, PREPARE_PARAMS))
    assert (tmp_path / "out" / "quarantine.parquet").exists()


def test_phrases_that_are_empty_after_cleaning(tmp_path):
    raw = refer_folder(tmp_path / "raw")
    instances, refs = read_refer(raw)
    refs[0]["sentences"][0]["raw"] = " ?! "
    write_refer(raw, instances, refs)
    with pytest.raises(DataError, match=r"E_TEXT_EMPTY.*dvc repro prepare@corpus"):
        prepare(dataset="corpus", raw=raw, out=tmp_path / "out", params=params_file(tmp_path, PREPARE_PARAMS))


def test_dataset_without_an_entry(tmp_path):
    with pytest.raises(ConfigError, match=r'datasets has no "refcoco"\. Known: corpus'):
        prepare(dataset="refcoco", raw=tmp_path, out=tmp_path, params=params_file(tmp_path, PREPARE_PARAMS))


def test_unknown_setting_of_a_dataset(tmp_path):
    params = params_file(tmp_path, PREPARE_PARAMS.replace("refer,", "refer, colour: red,"))
    with pytest.raises(ConfigError, match=r'datasets\.corpus has no setting "colour".*Known: adapter, max_quarantined'):
        prepare(dataset="corpus", raw=tmp_path, out=tmp_path, params=params)


@pytest.mark.parametrize(
    "settings", ["pairs, max_quarantined: -1", "pairs, long_text: -3", "refer, max_quarantined: 2"]
)
def test_a_setting_of_a_dataset_out_of_bounds(tmp_path, settings):
    params = params_file(tmp_path, f"datasets: {{corpus: {{adapter: {settings}}}}}")
    with pytest.raises(ConfigError, match=rf"datasets\.corpus\.{settings.split()[1][:-1]} is -?\d"):
        prepare(dataset="corpus", raw=tmp_path, out=tmp_path, params=params)


def test_dataset_that_no_adapter_knows(tmp_path):
    params = params_file(tmp_path, PREPARE_PARAMS.replace("refer,", "webdataset,"))
    with pytest.raises(ConfigError, match=r'no dataset adapter "webdataset"\. Known: .*refer'):
        prepare(dataset="corpus", raw=tmp_path, out=tmp_path, params=params)


def test_shard_cut_short(tmp_path):
    store = tmp_path / "store"
    encode = lambda ids: {"map": np.ones((len(ids), 4, 2, 2), np.float16)}  # noqa: E731
    extract([1, 2, 3], encode, scratch=tmp_path / "scratch", out=store, meta={}, batch_size=2)
    shard = store / "shard-00000.map.npy"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"shard-00000\.map\.npy: not a whole array.*dvc repro -f extract_features"):
        FeatureStore(store)


def test_checkpoint_of_another_architecture(tmp_path):
    save_checkpoint(refclip(), tmp_path, config={})
    with pytest.raises(
        DataError, match=r"another architecture than RefCLIP.*of another shape.*dvc repro -f train_teacher"
    ):
        load_checkpoint(refclip(fused_width=32), tmp_path, made_by="train_teacher")


def test_checkpoint_whose_card_states_no_checksum(tmp_path):
    """As a card written by hand: nobody can tell whether its weights are whole."""
    save_checkpoint(refclip(), tmp_path, config={})
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"states no sha256.*dvc repro -f train_teacher; .*sha256sum .*model.saf"):
        load_checkpoint(refclip(), tmp_path, made_by="train_teacher")


def test_checkpoint_cut_short(tmp_path):
    save_checkpoint(refclip(), tmp_path, config={})
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        load_state(path)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        pytest.param(Path.unlink, r"missing\. It is written by prepare; run: dvc repro prepare", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:40]), "not a whole Parquet file", id="cut short"),
        pytest.param(lambda path: write_table(pd.DataFrame({"b": [1]}), path), "lacks a; has b", id="column missing"),
    ],
)  # fmt: skip
def test_tables(tmp_path, damage, match):
    path = tmp_path / "pairs.parquet"
    write_table(pd.DataFrame({"a": [1]}), path)
    damage(path)
    with pytest.raises(DataError, match=match):
        read_table(path, columns=("a",), made_by="prepare")


def test_fewer_pairs_than_one_batch(tmp_path):
    columns = ("sample_id", "image_id", "expression", "text", "split")
    write_table(pd.DataFrame([("a", 1, "x", "x", "train")], columns=columns), tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match=r"1 training pairs, fewer than one batch of \d+"):
        train_teacher(
            teacher="refclip", pairs=tmp_path / "pairs.parquet", features=tmp_path, out=tmp_path, curves=tmp_path / "c",
            params=ROOT / "params.yaml",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "code", "match"),
    [
        pytest.param("nowhere", 2, 'error: params.yaml: datasets has no "nowhere"', id="configuration"),
        pytest.param("scenes", 65, "error: x/instances.json: no such file", id="data"),
    ],
)  # fmt: skip
def test_exit_codes(dataset, code, match):
    command = [sys.executable, "-m", "stages.prepare", "--dataset", dataset, "--raw", "x", "--out", "y"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert match in done.stderr
    assert "Traceback" not in done.stderr
