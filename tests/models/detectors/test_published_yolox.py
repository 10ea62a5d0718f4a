"""Published YOLOX files: both layouts of all sizes are read, and what is none of them is refused with a remedy."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from ruamel.yaml import YAML

from deixis.core.errors import DataError
from deixis.weights.cards import find_card
from deixis.weights.locate import pin
from models.detectors.yolox import YOLOX, YOLOXConfig
from stages.import_weights import import_weights
from tests.models.detectors.yolox_release import SIZES, Release, hollow_state, random_release

pytestmark = pytest.mark.slow

SEEN = {"nano": 416, "tiny": 416, "s": 640, "m": 640, "l": 640, "x": 640}  # pixels, as published


def write(path: Path, tensors: object) -> Path:
    torch.save({"start_epoch": 300, "model": tensors, "optimizer": {"state": {}}}, path)
    return path


def export(network: Release, path: Path) -> Path:
    """As the authors do: torch's exporter, which folds norms."""
    with pytest.warns(DeprecationWarning, match="legacy TorchScript"):
        torch.onnx.export(network, (torch.zeros(1, 3, 32, 32),), path, dynamo=False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same seeded networks as .pth and as .onnx; files there stay as they are."""
    folder = tmp_path_factory.mktemp("published")
    for size in ("nano", "tiny"):
        network = random_release(size, classes=3)
        write(folder / f"{size}.pth", network.state_dict())
        export(network, folder / f"{size}.onnx")
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_read_off_a_checkpoint(size, tmp_path):
    config, state = YOLOX.read_published(write(tmp_path / "a.pth", hollow_state(size)))
    assert config == YOLOXConfig(*SIZES[size], num_classes=80, input_size=SEEN[size])
    with torch.device("meta"):
        YOLOX(config).load_state_dict(state, strict=True)


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_an_export_holds_what_its_checkpoint_holds(folder, size):
    config, state = YOLOX.read_published(folder / f"{size}.pth", input_size=320)
    exported_config, exported = YOLOX.read_published(folder / f"{size}.onnx", input_size=320)
    assert exported_config == config and (config.num_classes, config.input_size) == (3, 320)
    assert exported.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(exported[name], tensor, atol=1e-6, rtol=1e-5)


def without(name: str):
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def changed(name: str, shape: tuple[int, ...]):
    return lambda state: state | {name: torch.ones(shape, device="meta")}


BIAS = "head.cls_preds.0.bias"
STEM = "backbone.backbone.stem.conv"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(without("head.obj_preds.1.weight"), r"1 missing: head\.obj_preds\.1\.weight", id="missing"),
        pytest.param(without(f"{STEM}.bn.running_var"), r"norm at \S+stem\.conv\. .*running_var.*Fetch", id="norm"),
        pytest.param(changed(f"{STEM}.bn.weight", (7,)), r"norm at \S+stem\.conv\..*Fetch", id="norm-length"),
        pytest.param(changed(f"{STEM}.conv.weight", ()), r"1 of another shape: \S+stem", id="no-axes"),
        pytest.param(changed("head.reg_preds.0.weight", (5, 64, 1, 1)), r"1 of another shape.*reg_preds", id="shape"),
        pytest.param(changed("backbone.more.weight", (3,)), r"1 unexpected: backbone\.more", id="more"),
        pytest.param(changed(BIAS, (4,)), r"of another shape.*cls_preds", id="classes-that-differ"),
        pytest.param(changed(BIAS, ()), r"no class outputs.*Fetch", id="classes-without-an-axis"),
        pytest.param(lambda _: hollow_state("nano", 80) | hollow_state("tiny"), r"width 0\.375.*unexp", id="two-sizes"),
        pytest.param(lambda state: {f"ema.{key}": x for key, x in state.items()}, r"no class outputs", id="prefix"),
        pytest.param(lambda _: {"conv.weight": torch.ones(1)}, r"no class outputs.*Fetch", id="foreign"),
        pytest.param(without(f"{STEM}.conv.weight"), r"norm at .*Fetch", id="no-stem"),
        pytest.param(lambda _: {BIAS: torch.ones(80)}, r"has 0 channels.*Allowed: 16 \(nano\).*Fetch", id="unnamed"),
        pytest.param(lambda _: [torch.ones(3)], r"Allowed: names of tensors only.*state_dict", id="a-list"),
        pytest.param(lambda _: {}, r"Allowed: names of tensors", id="empty"),
    ],
)
def test_a_checkpoint_of_another_layout_is_refused(edit, message, tmp_path):
    path = write(tmp_path / "a.pth", edit(hollow_state("nano")))
    with pytest.raises(DataError, match=rf"(?s)a\.pth: .*{message}"):
        YOLOX.read_published(path)


@pytest.mark.parametrize("name", ["nano.pth", "nano.onnx"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder, name, share, tmp_path):
    whole = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=rf"{name}: .*([Ff]etch|Unzip it)"):
        YOLOX.read_published(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pth", "a.onnx"])
def test_a_file_that_is_none_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=f"{name}: no such file. Put the published weights there"):
        YOLOX.read_published(tmp_path / name)
    (tmp_path / name).write_text("<html>404</html>")
    with pytest.raises(DataError, match=rf"{name}: .*[Ff]etch"):
        YOLOX.read_published(tmp_path / name)


def graph(path: Path, shapes: list[tuple[int, ...]], *, biases: bool = True, outside: bool = False) -> Path:
    """Convolutions of the given shapes, one after the other."""
    nodes, values = [], []
    for number, shape in enumerate(shapes):
        names = [f"weight{number}", f"bias{number}"] if biases else [f"weight{number}"]
        nodes.append(helper.make_node("Conv", [f"x{number}", *names], [f"x{number + 1}"]))
        for name, size in zip(names, (shape, shape[:1]), strict=False):
            values.append(onnx.numpy_helper.from_array(np.zeros(size, np.float32), name))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x0", f"x{len(shapes)}")]
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:], values))
    onnx.save(model, path, save_as_external_data=outside, size_threshold=0)
    return path


@pytest.mark.parametrize(
    ("shapes", "settings", "message"),
    [
        pytest.param([], {}, "no convolutions that each have a weight and a bias", id="nothing"),
        pytest.param([(16, 12, 3, 3)], {"biases": False}, "a weight and a bias.*whose norms are folded", id="unfolded"),
        pytest.param([(16, 12, 3)], {}, "no convolutions", id="of-one-axis"),
        pytest.param([(17, 3, 3, 3)], {}, r"17 channels. Allowed: 16 \(nano\), 24 \(tiny\)", id="foreign"),
        pytest.param([(16, 12, 3, 3)], {}, "has no class outputs", id="cut"),
        pytest.param([(16, 12, 3, 3)] * 9, {}, r"9 convolutions, expected .*number 2 is \[16, 12, 3, 3\]", id="others"),
        pytest.param([(16, 12, 3, 3)] * 9, {"outside": True}, "not a whole ONNX file with its weights", id="outside"),
    ],
)
def test_another_graph_is_refused(shapes, settings, message, tmp_path):
    path = graph(tmp_path / "a.onnx", shapes, **settings)
    with pytest.raises(DataError, match=rf"a\.onnx: .*{message}.*[Ff]etch"):
        YOLOX.read_published(path)


def test_a_graph_with_one_convolution_too_many_is_refused(folder, tmp_path):
    model = onnx.load(folder / "nano.onnx")
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Conv")
    model.graph.node.append(last)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(DataError, match=r"a\.onnx: 114 convolutions, expected 113 .*Fetch"):
        YOLOX.read_published(tmp_path / "a.onnx")


def test_a_bias_of_another_length_is_refused(folder, tmp_path):
    model = onnx.load(folder / "nano.onnx")
    bias = next(node for node in model.graph.node if node.op_type == "Conv").input[2]
    place = next(value for value in model.graph.initializer if value.name == bias)
    place.CopyFrom(onnx.numpy_helper.from_array(np.zeros(5, np.float32), bias))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(DataError, match=r"a\.onnx: .*Fetch"):
        YOLOX.read_published(tmp_path / "a.onnx")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The folder of published weights; beside it settings that import what a card names as the detector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEIXIS_WEIGHTS", str(tmp_path / "published"))
    (tmp_path / "published").mkdir()
    return tmp_path / "published"


def importing(card: str, file: str) -> None:
    with Path("params.yaml").open("w") as stream:
        YAML(typ="safe").dump({"imports": {"detector": {"card": card, "file": file}}}, stream)
    import_weights(name="detector", out=Path("detector"))


def test_a_model_of_other_classes_under_the_same_name_is_refused(folder, published):
    (published / "yolox_tiny.pth").write_bytes((folder / "tiny.pth").read_bytes())
    pin(find_card("yolox-tiny"), published)
    with pytest.raises(DataError, match=r"has 3 classes, and its card yolox-tiny names 80.*weights fetch yolox-tiny"):
        importing("yolox-tiny", "yolox_tiny.pth")
    assert not Path("detector").exists()


def test_the_card_of_nano_refuses_what_is_not_its_file(folder, published):
    (published / "yolox_nano.onnx").write_bytes((folder / "nano.onnx").read_bytes())
    with suppress(DataError):  # a checksum is published, and nobody's word stands against it
        pin(find_card("yolox-nano"), published)
    with pytest.raises(DataError, match=r"yolox_nano\.onnx.*e8af0749"):
        importing("yolox-nano", "yolox_nano.onnx")
