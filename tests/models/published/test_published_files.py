"""Reading published files: tensors only, whatever a file would like to run."""

import json
import pickle
import zipfile
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.core.published import read_tensors
from models.experts.efficient_sam_vit import EfficientSAMViT, EfficientSAMViTConfig
from models.frozen.experts import load_expert
from models.frozen.segmenters import load_segmenter
from models.segmenters.efficient_sam import EfficientSAM, EfficientSAMConfig
from tests.models.published.factories import randomise, squares

TINY = EfficientSAMViTConfig(width=64, depth=1, heads=1)
CPU = torch.device("cpu")


class Opens:
    """A pickle that would write a file if it were executed."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_half_precision_becomes_single_and_a_key_is_unwrapped(tmp_path):
    torch.save({"model": {"a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}}, tmp_path / "a.pt")
    tensors = read_tensors(tmp_path / "a.pt")
    assert (tensors["a"].dtype, tensors["n"].dtype) == (torch.float32, torch.int64)
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert set(read_tensors(tmp_path)) == {"a"}


def test_a_pickle_is_not_executed(tmp_path):
    for write in (
        lambda path: torch.save({"a": Opens(tmp_path / "written")}, path),
        lambda path: path.write_bytes(pickle.dumps(Opens(tmp_path / "written"), protocol=2)),
    ):
        write(tmp_path / "bad.pt")
        with pytest.raises(DataError, match="not a file of plain tensors"):
            read_tensors(tmp_path / "bad.pt")
    assert not (tmp_path / "written").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_is_refused_with_what_to_take_instead(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "ViT-B-32.pt")
    with pytest.raises(DataError, match=r"TorchScript archive, which is code.*openai/clip-vit-base-patch32"):
        read_tensors(tmp_path / "ViT-B-32.pt")


def test_a_zipped_release_is_refused_with_the_remedy(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt.zip", "w") as archive:
        archive.write(tmp_path / "a.pt", "a.pt")
    with pytest.raises(DataError, match="Unzip it"):
        read_tensors(tmp_path / "a.pt.zip")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "holds no weights. Allowed: model.safetensors"),
        (lambda path: torch.save([torch.ones(1)], path), "holds a list. Allowed: a state_dict"),
        (lambda path: torch.save({"epoch": 3, "a": torch.ones(1)}, path), "epoch is a int"),
        (lambda path: path.write_bytes(b""), "not a whole weight file"),
    ],
    ids=["missing", "empty folder", "list", "other values", "empty file"],
)
def test_what_holds_no_tensors_is_refused(tmp_path, write, message):
    write(tmp_path / "weights.pt")
    with pytest.raises(DataError, match=message):
        read_tensors(tmp_path / "weights.pt")


def test_a_torn_safetensors_file_is_refused(tmp_path):
    save_file({"a": torch.ones(100)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-7])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        read_tensors(tmp_path)


def test_the_kind_in_a_folders_card_decides_the_class(tmp_path):
    expert = randomise(EfficientSAMViT(TINY)).eval()
    save_checkpoint(expert, tmp_path / "sam", config={"kind": "efficient_sam_vit", "model": asdict(TINY)})
    loaded = load_expert("segmentation_vit", tmp_path / "sam", CPU)
    torch.testing.assert_close(loaded.encode(squares(64)), expert.encode(squares(64)))
    config = EfficientSAMConfig(input_size=64, encoder=TINY)
    segmenter = randomise(EfficientSAM(config))
    save_checkpoint(segmenter, tmp_path / "segmenter", config={"kind": "efficient_sam", "model": asdict(config)})
    assert isinstance(load_segmenter(tmp_path / "segmenter", CPU), EfficientSAM)
    card = json.loads((tmp_path / "sam" / "config.json").read_text()) | {"kind": "no_such"}
    (tmp_path / "sam" / "config.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=r'no expert "no_such"\. Known: clip_convnext'):
        load_expert("segmentation_vit", tmp_path / "sam", CPU)
