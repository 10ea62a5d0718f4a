"""EfficientSAM-Ti and -S at their real sizes: the published file loads, and says what a plain reference says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.core.frozen import freeze
from models.experts.efficient_sam_vit import EfficientSAMViT, EfficientSAMViTConfig
from models.segmenters.efficient_sam import EfficientSAM, EfficientSAMConfig
from tests.models.published.efficient_sam_reference import Reference
from tests.models.published.factories import close, imported, published_size, randomise, squares

pytestmark = pytest.mark.slow

SIZES = {"ti": EfficientSAMViTConfig(), "s": EfficientSAMViTConfig(width=384, heads=6)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files as released: tensors under "model"."""
    folder = tmp_path_factory.mktemp("efficient_sam")
    for name, encoder in SIZES.items():
        state = randomise(EfficientSAM(EfficientSAMConfig(encoder=encoder))).state_dict()
        torch.save({"model": state}, folder / f"{name}.pt")
    return folder


def random_image(height=60, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_published_sizes():
    assert published_size(EfficientSAM) == 10_223_204
    assert published_size(EfficientSAM, encoder=SIZES["s"]) == 26_413_028
    assert published_size(EfficientSAMViT) == 6_163_840


def test_published_names(published):
    """The release's module tree, written out: what a file of it holds."""
    block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    attentions = ["self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"]
    both = ["patch_embed.proj", "neck.1", "neck.3", *(f"blocks.{i}.{name}" for i in range(12) for name in block)]
    expected = {f"image_encoder.{name}.{part}" for name in both for part in ("weight", "bias")}
    expected |= {"image_encoder.pos_embed", "image_encoder.neck.0.weight", "image_encoder.neck.2.weight"}
    points = ["invalid_points", "point_embeddings", "bbox_top_left_embeddings", "bbox_bottom_right_embeddings"]
    expected |= {f"prompt_encoder.{name}.weight" for name in points}
    expected |= {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}
    layer = [f"{a}.{p}_proj" for a in attentions for p in ("q", "k", "v", "out")]
    layer += ["mlp.layers.0.0", "mlp.fc", "norm1", "norm2", "norm3", "norm4"]
    both = [f"transformer.layers.{i}.{name}" for i in range(2) for name in layer]
    both += [f"transformer.final_attn_token_to_image.{p}_proj" for p in ("q", "k", "v", "out")]
    both += [
        "transformer.norm_final_attn",
        *(f"final_output_upscaling_layers.{name}" for name in ("0.0", "0.1", "1.0")),
    ]
    heads = ["iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(4))]
    both += [f"{head}.{name}" for head in heads for name in ("layers.0.0", "layers.1.0", "fc")]
    expected |= {f"mask_decoder.{name}.{part}" for name in both for part in ("weight", "bias")}
    expected |= {"mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"}
    assert set(torch.load(published / "ti.pt", weights_only=True)["model"]) == expected


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_says_what_the_reference_says(published, name):
    config, state = EfficientSAM.read_published(published / f"{name}.pt")
    assert config == EfficientSAMConfig(encoder=SIZES[name])
    model = EfficientSAM(replace(config, input_size=416))
    model.load_state_dict(state, strict=True)
    freeze(model)
    reference = Reference(state, side=416, heads=SIZES[name].heads)
    image, boxes = random_image(), torch.tensor([[5.0, 10.0, 40.0, 50.0], [30.0, 2.0, 88.0, 59.0]])
    looked = reference.image(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    scale = 416 / torch.tensor([90.0, 60.0])
    for points, labels, answer in (
        (boxes.view(2, 2, 2), [2, 3], model.segment(image, boxes)),
        (boxes[:, None, :2], [1], model.segment_points(image, boxes[:, :2])),
    ):
        logits, quality = reference.decode(looked, reference.prompts(points * scale, labels))
        logits = F.interpolate(logits[:, 1:], (60, 90), mode="bicubic")
        masks, qualities = model._ask(model._look_at(image), points, tuple(labels), image)
        close(masks, logits)
        close(qualities, quality[:, 1:])
        best = quality[:, 1:].argmax(1)
        assert (answer[0] == (logits[torch.arange(2), best] >= 0).numpy()).mean() > 0.999
        torch.testing.assert_close(torch.from_numpy(answer[1]), quality[:, 1:].amax(1), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_expert_is_the_image_encoder_on_416_pixels(published):
    expert = imported(EfficientSAMViT, published / "ti.pt")
    tensors = torch.load(published / "ti.pt", weights_only=True)["model"]
    images = squares(416)
    close(expert.encode(images), Reference(tensors, side=416, heads=3).image(images / 255))
    assert expert.encode(images).shape == (1, 256, 26, 26)


@torch.no_grad()
def test_proposals_are_good_stable_and_different():
    torch.manual_seed(0)
    sizes = EfficientSAMViTConfig(width=64, depth=1, heads=1)
    model = freeze(randomise(EfficientSAM(EfficientSAMConfig(input_size=64, encoder=sizes))))
    image = random_image(40, 50)
    everything = model.propose(image, points_per_side=9, min_quality=-100.0, min_stability=0.0)
    assert everything.dtype == bool and everything.shape[1:] == (40, 50)
    assert 1 <= len(everything) < 81  # duplicates are gone
    assert model.propose(image, points_per_side=2, min_quality=100.0, min_stability=0.0).shape == (0, 40, 50)
    assert model.propose(image, points_per_side=2, min_quality=-100.0, min_stability=1.1).shape == (0, 40, 50)


def test_another_models_file_is_refused(tmp_path):
    torch.save({"model": {"image_encoder.foo": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"lacks patch_embed\.proj\.weight.*model's card names"):
        EfficientSAM.read_published(tmp_path / "other.pt")
