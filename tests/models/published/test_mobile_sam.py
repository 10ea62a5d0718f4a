"""MobileSAM at its real size: the published file loads, and its encoder says what a plain reference says."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.roles import Segmenter
from models.segmenters.mobile_sam import MobileSAM
from tests.models.published.factories import close, imported, published_size, randomise

pytestmark = pytest.mark.slow

CLASSES = 320 * 1000 + 1000 + 2 * 320  # TinyViT's head and its norm, which the file holds and nothing asks
DEPTHS, HEADS, WINDOWS = (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The release's names, written out from its module tree, around tensors of the real sizes."""
    ours = randomise(MobileSAM(MobileSAM.Config())).state_dict()
    tensors = {}
    for name, tensor in ours.items():
        name = name.removeprefix("sam.")
        for step, place in (("conv1", 0), ("conv2", 2)):
            name = name.replace(f"trunk.patch_embed.{step}.", f"patch_embed.seq.{place}.")
        for stage in (1, 2, 3):
            name = name.replace(f"trunk.stages.{stage}.downsample.", f"layers.{stage - 1}.downsample.")
        name = name.replace("trunk.stages.", "layers.")
        tensors[name.replace(".conv.weight", ".c.weight")] = tensor
    tensors |= {"image_encoder.head.weight": torch.ones(1000, 320), "image_encoder.head.bias": torch.ones(1000)}
    tensors |= {f"image_encoder.norm_head.{part}": torch.ones(320) for part in ("weight", "bias")}
    path = tmp_path_factory.mktemp("mobile_sam") / "mobile_sam.pt"
    torch.save(tensors, path)
    return path, tensors


def test_published_size(published):
    _, tensors = published
    assert published_size(MobileSAM) + CLASSES == 10_130_092  # the file's; the README says 9.66 M
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("image_encoder.")}
    counters = [tensor for name, tensor in encoder.items() if "running_" in name or "num_batches" in name]
    assert sum(t.numel() for t in encoder.values()) - sum(t.numel() for t in counters) == 6_065_532


def test_published_names(published):
    names = set(published[1])
    for name in (
        "image_encoder.patch_embed.seq.0.c.weight",
        "image_encoder.patch_embed.seq.2.bn.running_var",
        "image_encoder.layers.0.blocks.1.conv3.bn.weight",
        "image_encoder.layers.0.downsample.conv2.c.weight",
        "image_encoder.layers.1.blocks.0.attn.attention_biases",
        "image_encoder.layers.2.blocks.5.local_conv.c.weight",
        "image_encoder.layers.2.downsample.conv3.bn.bias",
        "image_encoder.layers.3.blocks.1.mlp.fc2.weight",
        "image_encoder.neck.3.weight",
        "mask_decoder.output_hypernetworks_mlps.3.layers.2.bias",
        "prompt_encoder.mask_downscaling.6.weight",
    ):
        assert name in names
    assert not any("trunk" in name or "stages" in name for name in names)


@torch.no_grad()
def test_encoder_says_what_the_reference_says(published):
    path, tensors = published
    model = imported(MobileSAM, path)
    images = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    close(model.sam.image_encoder(images), Reference(tensors).image(images))


@torch.no_grad()
def test_segments_in_stored_pixels(published):
    model = imported(MobileSAM, published[0])
    assert isinstance(model, Segmenter)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    masks, quality = model.segment(image, torch.tensor([[5.0, 10.0, 40.0, 44.0], [1.0, 1.0, 9.0, 9.0]]))
    assert masks.shape == (2, 48, 64) and masks.dtype == bool and quality.shape == (2,)
    assert quality[0] != quality[1]


def test_a_wrong_name_is_refused(published, tmp_path):
    tensors = {name: tensor for name, tensor in published[1].items() if name != "image_encoder.neck.1.bias"}
    torch.save(tensors, tmp_path / "mobile_sam.pt")
    with pytest.raises(DataError, match=r"1 missing: sam\.image_encoder\.neck\.1\.bias"):
        MobileSAM.read_published(tmp_path / "mobile_sam.pt")


