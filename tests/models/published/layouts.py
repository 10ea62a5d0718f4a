"""Random tensors under the names of published files, written out from the releases' module trees."""

from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

END_OF_CLIP = 49407  # id of the last token: the size of its vocabulary, less one


def clip_text(width: int = 512, shared: int = 1024) -> dict[str, Tensor]:
    """CLIP's text tower by OpenAI's names; the defaults are those of its ResNet-50."""
    tensors = {
        "token_embedding.weight": torch.randn(END_OF_CLIP + 1, width) / 20,
        "positional_embedding": torch.randn(77, width) / 20,
        "text_projection": torch.randn(width, shared) / 20,
        "logit_scale": torch.tensor(4.6),
    } | _norm("ln_final", width)
    return tensors | _transformer("transformer.", width)


def clip_resnet_50() -> dict[str, Tensor]:
    """CLIP's ResNet-50 by OpenAI's names, attention pooling included."""
    tensors: dict[str, Tensor] = {}
    for number, (before, after) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
        tensors |= _conv_bn(f"visual.conv{number}", f"visual.bn{number}", before, after, 3)
    before = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(count):
            name = f"visual.layer{stage + 1}.{block}."
            for number, (one, two, side) in enumerate(
                ((before, width, 1), (width, width, 3), (width, 4 * width, 1)), start=1
            ):
                tensors |= _conv_bn(f"{name}conv{number}", f"{name}bn{number}", one, two, side)
            if not block:
                tensors |= _conv_bn(f"{name}downsample.0", f"{name}downsample.1", before, 4 * width, 1)
            before = 4 * width
    tensors["visual.attnpool.positional_embedding"] = torch.randn(7**2 + 1, before) / 20
    for part, after in (("k", before), ("q", before), ("v", before), ("c", 1024)):
        tensors |= _linear(f"visual.attnpool.{part}_proj", before, after)
    return tensors


def merges(folder: Path) -> Path:
    """CLIP's `merges.txt`, as many lines as published: letters join to a few words, the rest is filling."""
    folder.mkdir(parents=True, exist_ok=True)
    joins = ["m a", "ma n</w>", "r e", "re d</w>", "l e", "le f", "lef t</w>"]
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    pairs = (f"{one} {two}{end}" for end in ("</w>", "") for one in letters for two in letters)
    joins += list(islice((pair for pair in pairs if pair not in joins), END_OF_CLIP + 1 - 512 - 2 - len(joins)))
    path = folder / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *joins]) + "\n", encoding="utf-8")
    return path


def clip_vit_b_32() -> dict[str, Tensor]:
    """CLIP ViT-B/32 with both towers, by OpenAI's names."""
    width = 768
    tensors = {
        "visual.class_embedding": torch.randn(width) / 20,
        "visual.positional_embedding": torch.randn(7**2 + 1, width) / 20,
        "visual.conv1.weight": torch.randn(width, 3, 32, 32) / (3 * 32 * 32) ** 0.5,
        "visual.proj": torch.randn(width, 512) / 20,
    }
    tensors |= _norm("visual.ln_pre", width) | _norm("visual.ln_post", width)
    return tensors | _transformer("visual.transformer.", width) | clip_text(shared=512)


def bert_base() -> dict[str, Tensor]:
    """bert-base-uncased, with the pretraining heads' first tensors, which nobody reads."""
    width = 768
    tensors = _norm("bert.embeddings.LayerNorm", width) | {"cls.predictions.bias": torch.zeros(30522)}
    for table, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        tensors[f"bert.embeddings.{table}_embeddings.weight"] = torch.randn(rows, width) / 20
    for number in range(12):
        name = f"bert.encoder.layer.{number}."
        for part in ("query", "key", "value"):
            tensors |= _linear(f"{name}attention.self.{part}", width, width)
        tensors |= _linear(f"{name}attention.output.dense", width, width) | _norm(f"{name}output.LayerNorm", width)
        tensors |= _linear(f"{name}intermediate.dense", width, 4 * width) | _linear(
            f"{name}output.dense", 4 * width, width
        )
        tensors |= _norm(f"{name}attention.output.LayerNorm", width)
    return tensors | _linear("bert.pooler.dense", width, width)


def word_pieces(folder: Path) -> Path:
    """BERT's `vocab.txt`, as many lines as published."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "man", "left", "of"]
    path = folder / "vocab.txt"
    path.write_text("\n".join([*words, *(f"piece{n}" for n in range(30522 - len(words)))]) + "\n", encoding="utf-8")
    return path


def detr_r50() -> dict[str, Tensor]:
    """DETR-R50 by its own names; its network and its encoder layers are those of torchvision and torch."""
    from torchvision.models import resnet50
    from torchvision.ops import FrozenBatchNorm2d

    from tests.models.published.factories import randomise

    cnn = randomise(resnet50(norm_layer=FrozenBatchNorm2d))
    for name, buffer in cnn.named_buffers():  # a frozen norm has no parameters
        buffer.uniform_(*((0.5, 1.5) if name.endswith(("weight", "running_var")) else (-0.1, 0.1)))
    tensors = {f"backbone.0.body.{name}": t for name, t in cnn.state_dict().items() if not name.startswith("fc.")}
    tensors |= {"input_proj.weight": torch.randn(256, 2048, 1, 1) / 2048**0.5, "input_proj.bias": torch.randn(256) / 10}
    for number in range(6):
        layer = randomise(torch.nn.TransformerEncoderLayer(256, 8, 2048), seed=number)
        tensors |= {f"transformer.encoder.layers.{number}.{name}": t for name, t in layer.state_dict().items()}
    only_for_detection = ("transformer.decoder.norm.weight", "class_embed.bias", "bbox_embed.layers.0.bias")
    return tensors | {name: torch.ones(256) for name in (*only_for_detection, "query_embed.weight")}


def _transformer(prefix: str, width: int) -> dict[str, Tensor]:
    """CLIP's twelve layers."""
    shapes = {"attn.in_proj_": (3 * width, width), "attn.out_proj.": (width, width)}
    shapes |= {"mlp.c_fc.": (4 * width, width), "mlp.c_proj.": (width, 4 * width)}
    tensors: dict[str, Tensor] = {}
    for layer in range(12):
        name = f"{prefix}resblocks.{layer}."
        for part, (rows, columns) in shapes.items():
            tensors[f"{name}{part}weight"] = torch.randn(rows, columns) / columns**0.5
            tensors[f"{name}{part}bias"] = torch.randn(rows) / 10
        tensors |= _norm(f"{name}ln_1", width) | _norm(f"{name}ln_2", width)
    return tensors


def _linear(name: str, before: int, after: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(after, before) / before**0.5, f"{name}.bias": torch.randn(after) / 10}


def _conv_bn(conv: str, norm: str, before: int, after: int, side: int) -> dict[str, Tensor]:
    fan = before * side * side
    return {
        f"{conv}.weight": torch.randn(after, before, side, side) / fan**0.5,
        **_norm(norm, after),
        f"{norm}.running_mean": torch.randn(after) / 10,
        f"{norm}.running_var": 0.5 + torch.rand(after),
        f"{norm}.num_batches_tracked": torch.tensor(7),
    }


def _norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 0.5 + torch.rand(width) / 2, f"{name}.bias": torch.rand(width) / 5}
