"""CLIP's ResNet-50 at its real size: the published file loads, and its maps are those of timm."""

import pytest
import torch
from safetensors.torch import save_file

from deixis.core.errors import DataError
from models.backbones.clip_resnet import CLIPResNet, CLIPResNetConfig
from tests.models.published.factories import IMAGENET, close, imported, published_size, squares, standard
from tests.models.published.layouts import clip_resnet_50, clip_text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """OpenCLIP's file of OpenAI's names; of the text a part."""
    torch.manual_seed(0)
    folder, tensors = tmp_path_factory.mktemp("clip-rn50"), clip_resnet_50()
    save_file(tensors | {"logit_scale": torch.tensor(4.6), "ln_final.weight": torch.ones(512)}, folder / NAME)
    return folder / NAME, tensors


NAME = "open_clip_model.safetensors"


def test_size_of_the_resnet_50_of_clip(published):
    pooling = sum(t.numel() for name, t in published[1].items() if ".attnpool." in name)
    assert published_size(CLIPResNet) + pooling == 38_316_896
    text = sum(tensor.numel() for tensor in clip_text().values())
    assert published_size(CLIPResNet) + pooling + text == 102_007_137  # all of CLIP


@torch.no_grad()
def test_maps_are_those_of_timm(published):
    from timm.models.byobnet import checkpoint_filter_fn, resnet50_clip

    path, tensors = published
    reference = resnet50_clip(num_classes=1024).eval()
    reference.load_state_dict(checkpoint_filter_fn(tensors, reference), strict=True)
    images = squares(320, batch=2)
    expected = reference.forward_intermediates(standard(images, *IMAGENET), intermediates_only=True)[-3:]
    maps = imported(CLIPResNet, path)(images.float() / 255)
    assert [tuple(x.shape) for x in maps] == [(2, 512, 40, 40), (2, 1024, 20, 20), (2, 2048, 10, 10)]
    for ours, theirs in zip(maps, expected, strict=True):
        close(ours, theirs)


def test_sizes_are_read_from_the_file_and_every_wrong_name_is_listed(published, tmp_path):
    path, tensors = published
    assert CLIPResNet.read_published(path)[0] == CLIPResNetConfig()
    assert CLIPResNetConfig().widths == (256, 512, 1024, 2048)
    changed = {name: tensor for name, tensor in tensors.items() if name != "visual.layer4.2.bn3.bias"}
    save_file(changed | {"visual.layer4.2.extra": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError) as refused:
        CLIPResNet.read_published(tmp_path / "other.safetensors")
    for line in ("1 missing: layer4.2.bn3.bias", "1 unexpected: layer4.2.extra"):
        assert line in str(refused.value)