class Reference:
    """TinyViT as MobileSAM changed it, over its published tensors."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {name.removeprefix("image_encoder."): tensor for name, tensor in tensors.items()}

    def convolve(self, name: str, x: Tensor, *, stride: int = 1) -> Tensor:
        """Convolution without bias, then BatchNorm; a kernel with one input channel works per channel."""
        kernel = self.tensors[f"{name}.c.weight"]
        groups = x.shape[1] if kernel.shape[1] == 1 else 1
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        mean, var, weight, bias = (
            self.tensors[f"{name}.bn.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, *, eps: float = 1e-5) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def narrow(self, name: str, x: Tensor) -> Tensor:
        """Fewer places but for the last time, more channels."""
        stride = 1 if self.tensors[f"{name}.conv1.c.weight"].shape[0] == 320 else 2
        x = F.gelu(self.convolve(f"{name}.conv1", x))
        return self.convolve(f"{name}.conv3", F.gelu(self.convolve(f"{name}.conv2", x, stride=stride)))

    def image(self, images: Tensor) -> Tensor:
        x = F.gelu(self.convolve("patch_embed.seq.0", images, stride=2))
        x = self.convolve("patch_embed.seq.2", x, stride=2)
        for layer in range(4):
            for block in range(DEPTHS[layer]):
                name = f"layers.{layer}.blocks.{block}"
                x = self.inverted(name, x) if layer == 0 else self.block(name, x, layer)
            if layer < 3:
                x = self.narrow(f"layers.{layer}.downsample", x)
        x = F.conv2d(x, self.tensors["neck.0.weight"])
        x = self.norm("neck.1", x.permute(0, 2, 3, 1), eps=1e-6).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.tensors["neck.2.weight"], padding=1)
        return self.norm("neck.3", x.permute(0, 2, 3, 1), eps=1e-6).permute(0, 3, 1, 2)

    def inverted(self, name: str, x: Tensor) -> Tensor:
        hidden = F.gelu(self.convolve(f"{name}.conv1", x))
        hidden = F.gelu(self.convolve(f"{name}.conv2", hidden))
        return F.gelu(x + self.convolve(f"{name}.conv3", hidden))

    def block(self, name: str, x: Tensor, layer: int) -> Tensor:
        side, window = x.shape[-1], WINDOWS[layer]
        windows = -(-side // window)
        missing = windows * window - side
        tiled = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, missing, 0, missing))
        tiled = tiled.unflatten(2, (windows, window)).unflatten(1, (windows, window)).transpose(2, 3)
        attended = self.attend(name, tiled.flatten(3, 4).flatten(0, 2), layer)
        attended = (
            attended.view(x.shape[0], windows, windows, window, window, -1).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        )
        x = x + attended[:, :side, :side].permute(0, 3, 1, 2)
        x = self.convolve(f"{name}.local_conv", x).permute(0, 2, 3, 1)
        hidden = F.gelu(self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.mlp.norm", x)))
        return (x + self.linear(f"{name}.mlp.fc2", hidden)).permute(0, 3, 1, 2)

    def attend(self, name: str, x: Tensor, layer: int) -> Tensor:
        """[windows, places, width]: the bias of two places depends on how far apart their rows and columns are."""
        window, heads = WINDOWS[layer], HEADS[layer]
        mixed = self.linear(f"{name}.attn.qkv", self.norm(f"{name}.attn.norm", x)).unflatten(2, (heads, 3, -1))
        q, k, v = (mixed[:, :, :, part].transpose(1, 2) for part in range(3))
        row, column = torch.arange(window**2) // window, torch.arange(window**2) % window
        apart = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        weights = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + self.tensors[f"{name}.attn.attention_biases"][:, apart]
        return self.linear(f"{name}.attn.proj", (weights.softmax(-1) @ v).transpose(1, 2).flatten(2))
