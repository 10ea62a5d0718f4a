"""mmdet models as our detector, against mmdet's own prediction. Checkpoints are made in mmdet's own layout."""

import importlib.util
import json
from dataclasses import asdict

import pytest
import torch

from deixis.boxes import cxcywh_to_xyxy
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from models.detectors.mmdet_heads import MMDetConfig, MMDetHeads
from models.frozen.detectors import load_detector

INSTALLED = importlib.util.find_spec("mmdet") is not None
pytestmark = pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::UserWarning", "ignore::FutureWarning")
needs_mmdet = pytest.mark.skipif(not INSTALLED, reason="needs the extra: uv sync --extra mmdet")
YOLOV3 = "yolo/yolov3_d53_8xb8-ms-416-273e_coco.py"
YOLOV3_FILE = "yolov3_d53_mstrain-416_273e_coco-2b60fcd9.pth"  # as the model index names it
OTHERS = {  # config -> whether the score has an objectness or centre-ness in it
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": False,
    "yolox/yolox_tiny_8xb8-300e_coco.py": True,
    "retinanet/retinanet_r18_fpn_1x_coco.py": False,
    "atss/atss_r50_fpn_1x_coco.py": True,
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py": True,
}


def theirs(name, seed=0):
    """An mmdet network with random weights under which cells differ."""
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.hub import get_config

    register_all_modules()
    torch.manual_seed(seed)
    config = get_config(f"mmdet::{name}")
    network = MODELS.build(config.model)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():  # statistics of real signals, so that they neither die nor explode
        network.train().bbox_head(network.extract_feat(network_input(network, squares(side=160))))
    for parameter in network.bbox_head.parameters():
        if parameter.dim() == 1:
            parameter.data.uniform_(-0.5, 0.5)
    return network.eval(), config


def network_input(network, images):
    """What mmdet's own preprocessor makes of images, which it expects as BGR."""
    return network.data_preprocessor({"inputs": list(images.flip(1)), "data_samples": None})["inputs"].float()


def write(network, config, path, *, described=True):
    torch.save({"meta": {"epoch": 3, "CLASSES": ("person", "bicycle")}, "state_dict": network.state_dict()}, path)
    if described:
        config.dump(path.with_suffix(".json"))


def squares(count=2, side=96):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def predicted(network, images):
    """mmdet's own scored boxes of every place of every scale of each image, before suppression."""
    from mmengine.config import ConfigDict

    meta = {"img_shape": None, "scale_factor": (1.0, 1.0)}  # no box is cut
    cfg = ConfigDict(score_thr=-1.0, nms_pre=-1, min_bbox_size=-1, conf_thr=-1.0)
    raw = network.bbox_head(network.extract_feat(network_input(network, images)))
    return network.bbox_head.predict_by_feat(
        *raw, batch_img_metas=[meta] * len(images), cfg=cfg, rescale=False, with_nms=False
    )


def has_row(detections, box, score):
    return bool(((detections.bboxes - box).abs().amax(-1) < 2e-2 + 1e-4 * box.abs().amax()).logical_and(
        (detections.scores - score).abs() < 1e-4).any())  # fmt: skip


