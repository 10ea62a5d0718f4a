"""Lists of evaluation images, and a detector that is trained without them."""

import pandas as pd
import pytest
from ruamel.yaml import YAML

from deixis.core.errors import DataError
from deixis.datasets.pretraining import PretrainingSet
from stages.make_pretraining import make_pretraining
from stages.pretrain_detector import leave_out, pretrain_detector
from stages.write_exclusions import write_exclusions


def write_pairs(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["image_id", "split"]).to_parquet(path)
    return path


def test_every_evaluation_image_is_listed_once_and_no_training_image(tmp_path):
    unc = write_pairs(tmp_path / "a.parquet", [(9, "val"), (9, "val"), (3, "testA"), (1, "train")])
    umd = write_pairs(tmp_path / "b.parquet", [(3, "train"), (9, "test"), (12, "test")])
    write_exclusions(pairs=[unc, umd], out=tmp_path / "lists" / "papers.parquet")
    assert pd.read_parquet(tmp_path / "lists" / "papers.parquet")["image_id"].tolist() == [3, 9, 12]
    assert (tmp_path / "lists" / "papers.txt").read_text() == "3\n9\n12\n"


def test_a_dataset_without_evaluation_images_is_refused(tmp_path):
    pairs = write_pairs(tmp_path / "a.parquet", [(1, "train")])
    with pytest.raises(DataError, match=r"a\.parquet: has no evaluation split"):
        write_exclusions(pairs=[pairs], out=tmp_path / "out.parquet")


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory):
    """Twelve drawn images and a tiny detector's parameters."""
    folder = tmp_path_factory.mktemp("pretraining")
    params = {
        "seed": 0,
        "pretraining": {"images": 12, "captions_per_image": 1},
        "detector": {
            "model": {
                "input_size": 128, "num_classes": 8, "luminance": True, "stem": 8, "widths": [8, 8, 16, 16],
                "blocks": [0, 0, 0, 0],
                "anchors": [[[20, 20], [28, 28], [38, 38]], [[10, 10], [14, 14], [20, 20]], [[4, 4], [6, 6], [8, 8]]],
            },
            "recipe": {
                "epochs": 1, "batch_size": 4, "lr": 1e-3, "min_lr": 1e-5, "warmup_epochs": 0.1, "clip_norm": 1.0,
            },
            "rigid_epochs": 1,
        },
    }  # fmt: skip
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(params, stream)
    make_pretraining(out=folder / "raw", params=folder / "params.yaml")
    return folder


def train(pretraining, out, monkeypatch, **options):
    monkeypatch.chdir(out.parent)  # for the scratch folder
    pretrain_detector(
        pretraining=pretraining / "raw", out=out, params=pretraining / "params.yaml", device="cpu", **options
    )
    return out


def test_the_detector_does_not_see_what_is_excluded(pretraining, tmp_path, monkeypatch, capsys):
    image_ids = PretrainingSet(pretraining / "raw", side=128).image_ids
    excluded = write_pairs(tmp_path / "list.parquet", [(image_ids[0], "val"), (image_ids[5], "val"), (10**9, "val")])
    out = train(
        pretraining, tmp_path / "detector", monkeypatch, exclude=(excluded,), images_from="coco_train2017"
    )  # fmt: skip
    assert "left out 2 of 12 images" in capsys.readouterr().out
    remaining = pd.read_parquet(out / "training_images.parquet")["image_id"].tolist()
    assert remaining == [image_id for image_id in image_ids if image_id not in (image_ids[0], image_ids[5])]
    assert '"images_from": "coco_train2017"' in (out / "config.json").read_text()


def test_images_and_boxes_stay_together(pretraining, tmp_path):
    whole, part = (PretrainingSet(pretraining / "raw", side=128) for _ in range(2))
    leave_out(part, (write_pairs(tmp_path / "list.parquet", [(whole.image_ids[0], "val")]),))
    assert (part.objects().boxes_xyxy[0] == whole.objects().boxes_xyxy[1, : part.objects().boxes_xyxy.shape[1]]).all()


def test_a_list_that_leaves_nothing_out_changes_no_byte(pretraining, tmp_path, monkeypatch):
    elsewhere = write_pairs(tmp_path / "list.parquet", [(10**9, "val")])
    plain = train(pretraining, tmp_path / "plain", monkeypatch)
    listed = train(pretraining, tmp_path / "listed", monkeypatch, exclude=(elsewhere,))
    for name in ("model.safetensors", "config.json", "training_images.parquet"):
        assert (plain / name).read_bytes() == (listed / name).read_bytes()
