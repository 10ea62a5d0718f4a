"""The small SAM: one decoder call for a whole batch says what segment-anything says image by image."""

from functools import partial

import numpy as np
import pytest
import torch
from segment_anything.utils.amg import calculate_stability_score

from deixis.core.runtime import autocast
from models.blocks.build_sam import SmallSAMConfig
from models.segmenters import sam_prompts
from models.segmenters.sam_objective import mask_terms
from models.segmenters.small_sam import SmallSAM

TINY = SmallSAMConfig(
    input_size=64, patch=8, width=16, depth=1, heads=2, global_blocks=(0,), window=4, prompt_width=16, decoder_depth=1,
    decoder_heads=2, decoder_feedforward=16,
)  # fmt: skip


def model() -> SmallSAM:
    torch.manual_seed(0)
    return SmallSAM(TINY)


@torch.no_grad()
def test_images_as_dense_prompts_equal_one_call_per_image():
    sam = model().eval().sam
    embeddings = torch.randn(3, 16, 8, 8)
    boxes = torch.tensor([[4.0, 4.0, 30.0, 40.0], [10.0, 20.0, 60.0, 50.0]])
    sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
    position = sam.prompt_encoder.get_dense_pe()
    alone = [sam.mask_decoder(e[None], position, sparse, dense, multimask_output=False) for e in embeddings]
    together = sam.mask_decoder(
        torch.zeros(1, 16, 8, 8),
        position,
        sparse.repeat(3, 1, 1),
        dense.repeat(3, 1, 1, 1) + embeddings.repeat_interleave(2, 0),
        multimask_output=False,
    )
    for part in (0, 1):
        torch.testing.assert_close(together[part], torch.cat([answer[part] for answer in alone]))


def test_30_the_automatic_mode_asks_at_the_middle_of_every_square_of_the_grid():
    small, prompts = model().eval(), []
    small.sam.prompt_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: prompts.append(kwargs["points"][0]), with_kwargs=True
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    small.propose(image, points_per_side=8, min_quality=0.0, min_stability=0.0)
    points = torch.cat(prompts)[:, 0] / 64
    assert len(points) == 64 and points[0].tolist() == pytest.approx([0.0625, 0.0625])
    assert points[9].tolist() == pytest.approx([0.1875, 0.1875])


def test_30_unstable_masks_are_not_proposed():
    """A mask is as stable as it keeps its size between the logits -1 and +1: here one pixel of three."""
    stability = calculate_stability_score(torch.tensor([[[2.0, 0.5], [-0.5, -2.0]]]), 0.0, 1.0)
    assert stability.item() == pytest.approx(1 / 3)
    small = model().eval()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    counts = [
        len(small.propose(image, points_per_side=8, min_quality=-100.0, min_stability=least)) for least in (0.0, 1.01)
    ]
    assert counts[0] > 0 == counts[1]


def test_terms_fall_when_a_batch_is_repeated():
    small = model()
    images = torch.zeros(2, 3, 64, 64)
    masks = torch.zeros(2, 2, 64, 64)
    boxes = torch.tensor([[[8.0, 8.0, 32.0, 40.0], [30.0, 10.0, 60.0, 30.0]]]).repeat(2, 1, 1)
    for image in range(2):
        for row, (left, top, right, bottom) in enumerate(boxes[image].int().tolist()):
            masks[image, row, top:bottom, left:right] = 1
            images[image, :, top:bottom, left:right] = 100.0 * (row + 1)
    optimiser = torch.optim.AdamW(small.parameters(), lr=3e-3)
    history = []
    for step in range(60):
        terms = mask_terms(small, images, masks, boxes, torch.Generator().manual_seed(step))
        total = 20 * terms["focal"] + terms["dice"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append(total.item())
    assert sum(history[-5:]) / 5 < 0.6 * history[0]


def test_of_three_masks_of_a_box_the_best_is_taken():
    small = model().eval()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    boxes = torch.tensor([[4.0, 4.0, 30.0, 40.0], [10.0, 20.0, 60.0, 50.0]])
    with torch.no_grad():
        for number, bias in enumerate((5.0, 0.0, 0.0, 1.0)):  # the first answers alone
            small.sam.mask_decoder.iou_prediction_head.layers[-1].bias[number] = bias
    _, alone = small.segment(image, boxes)
    _, best = small.segment(image, boxes, best_of_three=True)
    assert (alone > 4).all() and (best < 2).all() and (best > 0.5).all()


@pytest.mark.parametrize(("height", "width"), [(1, 200), (200, 1)])
def test_a_strip_keeps_a_pixel_and_has_a_mask(height, width):
    """Shrunk to 64 pixels, its shorter side would have a third of one."""
    small, image = model().eval(), np.zeros((height, width, 3), np.uint8)
    masks, _ = small.segment(image, torch.tensor([[0.0, 0.0, width, height]]))
    assert masks.shape == (1, height, width)
    small.propose(image, points_per_side=2, min_quality=0.0, min_stability=0.0)


def test_an_image_may_be_looked_at_in_half_precision_and_prompts_never_are(monkeypatch):
    """As on a GPU, which is asked here by a processor."""
    small, image = model().eval(), np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    boxes = torch.tensor([[4.0, 4.0, 30.0, 40.0], [10.0, 20.0, 60.0, 47.0]])
    _, expected = small.segment(image, boxes)
    monkeypatch.setattr(sam_prompts, "autocast", partial(autocast, on_processors=True))
    seen = []
    small.sam.image_encoder.patch_embed.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    small.sam.mask_decoder.register_forward_pre_hook(
        lambda _, given, named: seen.append(named["image_embeddings"].dtype), with_kwargs=True
    )
    masks, quality = small.segment(image, boxes)
    assert seen == [torch.bfloat16, torch.float32] and masks.shape == (2, 48, 64)
    np.testing.assert_allclose(quality, expected, atol=2e-2)
