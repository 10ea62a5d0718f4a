"""A published CLIP's view of the detector's boxes, one by one: its half of what ReCLIP asks it about crops.

Boxes are cut from the square that the detector reads and stretched to CLIP's own side. ReCLIP (Subramanian et al., ACL
2022) cuts them from the image as it is, and looks at the image blurred around each box, too.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from models.image_text.clip_image_text import CLIPImageText
from models.image_text.judges import load_image_text
from models.text.clip_phrases import read_clip_pieces

SAMPLES = 2  # of each output pixel and direction, so that a box larger than CLIP's side is smoothed


def load_crop_encoder(folder: Path, device: torch.device) -> CLIPImageText:
    """The CLIP that looks at boxes.

    Raises:
        DataError: If the folder holds none with both towers.
    """
    pieces = read_clip_pieces(folder.parent)
    model = load_image_text(folder.name, folder.parent, pieces, device)
    assert isinstance(model, CLIPImageText)  # its card says so
    return model


@torch.no_grad()
def embed_crops(
    model: CLIPImageText, squares: UInt8[Tensor, "batch 3 side side"], boxes_xyxy: Float[Tensor, "batch boxes 4"]
) -> Float[Tensor, "batch width boxes 1"]:
    """What CLIP sees in each box, of length one, laid out as an expert's map; boxes in pixels of the square."""
    from torchvision.ops import roi_align  # a third of a second, which no other model should pay

    crops = roi_align(
        squares.float(), list(boxes_xyxy.float()), output_size=model.side, sampling_ratio=SAMPLES, aligned=True
    )
    seen = model.images(crops)
    return seen.view(*boxes_xyxy.shape[:2], -1).transpose(1, 2)[..., None]
