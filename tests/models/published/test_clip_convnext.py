"""OpenCLIP ConvNeXt-Large at its real size: the published file loads, and says what timm says."""

import pytest
import torch
from safetensors.torch import save_file

from models.experts.clip_convnext import CLIPConvNeXt
from tests.models.published.factories import CLIP, close, imported, randomise, squares, standard


@pytest.mark.large
@torch.no_grad()
def test_clip_convnext_says_what_timm_says_at_each_place(tmp_path):
    from timm.models import convnext_large_mlp

    reference = randomise(convnext_large_mlp(num_classes=768)).eval()
    reference.head.fc.bias.zero_()  # OpenCLIP's head has none
    save_file(published_layout(reference.state_dict()), tmp_path / "open_clip_model.safetensors")
    model = imported(CLIPConvNeXt, tmp_path)
    classes, head = 1536 * 1000 + 1000, 1536 * 1536 + 1536 + 1536 * 768
    assert sum(p.numel() for p in model.parameters()) == 197_767_336 - classes + head  # ConvNeXt-L's published size
    images = squares(32)  # one place, whose mean is itself
    close(model.encode(images)[:, :, 0, 0], reference(standard(images, *CLIP)))
    larger = squares(96)
    maps = reference.forward_features(standard(larger, *CLIP))
    places = [reference.forward_head(maps[:, :, y : y + 1, x : x + 1]) for y in range(3) for x in range(3)]
    close(model.encode(larger), torch.stack(places, -1).unflatten(2, (3, 3)))


def published_layout(theirs):
    """OpenCLIP's names: a trunk that is timm's ConvNeXt-Large without classes, and a head of two layers."""
    tensors = {"logit_scale": torch.tensor(4.6), "text.ln_final.weight": torch.ones(768)}
    for name, tensor in theirs.items():
        name = name.replace("head.pre_logits.fc.", "head.mlp.fc1.").replace("head.fc.", "head.mlp.fc2.")
        if name != "head.mlp.fc2.bias":
            tensors[f"visual.{name}" if name.startswith("head.mlp.") else f"visual.trunk.{name}"] = tensor
    return tensors
