"""Labels of new pairs: those of the stages, whole after any kill, with every bad row counted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import commands.label
from commands.chunks import ROWS_PER_CHUNK
from commands.label import label
from deixis.core.errors import ConfigError, DataError
from deixis.core.pieces import PIECE
from deixis.datasets.pairs.adapter import PairsAdapter
from deixis.datasets.pairs.settings import PairsConfig
from deixis.exports.reading import LabelReader
from tests.small_world import PHRASES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def long_set(world: Path, folder: Path) -> Path:
    """The small world's pairs so many times over that they fill several chunks, and their images."""
    pairs = pd.read_parquet(world / "data/prepared/toy/pairs.parquet")
    times = 3 * ROWS_PER_CHUNK // len(pairs)
    longer = pd.concat([pairs.assign(sample_id=pairs["sample_id"] + f"/{number}") for number in range(times)])
    folder.mkdir(parents=True)
    longer.sort_values("image_id", kind="stable").to_parquet(folder / "pairs.parquet", index=False)
    shutil.copy(world / "data/prepared/toy/images.parquet", folder)
    shutil.copytree(world / "data/raw/toy/images", folder / "images")
    return folder


@pytest.mark.parametrize("name", ["refclip", "dvin", "tris"])
def test_labels_are_those_of_the_stages(world, tmp_path, name):
    kind = "map_teachers" if name == "tris" else "teachers"
    label(pairs=world / "data/prepared/toy", out=tmp_path, model=world / f"data/{kind}/toy/{name}")
    expected = pd.read_parquet(world / f"data/labels/toy/{name}/labels.parquet")
    labels = pd.read_parquet(tmp_path / "labels.parquet")
    assert list(labels.columns) == list(expected.columns)
    assert labels["sample_id"].tolist() == expected["sample_id"].tolist()
    for column in ("box", "mask"):
        assert (labels[column].isna() == expected[column].isna()).all()
    there = expected["box"].notna()
    np.testing.assert_allclose(np.stack(labels["box"][there]), np.stack(expected["box"][there]), atol=1e-3)
    assert [m and m["counts"] for m in labels["mask"]] == [m and m["counts"] for m in expected["mask"]]
    for column in ("expression", "split", "accept", "reason", "checkpoint_sha256", "config_sha256", "schema_version"):
        assert labels[column].tolist() == expected[column].tolist()


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(world, tmp_path, monkeypatch):
    pairs, model = long_set(world, tmp_path / "pairs"), world / "data/teachers/toy/refclip"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = []
    plain = commands.label.label_chunk

    def counted(predictor, rows, source, **options):
        done.append(len(rows))
        return plain(predictor, rows, source, **options)

    monkeypatch.setattr(commands.label, "label_chunk", counted)
    label(pairs=pairs, out=whole, model=model)
    chunks = len(done)
    assert chunks >= 3
    process = subprocess.Popen(
        [sys.executable, "-m", "deixis", "label", "--pairs", pairs, "--out", killed, "--model", model],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list(killed.glob(".chunks-*/*.quarantine.parquet")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "summary.json").exists()
    done.clear()
    label(pairs=pairs, out=killed, model=model)
    assert len(done) < chunks  # what was finished was not done again
    assert bytes_of(killed) == bytes_of(whole)
    assert not list(killed.glob(".*"))
    done.clear()
    label(pairs=pairs, out=killed, model=model)
    assert not done
    (killed / "summary.json").unlink()  # killed after the labels were joined, before that was noted
    label(pairs=pairs, out=killed, model=model)
    assert bytes_of(killed) == bytes_of(whole)


def shares_of(count: int, monkeypatch, **arguments) -> None:
    """Label as a cluster does: what all shares need first, then the shares, then the rest."""
    for share in ("0/0", *(f"{number}/{count}" for number in range(count))):
        monkeypatch.setenv(PIECE, share)
        with pytest.raises(SystemExit) as end:
            label(**arguments)
        assert end.value.code == 0 and not (arguments["out"] / "labels.parquet").exists()
    monkeypatch.delenv(PIECE)
    label(**arguments)


def test_shares_make_the_labels_that_one_process_makes(world, tmp_path, monkeypatch):
    shutil.copytree(world / "data/raw/toy/images", tmp_path / "own/images")
    rows = [{"file_name": f"{number}.png", "Caption": phrase} for number in range(6) for phrase in PHRASES]
    (tmp_path / "own/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 20))
    given = {"pairs": tmp_path / "own/pairs.jsonl", "model": world / "data/teachers/toy/refclip"}
    label(**given, out=tmp_path / "whole")
    done, plain = [], commands.label.label_chunk

    def counted(predictor, rows, source, **options):
        done.append((os.environ.get(PIECE), int(rows.index[0])))
        return plain(predictor, rows, source, **options)

    monkeypatch.setattr(commands.label, "label_chunk", counted)
    shares_of(2, monkeypatch, **given, out=tmp_path / "shared")
    assert {share for share, _ in done} == {"0/2", "1/2"}
    assert len(done) == len({first for _, first in done}) > 2
    assert bytes_of(tmp_path / "shared") == bytes_of(tmp_path / "whole")


def test_a_share_without_its_preparation_says_how_to_prepare(world, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    (own / "pairs.csv").write_text("image,text\n", encoding="utf-8")
    monkeypatch.setenv(PIECE, "1/2")
    with pytest.raises(ConfigError, match=r"no pairs yet.*the same command with DEIXIS_PIECE=0/0"):
        label(pairs=own / "pairs.csv", out=tmp_path / "out", model=world / "data" / "teachers" / "toy" / "dvin")


def test_bad_rows_are_counted_and_no_sound_one_is_lost(world, tmp_path, capsys):
    folder = long_set(world, tmp_path / "pairs")
    pairs, images = pd.read_parquet(folder / "pairs.parquet"), pd.read_parquet(folder / "images.parquet")
    model = world / "data/teachers/toy/refclip"
    per_image = int((pairs["image_id"] == 0).sum())
    (folder / "images/1.png").write_bytes((folder / "images/1.png").read_bytes()[:200])
    (folder / "images/2.png").unlink()
    images.loc[images["image_id"] == 3, "path"] = "../../elsewhere.png"
    images.loc[images["image_id"] == 4, "width"] += 1
    images.to_parquet(folder / "images.parquet", index=False)
    pairs.loc[pairs.index[:2], "text"] = ["", None]
    pairs.loc[pairs["image_id"] == 5, "image_id"] = 99
    pairs.to_parquet(folder / "pairs.parquet", index=False)
    label(pairs=folder, out=tmp_path / "out", model=model)
    refused = pd.read_parquet(tmp_path / "out/quarantine.parquet")
    assert not refused["value"].str.contains("dvc repro").any()
    expected = {"E_TEXT_EMPTY": 2, "E_IMG_TRUNC": per_image, "E_IMG_PATH": per_image, "E_IMG_SIZE": per_image}
    expected["E_IMG_MISSING"] = 2 * per_image
    assert refused["code"].value_counts().to_dict() == expected
    assert set(refused[refused["code"] == "E_TEXT_EMPTY"]["line"]) == {0, 1}
    labels = pd.read_parquet(tmp_path / "out/labels.parquet")
    assert labels["sample_id"].tolist() == pairs[pairs["image_id"] == 0]["sample_id"].tolist()[2:]
    assert set(labels["sample_id"]).isdisjoint(pairs["sample_id"].iloc[refused["line"]])
    assert len(labels) + len(refused) == len(pairs)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{per_image - 2} labels" in last and f"{2 * per_image} E_IMG_MISSING" in last and "2 E_TEXT_EMPTY" in last
    assert json.loads((tmp_path / "out/summary.json").read_text())["refused"] == dict(sorted(expected.items()))


def test_images_beside_the_tables_count_as_inside(world, tmp_path):
    """Preparing writes turned and converted images there, and names them from the folder of the others."""
    folder = tmp_path / "prepared"
    shutil.copytree(world / "data/prepared/toy", folder)
    shutil.copytree(world / "data/raw/toy/images", folder / "images")
    (tmp_path / "raw").mkdir()
    images = pd.read_parquet(folder / "images.parquet")
    images["path"] = "../prepared/images/" + images["path"]
    images.to_parquet(folder / "images.parquet", index=False)
    label(pairs=folder, out=tmp_path / "out", model=world / "data/teachers/toy/refclip", images=tmp_path / "raw")
    assert json.loads((tmp_path / "out/summary.json").read_text())["refused"] == {}


def test_a_table_of_images_and_phrases_is_prepared_first(world, tmp_path):
    shutil.copytree(world / "data/raw/toy/images", tmp_path / "own/images")
    rows = [{"file_name": f"{number}.png", "Caption": phrase} for number in range(6) for phrase in PHRASES]
    rows += [{"file_name": "none.png", "Caption": "red ball"}, {"file_name": "0.png", "Caption": "?!"}]
    (tmp_path / "own/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    label(pairs=tmp_path / "own/pairs.jsonl", out=tmp_path / "out", model=world / "data/teachers/toy/refclip")
    labels = pd.read_parquet(tmp_path / "out/labels.parquet")
    expected = pd.read_parquet(world / "data/labels/toy/refclip/labels.parquet")
    assert labels["expression"].tolist() == expected["expression"].tolist()
    np.testing.assert_allclose(np.stack(labels["box"]), np.stack(expected["box"]), atol=1e-3)
    refused = json.loads((tmp_path / "out/summary.json").read_text())["refused"]
    assert refused == {"E_IMG_MISSING": 1, "E_TEXT_EMPTY": 1}


def test_where_no_pair_is_sound_the_reason_is_told(world, tmp_path):
    folder = long_set(world, tmp_path / "pairs")
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()
    with pytest.raises(DataError, match=r"no pair could be labelled \(\d+ E_IMG_MISSING\)"):
        label(pairs=folder, out=tmp_path / "out", model=world / "data/teachers/toy/refclip")
    assert len(pd.read_parquet(tmp_path / "out/quarantine.parquet")) > len(PHRASES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image,words\n0.png,red ball\n",
            "no column text. Found: image, words. Rename it; .*, then run: deixis label$",
        ),
        ("", "an empty file. Restore it, then run: deixis label$"),
        (
            "image,text\nb.png,red ball\n",
            r"no usable pair .*\(1 E_IMG_MISSING\); the first: pairs.csv row 1: .*deixis label$",
        ),
    ],
)
def test_a_table_that_cannot_be_read_names_the_remedy(world, tmp_path, content, message):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/pairs.csv").write_text(content)
    place = dict(pairs=tmp_path / "own/pairs.csv", out=tmp_path / "out", model=world / "data/teachers/toy/refclip")
    with pytest.raises(DataError, match=r"own/images: no such folder\. .*: ln -s IMAGES .*own/images$"):
        label(**place)
    shutil.copytree(world / "data/raw/toy/images", tmp_path / "own/images")
    with pytest.raises(DataError, match=message):
        label(**place)


def test_students_and_missing_pairs_are_refused(world, tmp_path):
    with pytest.raises(ConfigError, match=r"a student; labels are a teacher's"):
        label(pairs=world / "data/prepared/toy", out=tmp_path, model=world / "data/students/toy/dvin-simrec")
    with pytest.raises(DataError, match=r"no such file or folder. Allowed: .* Name it with --pairs"):
        label(pairs=tmp_path / "none", out=tmp_path, model=world / "data/teachers/toy/refclip")
    shutil.copytree(world / "data/prepared/toy", tmp_path / "alone")
    with pytest.raises(DataError, match=r"images was not found. Tried: .* Name it with --images"):
        label(pairs=tmp_path / "alone", out=tmp_path, model=world / "data/teachers/toy/refclip")


def own_corpus(world, folder: Path, rows: list[str]) -> Path:
    """Images of the small world, and a table of them."""
    shutil.copytree(world / "data/raw/toy/images", folder / "images")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_rules_of_evaluation_refuse_no_pair_that_is_only_labelled(world, tmp_path):
    """Boxes for scoring, a split for every row and one for each image: labelling needs none of them."""
    splits = ("train", "val", "test", "restval", "", "train/2014", "Test set")
    rows = [
        "image,text,split",
        *(f"{n % 5}.png,red ball,{split}" for n, split in enumerate(splits)),
        "0.png,big star,val",
    ]
    own_corpus(world, tmp_path / "own", rows)
    label(pairs=tmp_path / "own/pairs.csv", out=tmp_path / "out", model=world / "data/teachers/toy/refclip")
    labels = pd.read_parquet(tmp_path / "out/labels.parquet")
    assert sorted(labels["split"]) == ["Test_set", "restval", "test", "train", "train", "train_2014", "val", "val"]
    assert json.loads((tmp_path / "out/summary.json").read_text())["refused"] == {}


def test_a_corpus_whose_table_is_called_pairs_is_no_prepared_one(world, tmp_path):
    own_corpus(world, tmp_path / "own", ["image,text"])
    (tmp_path / "own/pairs.csv").unlink()
    table = pd.DataFrame({"image": ["0.png"], "text": ["red ball"]})
    table.to_parquet(tmp_path / "own/pairs.parquet")
    model = world / "data/teachers/toy/refclip"
    label(pairs=tmp_path / "own", out=tmp_path / "out", model=model)
    assert len(pd.read_parquet(tmp_path / "out/labels.parquet")) == 1
    shutil.copytree(world / "data/prepared/toy", tmp_path / "half")
    (tmp_path / "half/images.parquet").unlink()
    with pytest.raises(DataError, match=r"half: looks prepared, .* but lacks images.parquet"):
        label(pairs=tmp_path / "half", out=tmp_path / "out", model=model)


@pytest.mark.parametrize("linked", [False, True])
def test_images_that_preparing_left_elsewhere_are_found(world, tmp_path, linked):
    """A turned copy beside the tables, an image beside the folder of images, and the folder itself a link."""
    raw = own_corpus(world, tmp_path / "data/raw/own", ["image,text", *(f"{n}.png,red ball" for n in range(5))])
    (raw / "images/3.png").rename(raw / "3.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(raw / "images/4.png") as image:
        image.transpose(Image.Transpose.ROTATE_180).save(raw / "images/4.png", exif=exif)
    if linked:
        (raw / "images").rename(tmp_path / "elsewhere")
        (raw / "images").symlink_to(tmp_path / "elsewhere")
    model = world / "data/teachers/toy/refclip"
    label(pairs=raw / "pairs.csv", out=tmp_path / "own", model=model)
    PairsAdapter(PairsConfig()).ingest(raw=raw, out=tmp_path / "data/prepared/own", dataset="own")
    label(pairs=tmp_path / "data/prepared/own", out=tmp_path / "prepared", model=model)
    first, second = (pd.read_parquet(tmp_path / name / "labels.parquet") for name in ("own", "prepared"))
    assert len(first) == len(second) == 5
    np.testing.assert_allclose(np.stack(first["box"]), np.stack(second["box"]))
    images = tmp_path / "own/prepared/images.parquet"
    assert LabelReader(tmp_path / "own/labels.parquet", images).names_root == tmp_path
