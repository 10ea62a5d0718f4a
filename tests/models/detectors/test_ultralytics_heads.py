"""ultralytics models as our detector. Checkpoints are written by ultralytics itself."""

import importlib.util
import os
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.imaging.masks import decode_mask
from deixis.weights.cards import find_card
from deixis.weights.locate import pin
from models.detectors.ultralytics_heads import (
    UltralyticsConfig,
    UltralyticsHeads,
    UltralyticsMasks,
)
from models.frozen.detectors import load_detector
from stages.draw_candidates import draw_candidates
from stages.extract_features import extract_features
from stages.import_weights import import_weights
from stages.list_candidates import list_candidates

INSTALLED = importlib.util.find_spec("ultralytics") is not None
needs_ultralytics = pytest.mark.skipif(not INSTALLED, reason="needs the extra: uv sync --extra ultralytics")
if INSTALLED:
    os.environ |= {"YOLO_OFFLINE": "true", "ULTRALYTICS_SAFE_LOAD": "true"}


def write_checkpoint(name, path, seed=0):
    """What `YOLO.save` writes: the whole module in half precision, and facts about it."""
    from ultralytics import YOLO

    torch.manual_seed(seed)
    model = YOLO(f"{name}.yaml")
    for module in model.model.modules():  # statistics that matter, and scores that differ between cells
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for head in model.model.model[-1].cv3:
        head[-1].bias.data.uniform_(-2, 1)
        head[-1].weight.data.mul_(20)
    if hasattr(model.model.model[-1], "proto"):  # and prototypes that differ between places
        last = model.model.eval().model[-1].proto.cv3.bn.train()
        last.momentum = 1.0
        with torch.no_grad():
            model.model(squares() / 255)
    model.save(path)
    return model.model.half().float().eval()


