"""A folder of weights says which detector it holds."""

from dataclasses import asdict

import pytest
import torch

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError
from deixis.core.registry import resolve
from models.detectors import DETECTORS
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.frozen.detectors import load_detector

TINY = YOLOv3Config(input_size=64, num_classes=3, stem=4, widths=(4, 4, 8, 8, 16), blocks=(1, 1, 1, 1, 1))


@pytest.mark.parametrize("kind", [pytest.param({}, id="unsaid"), pytest.param({"kind": "yolov3"}, id="named")])
def test_our_own(kind, tmp_path):
    model = YOLOv3(TINY)
    save_checkpoint(model, tmp_path, config=kind | {"model": asdict(TINY)})
    loaded = load_detector(tmp_path, torch.device("cpu"))
    assert loaded.config == TINY
    squares = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(loaded.detect(squares).boxes, model.eval().detect(squares).boxes)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_an_unknown_kind_is_refused(tmp_path):
    save_checkpoint(YOLOv3(TINY), tmp_path, config={"kind": "yolov99", "model": asdict(TINY)})
    with pytest.raises(ConfigError, match=r'no detector "yolov99"\. Known: mmdet_heads, ultralytics_heads, yolov3'):
        load_detector(tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("name", DETECTORS)
def test_each_detector_is_built_from_a_configuration_and_read_from_published_weights(name):
    kind = resolve(DETECTORS, name, role="detector")
    assert callable(kind.detect)
    assert callable(kind.read_published)
    assert {"input_size", "num_classes"} <= kind.Config.__dataclass_fields__.keys()
    assert isinstance(kind.Config.strides, property)
