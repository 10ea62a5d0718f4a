"""Features of photographs: what suppression left of all scales, framed as the detector frames, stored and read."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from deixis.anchors import best_boxes, gather_cells, maps_to_cells
from deixis.batches.features import FeatureStore, stored_frames
from deixis.batches.samples import PairReader
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.imaging.colour_names import colour_shares
from deixis.imaging.images import ImageReader
from deixis.language.text import build_vocabulary
from deixis.types import SCALES
from models.detectors.yolox import YOLOX, YOLOXConfig
from models.frozen.detectors import load_detector
from stages.extract_features import extract_features
from stages.list_candidates import list_candidates

SIDE = 64
SIZES = [(80, 40), (30, 50), (64, 64)]
FRAMING = {"place": "top_left", "pad": 114, "resize": "bilinear"}
CPU = torch.device("cpu")


def settings(folder, **changes):
    extraction = {"batch_size": 2, "survivors": {"most": 7, "iou": 0.5, "looked_at": 40}, "framing": FRAMING} | changes
    given = {name: value for name, value in extraction.items() if value is not None}
    path = folder / "params.yaml"
    with path.open("w") as stream:
        params = {"detector": {"model": {"input_size": SIDE}}, "extraction": given, "candidates": {}}
        YAML(typ="safe").dump(params, stream)
    return path


def encode(folder, **changes):
    extract_features(
        encoder="detector", images=folder / "images.parquet", image_root=folder, weights=folder / "weights",
        out=folder / "features", params=settings(folder, **changes), device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three images, an untrained YOLOX, and its features."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    table = pd.DataFrame({"image_id": [0, 1, 2], "path": ["0.png", "1.png", "2.png"]})
    table = table.assign(width=[size[0] for size in SIZES], height=[size[1] for size in SIZES])
    table.to_parquet(folder / "images.parquet")
    config = YOLOXConfig(width=0.125, num_classes=3, input_size=SIDE)
    torch.manual_seed(0)
    save_checkpoint(YOLOX(config), folder / "weights", config={"kind": "yolox", "model": asdict(config)})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # stages keep their scratch there
        encode(folder)
    return folder


@pytest.fixture
def folder(root, monkeypatch):
    monkeypatch.chdir(root)
    return root


def reader(folder, image_ids, *, scales=SCALES, store=None):
    pairs = pd.DataFrame({"image_id": image_ids, "text": "dog"})
    stores = {"detector": store or FeatureStore(folder / "features")}
    return PairReader(pairs, stores=stores, vocabulary=build_vocabulary(["dog"]), length=4, device=CPU, scales=scales)


def test_what_is_stored_is_what_the_detector_says_of_framed_images(folder):
    table = pd.read_parquet(folder / "images.parquet")
    detector = load_detector(folder / "weights", CPU)
    images = ImageReader(table, root=folder, side=SIDE, framing=YOLOX.framing)
    squares = images.squares([0, 1, 2])
    everything = detector.detect(squares, scales=SCALES)
    batch = reader(folder, [2, 0, 2, 1]).batch([0, 1, 2, 3]).detections  # images 2, 0, 1
    assert batch.cells is not None and batch.colours is not None
    assert batch.boxes.shape == (3, 7, 1, 8) and batch.cells.shape == (3, 7) and batch.cells.dtype == torch.long
    order = [2, 0, 1]
    torch.testing.assert_close(batch.boxes, gather_cells(everything.boxes[order], batch.cells), atol=1e-3, rtol=1e-4)
    expected = colour_shares(squares[order], best_boxes(batch.boxes).corners)
    torch.testing.assert_close(batch.colours, expected, atol=1e-3, rtol=0)


def test_cells_are_counted_over_the_maps_of_all_scales(folder):
    found = reader(folder, [0, 1, 2]).batch([0, 1, 2]).detections
    assert found.cells is not None and [x.shape[-1] for x in found.maps] == [2, 4, 8]
    places = []
    for scale, x in zip(SCALES, found.maps, strict=True):  # where the centre of each cell lies
        side = x.shape[-1]
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        places.append((scale, (torch.stack([columns, rows])[None].float() + 0.5) * SIDE / side))
    centres = gather_cells(maps_to_cells(dict(places), SCALES).expand(3, -1, -1), found.cells)
    distance = (found.boxes[:, :, 0, :2] - centres).abs().amax(-1)
    stride = torch.tensor([32.0] * 4 + [16.0] * 16 + [8.0] * 64)[found.cells]
    assert (distance <= stride).all()


def test_the_store_says_how_its_images_lay_in_the_square(folder):
    meta = FeatureStore(folder / "features").meta
    assert meta["framing"] == FRAMING and meta["survivors"] == {"most": 7, "iou": 0.5, "looked_at": 40}
    frames = stored_frames(folder / "features", pd.read_parquet(folder / "images.parquet"))
    assert [frames[n].offset_xy for n in range(3)] == [(0, 0)] * 3
    assert [frames[n].resized_wh for n in range(3)] == [(64, 32), (38, 64), (64, 64)]


def test_candidates_are_all_that_is_left_in_stored_pixels_most_confident_first(folder):
    given = {"images": folder / "images.parquet", "features": folder / "features", "params": folder / "params.yaml"}
    list_candidates(**given, out=folder / "detections.parquet")
    table = pd.read_parquet(folder / "detections.parquet").set_index("image_id")
    found = reader(folder, [0, 1, 2]).batch([0, 1, 2]).detections.boxes
    frames = stored_frames(folder / "features", pd.read_parquet(folder / "images.parquet"))
    for image_id in range(3):
        order = found[image_id, :, 0, 4].argsort(descending=True, stable=True)
        expected = frames[image_id].boxes_to_image(best_boxes(found).corners[image_id, order])
        boxes = torch.from_numpy(np.array(table.loc[image_id, "boxes"], dtype=np.float32)).view(-1, 4)
        torch.testing.assert_close(boxes, expected, atol=1e-3, rtol=1e-4)
        kinds = found[image_id, order, 0, 5:].argmax(-1)
        assert table.loc[image_id, "categories"].tolist() == kinds.tolist()


@pytest.mark.parametrize("scales", [("coarse",), ("middle", "coarse", "fine"), ("fine", "middle")])
def test_teachers_of_other_cells_are_told_what_to_write(folder, scales):
    with pytest.raises(ConfigError, match=r"all scales.*scales: \[coarse, middle, fine\].*dvc repro"):
        reader(folder, [0], scales=scales).batch([0])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"framing": None}, id="centred"),
        pytest.param({"framing": FRAMING | {"pad": 127}}, id="other-grey"),
        pytest.param({"framing": FRAMING | {"resize": "antialiased"}}, id="smoothed"),
    ],
)
def test_a_square_that_is_not_the_detectors_is_refused(folder, changes):
    whole = r"extraction\.framing: \{place: top_left, pad: 114, resize: bilinear\}"
    with pytest.raises(ConfigError, match=rf"but not the detector's. Write .*input_size: 64 and {whole}.*dvc repro"):
        encode(folder, **changes)


def test_a_store_without_survivors_gives_cells_as_before(folder):
    cells = folder / "cells"
    extract_features(
        encoder="detector", images=folder / "images.parquet", image_root=folder, weights=folder / "weights",
        out=cells, params=settings(folder, survivors=None), device="cpu",
    )  # fmt: skip
    store = FeatureStore(cells)
    found = reader(folder, [0, 1], scales=("coarse",), store=store).batch([0, 1]).detections
    assert found.cells is None and found.colours is None and found.boxes.shape == (2, 4, 1, 8)
    with pytest.raises(DataError, match=r'holds no "boxes_middle".*extraction\.box_scales'):
        reader(folder, [0], store=store).batch([0])
