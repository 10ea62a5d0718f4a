"""Mask proposals on their grid: what becomes of thin ones."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image

from deixis.batches.features import FeatureStore
from deixis.batches.samples import unpack_bits
from stages import propose_masks

SIDE = 64


def test_masks_too_thin_for_the_grid_and_images_without_any_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = {"image_id": [1, 2, 3], "path": ["1.png", "2.png", "3.png"], "width": SIDE, "height": SIDE}
    for shade, name in enumerate(images["path"]):
        Image.new("L", (SIDE, SIDE), shade).save(tmp_path / name)
    pd.DataFrame(images).to_parquet("images.parquet")
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "params.yaml").write_text(
        f"proposals: {{min_area: 10, most: 4, grid: 8}}\ndetector: {{model: {{input_size: {SIDE}}}}}\n"
    )
    wide, thin = np.zeros((2, SIDE, SIDE), bool)
    wide[8:40, 16:32] = thin[:, 60:63] = True  # a cell of the grid has 8 pixels
    none = np.zeros((0, SIDE, SIDE), bool)
    segmenter = SimpleNamespace(propose=lambda pixels, **limits: none if pixels.any() else np.stack([thin, wide]))
    monkeypatch.setattr(propose_masks, "load_segmenter", lambda *_: segmenter)
    propose_masks.propose_masks(
        images=tmp_path / "images.parquet", image_root=tmp_path, segmenter=tmp_path, out=tmp_path / "out", device="cpu"
    )
    messages = capsys.readouterr().err
    assert "1 of 2 masks too thin for a grid of 8" in messages and "2 of 3 images without a proposal" in messages
    stored = unpack_bits(FeatureStore(tmp_path / "out").read("masks", [1]))[0].numpy()
    expected = np.zeros((4, 8, 8), bool)
    expected[0, 1:5, 2:4] = True
    assert (stored == expected).all()
