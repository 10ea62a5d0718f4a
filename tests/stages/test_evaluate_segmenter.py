"""The segmenter is asked once per object; phrases that name none count one by one."""

import numpy as np
import pandas as pd
import pytest

from deixis.core.records import read_json
from deixis.imaging.masks import encode_mask
from stages.evaluate_segmenter import evaluate_segmenter


@pytest.mark.parametrize(("refs", "expected"), [([7, 7, 8], 2), ([None, None, None], 3), ([7, None, 7], 2)])
def test_phrases_of_one_object_count_once(world, tmp_path, refs, expected):
    prepared = world / "data/prepared/toy"
    pairs = pd.read_parquet(prepared / "pairs.parquet").query("split == 'val'").head(3)
    pairs.assign(ref_id=pd.array(refs, dtype="Int64")).to_parquet(tmp_path / "pairs.parquet")
    images = pd.read_parquet(prepared / "images.parquet")
    height, width = images.set_index("image_id").loc[pairs["image_id"].iloc[0], ["height", "width"]]
    mask = np.zeros((height, width), dtype=bool)
    mask[10:30, 20:40] = True
    truth = {"sample_id": pairs["sample_id"], "box": [[20.0, 10.0, 40.0, 30.0]] * 3, "mask": [encode_mask(mask)] * 3}
    pd.DataFrame(truth).to_parquet(tmp_path / "truth.parquet")
    evaluate_segmenter(
        segmenter=world / "data/weights/embedded/segmenter", pairs=tmp_path / "pairs.parquet",
        truth=tmp_path / "truth.parquet", images=prepared / "images.parquet",
        image_root=world / "data/raw/toy/images", out=tmp_path / "metrics.json",
        headlines_out=tmp_path / "headlines.json",
    )  # fmt: skip
    assert read_json(tmp_path / "metrics.json", made_by="evaluate_segmenter")["val"]["n"] == expected
    assert read_json(tmp_path / "headlines.json", made_by="evaluate_segmenter").keys() == {"n", "miou"}