@needs_mmdet
@torch.no_grad()
def test_yolov3_by_the_name_of_its_published_file(tmp_path):
    network, config = theirs(YOLOV3)
    write(network, config, tmp_path / YOLOV3_FILE, described=False)
    facts, tensors = MMDetHeads.read_published(tmp_path / YOLOV3_FILE)
    assert (facts.channels, facts.num_classes, facts.input_size) == ((1024, 512, 256), 80, 416)
    detector = MMDetHeads(facts).eval()
    detector.load_state_dict(tensors, strict=True)
    assert sum(parameter.numel() for parameter in detector.parameters()) == 61_949_149  # YOLOv3 with 80 classes
    detections = detector.detect(squares())
    assert [tuple(scale.shape[1:]) for scale in detections.maps] == [(1024, 3, 3), (512, 6, 6), (256, 12, 12)]
    assert detections.boxes.shape == (2, 9, 3, 85)
    finer = detector.detect(squares(), scales=("middle", "coarse")).boxes
    assert torch.equal(finer[:, 36:], detections.boxes)
    raw = network.bbox_head(network.extract_feat(squares() / 255))[0][1].view(2, 3, 85, 36)
    torch.testing.assert_close(finer[:, :36, :, 5:], raw[:, :, 5:].sigmoid().permute(0, 3, 1, 2), atol=1e-5, rtol=1e-4)

    raw = network.bbox_head(network.extract_feat(squares() / 255))[0][0].view(2, 3, 85, 3, 3).permute(0, 3, 4, 1, 2)
    anchors = torch.tensor([[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]])
    row, column = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
    corner = torch.stack([column, row], -1)[:, :, None]
    expected = torch.cat([(raw[..., :2].sigmoid() + corner) * 32, raw[..., 2:4].exp() * anchors], -1).flatten(1, 2)
    torch.testing.assert_close(detections.boxes[..., :4], expected, atol=1e-3, rtol=1e-4)
    classes, objectness = raw[..., 5:].sigmoid().flatten(1, 2), raw[..., 4].sigmoid().flatten(1, 2)
    torch.testing.assert_close(detections.boxes[..., 5:], classes, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(detections.boxes[..., 4], objectness * classes.amax(-1), atol=1e-5, rtol=1e-4)
    assert detections.boxes[..., 4].std() > 1e-4


@needs_mmdet
@pytest.mark.parametrize("name", OTHERS)
@torch.no_grad()
def test_other_heads_say_what_mmdet_predicts(name, tmp_path):
    network, config = theirs(name)
    write(network, config, tmp_path / "mine.pth")
    facts, tensors = MMDetHeads.read_published(tmp_path / "mine.pth")
    detector = MMDetHeads(facts).eval()
    detector.load_state_dict(tensors, strict=True)
    detections = detector.detect(squares())
    assert [tuple(scale.shape[1:]) for scale in detections.maps] == [
        (channels, 96 // stride, 96 // stride) for channels, stride in zip(facts.channels, facts.strides, strict=True)
    ]
    assert detections.boxes.shape[:2] == (2, 9)
    highest = detections.boxes[..., 5:].amax(-1)
    assert torch.allclose(detections.boxes[..., 4], highest) is not OTHERS[name]
    for image, answer in enumerate(predicted(network, squares())):
        for row in detections.boxes[image].flatten(0, 1):
            assert has_row(answer, cxcywh_to_xyxy(row[:4]), row[4])


@needs_mmdet
def test_a_weights_folder_says_that_it_is_one(tmp_path):
    network, config = theirs("yolox/yolox_tiny_8xb8-300e_coco.py")
    write(network, config, tmp_path / "mine.pth")
    facts, tensors = MMDetHeads.read_published(tmp_path / "mine.pth", input_size=96)
    detector = MMDetHeads(facts).eval()
    detector.load_state_dict(tensors)
    save_checkpoint(detector, tmp_path / "detector", config={"kind": "mmdet_heads", "model": asdict(facts)})
    loaded = load_detector(tmp_path / "detector", torch.device("cpu"))
    assert loaded.config == facts
    with torch.no_grad():
        assert torch.equal(loaded.detect(squares()).boxes, detector.detect(squares()).boxes)


@needs_mmdet
def test_a_file_without_a_description_names_the_command(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "mine.pth")
    with pytest.raises(DataError, match=r"mine\.json is not beside it.*from mmengine import Config"):
        MMDetHeads.read_published(tmp_path / "mine.pth")


@needs_mmdet
@pytest.mark.parametrize("place", ["type", "backbone"])
def test_a_description_cannot_call_what_is_not_mmdets(place, tmp_path):
    call = {"type": "builtins.open", "file": str(tmp_path / "sprung"), "mode": "w"}
    model = call if place == "type" else {"type": "YOLOV3", "backbone": call}
    (tmp_path / "mine.json").write_text(json.dumps({"model": model}))
    torch.save({"state_dict": {}}, tmp_path / "mine.pth")
    with pytest.raises(DataError, match=r'of type "builtins\.open"\. Allowed: plain names'):
        MMDetHeads.read_published(tmp_path / "mine.pth")
    with pytest.raises(DataError, match="without dots"):
        MMDetHeads(MMDetConfig(model, (1, 1, 1), 1))
    assert not (tmp_path / "sprung").exists()


@needs_mmdet
def test_a_two_stage_model_is_refused(tmp_path):
    from mmengine.hub import get_config

    get_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py").dump(tmp_path / "mine.json")
    torch.save({"state_dict": {}}, tmp_path / "mine.pth")
    with pytest.raises(DataError, match=r"FasterRCNN has no bbox_head.*Allowed: YOLOV3Head"):
        MMDetHeads.read_published(tmp_path / "mine.pth")


@needs_mmdet
def test_other_weights_are_reported(tmp_path):
    network, config = theirs("retinanet/retinanet_r18_fpn_1x_coco.py")
    state = network.state_dict()
    state["bbox_head.retina_cls.bias"] = state.pop("bbox_head.retina_cls.bias")[:-9]
    state["fc.weight"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "mine.pth")
    config.dump(tmp_path / "mine.json")
    with pytest.raises(
        DataError, match=r"(?s)1 unexpected: network\.fc\.weight.*1 of another shape: .*retina_cls\.bias"
    ):
        MMDetHeads.read_published(tmp_path / "mine.pth")


@needs_mmdet
def test_a_training_checkpoint_is_not_executed(tmp_path):
    from mmengine.logging import HistoryBuffer

    network, config = theirs("retinanet/retinanet_r18_fpn_1x_coco.py")
    config.dump(tmp_path / "mine.json")
    torch.save({"state_dict": network.state_dict(), "message_hub": {"loss": HistoryBuffer()}}, tmp_path / "mine.pth")
    with pytest.raises(DataError, match=r"would execute it .*publish_model\.py"):
        MMDetHeads.read_published(tmp_path / "mine.pth")


@pytest.mark.skipif(INSTALLED, reason="mmdet is installed")
def test_without_the_extra_the_command_is_named(tmp_path):
    with pytest.raises(ConfigError, match="uv sync --extra mmdet"):
        MMDetHeads.read_published(tmp_path / "mine.pth")
