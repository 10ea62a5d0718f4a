"""SAM at its real sizes: published files load, and segment-anything's own predictor says the same."""

from functools import partial

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.build_sam import _build_sam
from segment_anything.utils.amg import build_point_grid, calculate_stability_score

from deixis.core.errors import DataError
from deixis.core.frozen import freeze
from deixis.roles import Segmenter
from models.segmenters.sam import SAM, SAMConfig
from tests.models.published.factories import imported, published_size, randomise

SIZES = {"vit_b": 93_735_472, "vit_l": 312_342_832, "vit_h": 641_090_608}


def hollow(size):
    """A published file's names and shapes over one number each: ViT-H's 2.5 GB need not be made."""
    with torch.device("meta"):
        state = sam_model_registry[size]().state_dict()
    return {name: torch.zeros(1).expand(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_and_names(size, tmp_path):
    assert published_size(SAM, size=size) == SIZES[size]
    torch.save(hollow(size), tmp_path / "sam.pth")
    config, state = SAM.read_published(tmp_path / "sam.pth")
    assert config == SAMConfig(size=size)
    assert sum(tensor.numel() for tensor in state.values()) >= SIZES[size]


def test_another_width_is_refused(tmp_path):
    tensors = hollow("vit_b") | {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 96)}
    torch.save(tensors, tmp_path / "sam.pth")
    with pytest.raises(DataError, match=r"width 96. Allowed: vit_b \(768\)"):
        SAM.read_published(tmp_path / "sam.pth")


@pytest.mark.slow
@pytest.mark.large
@torch.no_grad()
def test_vit_b_says_what_its_own_predictor_says(tmp_path, monkeypatch):
    """With three of its twelve blocks, which are alike but for their reach: all of them take half a minute."""
    sizes = {"encoder_embed_dim": 768, "encoder_depth": 3, "encoder_num_heads": 12, "encoder_global_attn_indexes": [2]}
    monkeypatch.setitem(sam_model_registry, "vit_b", partial(_build_sam, **sizes))
    torch.save(randomise(sam_model_registry["vit_b"]()).state_dict(), tmp_path / "sam_vit_b.pth")
    model = imported(SAM, tmp_path / "sam_vit_b.pth")
    assert isinstance(model, Segmenter)
    predictor = SamPredictor(freeze(sam_model_registry["vit_b"](checkpoint=str(tmp_path / "sam_vit_b.pth"))))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    predictor.set_image(image)
    logits, quality, _ = predictor.predict(
        box=np.array([5.0, 10.0, 40.0, 44.0]), multimask_output=False, return_logits=True
    )
    model.sam.mask_threshold = float(np.median(logits))  # random weights rarely straddle zero
    masks, qualities = model.segment(image, torch.tensor([[5.0, 10.0, 40.0, 44.0]]))
    assert masks.shape == (1, 48, 64)
    assert (masks == (logits > model.sam.mask_threshold)).mean() > 0.99 and 0.4 < masks.mean() < 0.6
    assert qualities == pytest.approx(quality, abs=1e-4)


def test_helpers_of_the_automatic_mode():
    stability = calculate_stability_score(torch.tensor([[[2.0, 0.5], [-0.5, -2.0]]]), 0.0, 1.0)
    assert stability.item() == pytest.approx(1 / 3)
    grid = build_point_grid(8)
    assert grid[0].tolist() == [0.0625, 0.0625] and len(grid) == 64
