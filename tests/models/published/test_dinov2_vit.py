"""DINOv2-B/14 at its real size: published files load, and say what transformers says."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from models.experts.dinov2_vit import DINOv2ViT
from tests.models.published.factories import IMAGENET, close, imported, published_size, randomise, squares, standard

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """transformers' DINOv2-B/14, and its file in the names of the published one."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    reference = randomise(Dinov2Model(Dinov2Config(image_size=518))).eval()
    save_file(published_dinov2(reference.state_dict()), folder / "model.safetensors")
    return reference, folder


def published_dinov2(theirs):
    """facebook/dinov2-base's names; the library gives its attention shorter ones in memory."""
    tensors = {}
    for name, tensor in theirs.items():
        for short in ("query", "key", "value"):
            name = name.replace(f".attention.{short[0]}_proj.", f".attention.attention.{short}.")
        tensors[name.replace(".attention.o_proj.", ".attention.output.dense.")] = tensor
    return tensors


def test_size_of_dinov2_base(dinov2):
    reference, _ = dinov2
    assert sum(p.numel() for p in reference.parameters()) == 86_580_480  # the published file
    table, mask_token = (37**2 - 26**2) * 768, 768
    assert published_size(DINOv2ViT) == 86_580_480 - table - mask_token


@torch.no_grad()
def test_dinov2_says_what_transformers_says(dinov2):
    reference, folder = dinov2
    images = squares(416)
    inputs = F.interpolate(standard(images, *IMAGENET), size=(364, 364), mode="bilinear", align_corners=False)
    expected = reference(inputs).last_hidden_state[:, 1:]
    close(imported(DINOv2ViT, folder).encode(images), expected.transpose(1, 2).unflatten(2, (26, 26)))


def layer_of(name):
    return int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else 0


def test_dinov2_reads_the_official_names(dinov2, tmp_path):
    reference, _ = dinov2
    theirs = published_dinov2(reference.state_dict())
    theirs = {name: tensor.contiguous() for name, tensor in theirs.items() if layer_of(name) < 2}
    save_file(theirs, tmp_path / "model.safetensors")
    official = {
        "cls_token": theirs["embeddings.cls_token"],
        "mask_token": theirs["embeddings.mask_token"],
        "pos_embed": theirs["embeddings.position_embeddings"],
    }
    for part in ("weight", "bias"):
        official[f"patch_embed.proj.{part}"] = theirs[f"embeddings.patch_embeddings.projection.{part}"]
        official[f"norm.{part}"] = theirs[f"layernorm.{part}"]
        for layer in range(2):
            old, new = f"encoder.layer.{layer}.", f"blocks.{layer}."
            parts = [theirs[f"{old}attention.attention.{name}.{part}"] for name in ("query", "key", "value")]
            official[f"{new}attn.qkv.{part}"] = torch.cat(parts)
            official[f"{new}attn.proj.{part}"] = theirs[f"{old}attention.output.dense.{part}"]
            for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                official[f"{new}{same}.{part}"] = theirs[f"{old}{same}.{part}"]
            for scale in "12":
                official[f"{new}ls{scale}.gamma"] = theirs[f"{old}layer_scale{scale}.lambda1"]
    torch.save(official, tmp_path / "dinov2_vitb14_pretrain.pth")
    imported_model = DINOv2ViT.read_published(tmp_path / "dinov2_vitb14_pretrain.pth")
    expected = DINOv2ViT.read_published(tmp_path)
    assert imported_model[0].depth == 2
    assert imported_model[0] == expected[0]
    torch.testing.assert_close(imported_model[1], expected[1])
