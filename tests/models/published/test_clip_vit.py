"""CLIP ViT-B/32 at its real size: published files load, and say what transformers says."""

import pytest
import torch
from safetensors.torch import save_file

from deixis.core.errors import DataError
from models.experts.clip_vit import CLIPViT
from tests.models.published.factories import CLIP, close, imported, published_size, randomise, squares, standard

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """transformers' CLIP ViT-B/32 (vision alone), and its own file of it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("clip")
    reference = randomise(CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=32))).eval()
    reference.save_pretrained(folder)
    return reference, folder


def test_size_of_clip_vit_b_32():
    table = (13**2 - 7**2) * 768  # 416 pixels have more places than the published 224
    projection = 768 * 512  # is the text tower's affair
    assert published_size(CLIPViT) - table + projection == 87_849_216


@torch.no_grad()
def test_clip_vit_says_what_transformers_says(clip):
    reference, folder = clip
    images = squares(224)
    model = imported(CLIPViT, folder, input_size=224)
    states = reference(standard(images, *CLIP), output_hidden_states=True)
    last = states.hidden_states[-1][:, 1:]
    close(model.encode(images), last.transpose(1, 2).unflatten(2, (7, 7)))
    close(reference.visual_projection(model.pooled(images.float())), states.image_embeds)


@torch.no_grad()
def test_clip_vit_on_416_pixels_has_positions_as_openclip_resizes_them(clip):
    from timm.layers import resample_abs_pos_embed

    reference, folder = clip
    model = imported(CLIPViT, folder)
    assert model.encode(squares(416)).shape == (1, 768, 13, 13)
    table = reference.vision_model.embeddings.position_embedding.weight[None]
    expected = resample_abs_pos_embed(table, [13, 13], num_prefix_tokens=1, interpolation="bicubic", antialias=True)
    torch.testing.assert_close(model.vit.pos_embed, expected)
    without = resample_abs_pos_embed(table, [13, 13], num_prefix_tokens=1, interpolation="bicubic", antialias=False)
    assert (expected - without).abs().max() > 1e-3  # so that this test can tell


@torch.no_grad()
def test_clip_vit_reads_openai_names(clip, tmp_path):
    reference, _ = clip
    tensors = {name: tensor for name, tensor in reference.state_dict().items() if layer_of(name) < 2}
    for name, layout in {"theirs": tensors, "openai": openai_layout(tensors)}.items():
        save_file(layout, tmp_path / f"{name}.safetensors")
    expected = CLIPViT.read_published(tmp_path / "theirs.safetensors")
    imported_model = CLIPViT.read_published(tmp_path / "openai.safetensors")
    assert imported_model[0].depth == 2
    assert imported_model[0] == expected[0]
    torch.testing.assert_close(imported_model[1], expected[1])


def layer_of(name):
    return int(name.split(".layers.")[1].split(".")[0]) if ".layers." in name else 0


def openai_layout(theirs):
    """The vision tower as OpenAI and OpenCLIP name it, written out from their module tree, and some text beside it."""
    tensors = {
        "visual.class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": theirs["visual_projection.weight"].T,
        "logit_scale": torch.tensor(4.6),
        "ln_final.weight": torch.ones(512),
    }
    for part in ("weight", "bias"):
        tensors[f"visual.ln_pre.{part}"] = theirs[f"vision_model.pre_layrnorm.{part}"]
        tensors[f"visual.ln_post.{part}"] = theirs[f"vision_model.post_layernorm.{part}"]
        for layer in range(2):
            old, new = f"vision_model.encoder.layers.{layer}.", f"visual.transformer.resblocks.{layer}."
            tensors[f"{new}attn.in_proj_{part}"] = torch.cat([theirs[f"{old}self_attn.{x}_proj.{part}"] for x in "qkv"])
            tensors[f"{new}attn.out_proj.{part}"] = theirs[f"{old}self_attn.out_proj.{part}"]
            tensors[f"{new}ln_1.{part}"] = theirs[f"{old}layer_norm1.{part}"]
            tensors[f"{new}ln_2.{part}"] = theirs[f"{old}layer_norm2.{part}"]
            tensors[f"{new}mlp.c_fc.{part}"] = theirs[f"{old}mlp.fc1.{part}"]
            tensors[f"{new}mlp.c_proj.{part}"] = theirs[f"{old}mlp.fc2.{part}"]
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("vision_model.post_layernorm.bias"), "1 missing: vit.norm.bias"),
        (lambda t: t.update({"vision_model.extra": torch.ones(1)}), "1 unexpected: vit.extra"),
        (
            lambda t: t.update({"vision_model.pre_layrnorm.weight": torch.ones(3)}),
            "1 of another shape: vit.norm_pre.weight",
        ),
        (lambda t: t.pop("vision_model.encoder.layers.3.self_attn.k_proj.bias"), "missing: vit.blocks.3.attn.qkv.bias"),
    ],
    ids=["missing", "unexpected", "shape", "part of attention"],
)
def test_a_file_that_does_not_fit_is_refused_by_name(clip, tmp_path, spoil, message):
    reference, _ = clip
    tensors = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    spoil(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=message):
        CLIPViT.read_published(tmp_path)