def squares(side=96, count=2):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@needs_ultralytics
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n-seg", "yolov10n", "yolo26n-seg", "yolov8n-p2"])
@torch.no_grad()
def test_answers_what_ultralytics_answers(name, tmp_path):
    theirs = write_checkpoint(name, tmp_path / "model.pt")
    config, tensors = UltralyticsHeads.read_published(tmp_path / "model.pt")
    detector = UltralyticsHeads(config).eval()
    detector.load_state_dict(tensors, strict=True)
    detections = detector.detect(squares())
    assert [tuple(scale.shape[1:]) for scale in detections.maps] == [
        (channels, 96 // stride, 96 // stride) for channels, stride in zip(config.channels, config.strides, strict=True)
    ]
    assert detections.boxes.shape == (2, 9, 1, 85)

    entered = {}
    head = theirs.model[-1]
    head.register_forward_pre_hook(lambda module, inputs: entered.update(maps=list(inputs[0])))
    head.end2end = False
    answer = theirs(squares() / 255)[0]
    answer = answer[0] if isinstance(answer, tuple) else answer
    last = answer[:, :84, -9:].transpose(1, 2)  # the coarse scale is the last one, and ends the row of cells
    for ours, expected in zip(detections.maps, entered["maps"][::-1], strict=False):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(detections.boxes[:, :, 0, :4], last[..., :4], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(detections.boxes[:, :, 0, 5:], last[..., 4:], atol=1e-4, rtol=1e-4)
    finer = detector.detect(squares(), scales=("middle", "coarse")).boxes
    middle = answer[:, :84, -9 - 36 : -9].transpose(1, 2)
    torch.testing.assert_close(finer[:, :36, 0, :4], middle[..., :4], atol=1e-4, rtol=1e-4)
    assert torch.equal(finer[:, 36:], detections.boxes)
    assert detections.boxes[..., 4].std() > 1e-3
    assert torch.equal(detections.boxes[..., 4], detections.boxes[..., 5:].amax(-1))
    alone = detector.detect(squares()[1:])
    torch.testing.assert_close(alone.boxes, detections.boxes[1:], atol=1e-3, rtol=1e-4)


@needs_ultralytics
def test_cells_are_row_major(tmp_path):
    write_checkpoint("yolov8n", tmp_path / "model.pt")
    config, tensors = UltralyticsHeads.read_published(tmp_path / "model.pt")
    detector = UltralyticsHeads(config).eval()
    for name in tensors:
        if ".cv2." in name and name.endswith((".2.weight", ".2.bias")):  # all distances alike: boxes around the middles
            tensors[name].zero_()
    detector.load_state_dict(tensors)
    middles = detector.detect(squares(side=128)).boxes[0, :, 0, :2]
    assert middles[1 * 4 + 2].tolist() == pytest.approx([2.5 * 32, 1.5 * 32])


@needs_ultralytics
def test_a_weights_folder_says_that_it_is_one(tmp_path):
    write_checkpoint("yolov8n", tmp_path / "model.pt")
    config, tensors = UltralyticsHeads.read_published(tmp_path / "model.pt", input_size=416)
    detector = UltralyticsHeads(config).eval()
    detector.load_state_dict(tensors)
    save_checkpoint(detector, tmp_path / "detector", config={"kind": "ultralytics_heads", "model": asdict(config)})
    loaded = load_detector(tmp_path / "detector", torch.device("cpu"))
    assert loaded.config == config
    assert loaded.config.input_size == 416
    with torch.no_grad():
        assert torch.equal(loaded.detect(squares()).boxes, detector.detect(squares()).boxes)


@needs_ultralytics
@torch.no_grad()
def test_masks_of_a_segmentation_model_from_stored_maps(tmp_path):
    theirs = write_checkpoint("yolov8n-seg", tmp_path / "model.pt")
    config, tensors = UltralyticsMasks.read_published(tmp_path / "model.pt")
    masks = UltralyticsMasks(config).eval()
    masks.load_state_dict(tensors, strict=True)
    entered = {}
    theirs.model[-1].register_forward_pre_hook(lambda module, inputs: entered.update(maps=list(inputs[0])))
    (answer, prototypes), _ = theirs(squares() / 255)
    ours, coefficients = masks(entered["maps"][2], entered["maps"][0])
    torch.testing.assert_close(ours, prototypes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(coefficients[:, :, 0], answer[:, 84:, -9:].transpose(1, 2), atol=1e-4, rtol=1e-4)


@needs_ultralytics
@torch.no_grad()
def test_an_imported_mask_head_draws_the_candidates_as_ultralytics_does(tmp_path, monkeypatch):
    from ultralytics.utils.ops import process_mask_native, xywh2xyxy

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path / "published"))
    (tmp_path / "published").mkdir()
    theirs = write_checkpoint("yolo11n-seg", tmp_path / "published/yolo11n-seg.pt")
    pin(find_card("yolo11n-seg"), tmp_path / "published")
    entry = {"card": "yolo11n-seg", "file": "yolo11n-seg.pt", "settings": {"input_size": 96}}
    params = {
        "imports": {"detector": entry, "prototype_masks": entry | {"role": "mask_head"}},
        "detector": {"model": {"input_size": 96}}, "extraction": {"batch_size": 2},
        "candidates": {"keep_fraction": 1.0},
    }  # fmt: skip
    YAML(typ="safe", pure=True).dump(params, tmp_path / "params.yaml")
    for name in params["imports"]:
        import_weights(name=name, out=tmp_path / name)
    for number, square in enumerate(squares()):
        Image.fromarray(square.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    images = {"images": tmp_path / "images.parquet"}
    table = {"image_id": [0, 1], "path": ["0.png", "1.png"], "width": 96, "height": 96}
    pd.DataFrame(table).to_parquet(images["images"])
    extract_features(
        encoder="detector", **images, image_root=tmp_path, weights=tmp_path / "detector", out=tmp_path / "features",
        device="cpu",
    )  # fmt: skip
    given = {"features": tmp_path / "features", **images}
    list_candidates(**given, out=tmp_path / "detections.parquet")
    draw_candidates(
        **given, candidates=tmp_path / "detections.parquet", head=tmp_path / "prototype_masks",
        out=tmp_path / "masks.parquet", device="cpu",
    )  # fmt: skip

    (answer, prototypes), _ = theirs(squares() / 255)
    listed = pd.read_parquet(tmp_path / "detections.parquet").set_index("image_id")["boxes"]
    for image_id, drawn in pd.read_parquet(tmp_path / "masks.parquet").itertuples(index=False):
        cells = answer[image_id].T
        corners = torch.from_numpy(np.array(listed[image_id])).view(-1, 4).float()
        nearest = torch.cdist(corners, xywh2xyxy(cells[:, :4])).argmin(1)
        expected = process_mask_native(prototypes[image_id], cells[nearest, 84:], corners, (96, 96)).bool().numpy()
        masks = np.stack([decode_mask(mask) for mask in drawn])
        assert masks.shape == expected.shape and masks.any() and not masks.all()
        assert (masks == expected).mean() > 0.99


@needs_ultralytics
@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("yolov8n-cls", "ends in Classify", id="classifier"),
        pytest.param("yolov8n-obb", "ends in OBB", id="turned boxes"),
        pytest.param("yolov3-tiny", r"strides \[16, 32\]", id="two scales"),
    ],
)
def test_other_models_are_refused(name, message, tmp_path):
    from ultralytics import YOLO

    YOLO(f"{name}.yaml").save(tmp_path / "model.pt")
    with pytest.raises(DataError, match=message):
        UltralyticsHeads.read_published(tmp_path / "model.pt")


