"""Rated labels: the answers at another size, agreement and stability per row, and which labels are accepted."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from answering.live_store import LiveStore, detector_arrays
from deixis.batches.features import open_stores
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.run_lists import RunParams
from deixis.imaging.images import ImageReader
from deixis.imaging.letterbox import Letterbox
from deixis.labelling.label_columns import LABEL_COLUMNS
from deixis.labelling.matching import Matcher
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.frozen.detectors import load_detector
from models.loading.teachers import load_teacher
from stages.extract_features import extract_features
from stages.label_again import label_again
from stages.rate_labels import rate_labels
from tests.factories import VOCABULARY, refclip

ROOT = Path(__file__).parents[2]
HERE, THERE = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]
TINY = YOLOv3Config(input_size=64, num_classes=3, stem=4, widths=(4, 4, 4, 8, 16), blocks=(1, 1, 1, 1, 1))
SIZES = {7: (64, 48), 8: (40, 80)}


@pytest.fixture
def folder(tmp_path):
    """Ten labels of dvin; refclip agrees with the first five of them, the last five are stable."""
    table = pd.DataFrame({column: ["x"] * 10 for column in LABEL_COLUMNS})
    table = table.assign(
        sample_id=range(10), image_id=range(10), split=["train"] * 8 + ["val"] * 2, box=[HERE] * 10,
        runner_up=[THERE] * 10, margin=np.arange(10.0), accept=True, reason="", score=1.0, mask=None, mask_quality=1.0,
    )  # fmt: skip
    table.to_parquet(tmp_path / "labels.parquet")
    answers = {"dvin": [THERE] * 5 + [HERE] * 5, "refclip": [HERE] * 10}
    for teacher, again in answers.items():
        boxes = [HERE] * 10 if teacher == "dvin" else [HERE] * 5 + [THERE] * 5
        rows = pd.DataFrame({"sample_id": range(10), "box": boxes, "box_again": again})
        (tmp_path / "again").mkdir(exist_ok=True)
        rows.iloc[::-1].to_parquet(tmp_path / "again" / f"{teacher}.parquet")  # in another order
    (tmp_path / "card.json").write_text('{"teacher": "dvin"}')
    write_params(tmp_path, teachers="[refclip, dvin]")
    return tmp_path


def write_params(folder, *, teachers: str, coverage: float = 0.5) -> None:
    (folder / "params.yaml").write_text(f"run: {{teachers: {teachers}}}\nratings: {{coverage: {coverage}}}\n")


def rated(folder) -> pd.DataFrame:
    rate_labels(
        teacher="dvin", labels=folder / "labels.parquet", again=folder / "again", card=folder / "card.json",
        out=folder / "out.parquet",
        params=folder / "params.yaml",
    )  # fmt: skip
    return pd.read_parquet(folder / "out.parquet")


def test_each_row_is_compared_with_its_own_phrase_elsewhere(folder):
    table = rated(folder)
    assert table["sample_id"].tolist() == list(range(10))
    assert table["agreement"].tolist() == [1.0] * 5 + [0.0] * 5
    assert table["stability"].tolist() == [0.0] * 5 + [1.0] * 5
    assert table["confidence"].between(0, 1).all()


def test_the_most_confident_share_of_the_training_labels_is_accepted(folder):
    table = rated(folder)
    train = table[table["split"] == "train"]
    assert train["accept"].sum() == 4 and set(train.loc[~train["accept"], "reason"]) == {"confidence"}
    accepted, refused = train[train["accept"]], train[~train["accept"]]
    assert min(zip(accepted["confidence"], accepted["margin"], strict=True)) > max(
        zip(refused["confidence"], refused["margin"], strict=True)
    )
    assert table.loc[table["split"] == "val", "accept"].all()


def test_what_was_refused_stays_refused_for_its_reason(folder):
    table = pd.read_parquet(folder / "labels.parquet")
    table.assign(accept=False, reason="size").to_parquet(folder / "labels.parquet")
    write_params(folder, teachers="[refclip, dvin]", coverage=1.0)
    assert set(rated(folder)["reason"]) == {"size"}


def test_a_single_teacher_is_refused_with_what_to_add(folder):
    write_params(folder, teachers="[dvin]")
    with pytest.raises(ConfigError, match=r"run.teachers is \[dvin\]; .* Add one, as run.teachers: \[refclip, dvin\]"):
        rated(folder)


def test_a_label_without_an_answer_is_refused(folder):
    path = folder / "again/refclip.parquet"
    pd.read_parquet(path).query("sample_id != 3").to_parquet(path)
    with pytest.raises(DataError, match=r"has no row 3, as 1 of the 10 labels.* dvc repro -f label_again"):
        rated(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"refclip.parquet: missing. It is written by label_again"):
        rated(folder)


@pytest.fixture
def world(tmp_path):
    """Two images, four phrases, a detector, its stored features and a teacher, all small and untrained."""
    generator = np.random.default_rng(0)
    for image_id, (width, height) in SIZES.items():
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            tmp_path / f"{image_id}.png"
        )
    images = pd.DataFrame({"image_id": list(SIZES), "path": [f"{i}.png" for i in SIZES]})
    images[["width", "height"]] = list(SIZES.values())
    images.to_parquet(tmp_path / "images.parquet")
    texts = ["red ball", "left star", "big red star", "ball"]
    pairs = pd.DataFrame({"sample_id": range(4), "image_id": [7, 7, 8, 8], "expression": texts, "text": texts})
    pairs.assign(split="train", ref_id=range(4)).to_parquet(tmp_path / "pairs.parquet")
    torch.manual_seed(0)
    save_checkpoint(YOLOv3(TINY), tmp_path / "weights/detector", config={"model": asdict(TINY)})
    (tmp_path / "params.yaml").write_text(
        "detector: {model: {input_size: 64}}\nextraction: {batch_size: 2}\nlabels: {}\nratings: {zoom: 0.5}\n"
    )
    extract_features(
        encoder="detector", images=tmp_path / "images.parquet", image_root=tmp_path,
        weights=tmp_path / "weights/detector", out=tmp_path / "features/detector", params=tmp_path / "params.yaml",
        device="cpu",
    )  # fmt: skip
    teacher = refclip(detector_channels=(16, 8, 4)).eval()
    config = {"teacher": "refclip", "model": asdict(teacher.config), "vocabulary": VOCABULARY}
    save_checkpoint(teacher, tmp_path / "teacher", config=config)
    return tmp_path


def test_images_put_to_the_detector_match_as_its_stored_features_do(world):
    device = torch.device("cpu")
    teacher = load_teacher(world / "teacher", device)
    images = ImageReader(pd.read_parquet(world / "images.parquet"), root=world, side=64)
    letterboxes = {image_id: Letterbox(*size, 64) for image_id, size in SIZES.items()}
    live = {"detector": LiveStore(detector_arrays(load_detector(world / "weights/detector", device)), images, device)}
    table = pd.read_parquet(world / "pairs.parquet")
    stored, live = (
        Matcher(teacher, stores, letterboxes, 3, device).weigh(table)
        for stores in (open_stores(world / "features", ("detector",)), live)
    )
    torch.testing.assert_close(live.boxes, stored.boxes)
    torch.testing.assert_close(live.scores, stored.scores)


def test_every_pair_is_answered_again_at_the_other_size(world, monkeypatch):
    monkeypatch.chdir(world)
    first = pd.DataFrame({"sample_id": range(4), "box": [HERE] * 4})
    first.to_parquet("labels.parquet")

    def again(zoom: float) -> pd.DataFrame:
        Path("params.yaml").write_text(f"labels: {{}}\nratings: {{zoom: {zoom}}}\n")
        label_again(
            pairs=Path("pairs.parquet"), images=Path("images.parquet"), image_root=Path(), weights=Path("weights"),
            teacher=Path("teacher"), labels=Path("labels.parquet"), out=Path("again.parquet"), device="cpu",
        )  # fmt: skip
        return pd.read_parquet("again.parquet")

    answers = again(0.5)
    assert answers["sample_id"].tolist() == list(range(4)) and answers["box"].map(list).tolist() == [HERE] * 4
    half, most = np.stack(answers["box_again"]), np.stack(again(0.9)["box_again"])
    assert half.shape == (4, 4) and not np.allclose(half, most)
    with pytest.raises(ConfigError, match=r"ratings.zoom is 1.5: Input should be less than 1"):
        again(1.5)


def test_the_report_lists_them_beside_the_teachers_and_times_none_twice():
    run = replace(
        read_section(ROOT / "params.yaml", "run", RunParams),
        teachers=("refclip", "dvin"), map_teachers=(), students=("simrec",), student_teachers=("dvin-rated",),
        rated=("dvin",), relabelled=("dvin-rated",), reference_datasets=(),
    )  # fmt: skip
    assert run.predictors("scenes_plus") == ["refclip", "dvin", "dvin-rated", "dvin-rated-simrec"]
    assert run.timed("scenes_plus") == ["refclip", "dvin", "dvin-rated-simrec"]
    assert run.written_again() == ["dvin-rated"]