@needs_ultralytics
def test_masks_of_a_detection_model_are_refused(tmp_path):
    write_checkpoint("yolov8n", tmp_path / "model.pt")
    with pytest.raises(ConfigError, match=r"ends in Detect\. Allowed for masks: Segment"):
        UltralyticsMasks.read_published(tmp_path / "model.pt")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@needs_ultralytics
def test_a_foreign_class_is_not_executed(tmp_path):
    torch.save({"model": Trap(tmp_path / "sprung")}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match=r"nothing in it is executed .* python -c"):
        UltralyticsHeads.read_published(tmp_path / "bad.pt")
    assert not (tmp_path / "sprung").exists()


@needs_ultralytics
def test_text_of_a_description_is_not_evaluated(tmp_path):
    write_checkpoint("yolov8n", tmp_path / "model.pt")
    config, _ = UltralyticsHeads.read_published(tmp_path / "model.pt")
    text = f"open({str(tmp_path / 'sprung')!r}, 'w') and torch.nn.SiLU()"
    bad = UltralyticsConfig(config.architecture | {"activation": text}, config.channels, config.num_classes)
    with pytest.raises(DataError, match="not what ultralytics builds"):
        UltralyticsHeads(bad)
    assert not (tmp_path / "sprung").exists()


@needs_ultralytics
@pytest.mark.parametrize(
    ("module", "settings", "reason"),
    [
        pytest.param("nn.Module", [], "forward", id="a part that cannot run"),  # ultralytics runs what it has built
        pytest.param("nn.Upsample", [None, 2, "sideways"], "sideways", id="a value that a part refuses"),
        pytest.param("nn.Upsample", [None, 2, "nearest", 1, 2, 3, 4], "arguments", id="too many values"),
        pytest.param("NoSuchPart", [], "NoSuchPart", id="an unknown part"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused(module, settings, reason, tmp_path):
    write_checkpoint("yolov8n", tmp_path / "model.pt")
    config, _ = UltralyticsHeads.read_published(tmp_path / "model.pt")
    head = [[at, n, module, settings] if part == "nn.Upsample" else [at, n, part, args]
            for at, n, part, args in config.architecture["head"]]  # fmt: skip
    bad = UltralyticsConfig(config.architecture | {"head": head}, config.channels, config.num_classes)
    with pytest.raises(DataError, match=rf"not what ultralytics builds .*{reason}"):
        UltralyticsHeads(bad)


@needs_ultralytics
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("absent.pt", None, "missing", id="no file"),
        pytest.param("model.onnx", b"onnx", "ends in .pt", id="another format"),
        pytest.param("model.pt", b"<html>", "not read", id="a web page"),
    ],
)
def test_no_checkpoint(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        UltralyticsHeads.read_published(tmp_path / name)


@pytest.mark.skipif(INSTALLED, reason="ultralytics is installed")
def test_without_the_extra_the_command_is_named(tmp_path):
    with pytest.raises(ConfigError, match="uv sync --extra ultralytics"):
        UltralyticsHeads.read_published(tmp_path / "yolov8n.pt")
