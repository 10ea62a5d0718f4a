"""What EfficientSAM computes, written out over its published tensors with no module of ours or of a library."""

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class Reference:
    """Answers from a dictionary of tensors."""

    def __init__(self, tensors: dict[str, Tensor], *, side: int, heads: int) -> None:
        self.tensors, self.side, self.heads = tensors, side, heads

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def image(self, pixels: Tensor) -> Tensor:
        """[batch, 3, height, width] in [0, 1] to the neck's map."""
        stretched = F.interpolate(pixels, (self.side, self.side), mode="bilinear")
        name = "image_encoder."
        x = F.conv2d((stretched - MEAN) / STD, self.tensors[f"{name}patch_embed.proj.weight"], stride=16)
        x = (x + self.tensors[f"{name}patch_embed.proj.bias"].view(-1, 1, 1)).permute(0, 2, 3, 1)
        table = self.tensors[f"{name}pos_embed"][0, 1:].view(14, 14, -1)
        grid = x.shape[1]
        table = F.interpolate(table.permute(2, 0, 1)[None], (grid, grid), mode="bicubic", align_corners=False)
        x = (x + table.permute(0, 2, 3, 1)).flatten(1, 2)
        for layer in range(12):
            block = f"{name}blocks.{layer}."
            q, k, v = self.linear(f"{block}attn.qkv", self.norm(f"{block}norm1", x, 1e-6)).chunk(3, -1)
            x = x + self.linear(f"{block}attn.proj", self.attend(q, k, v, self.heads))
            hidden = F.gelu(self.linear(f"{block}mlp.fc1", self.norm(f"{block}norm2", x, 1e-6)))
            x = x + self.linear(f"{block}mlp.fc2", hidden)
        x = F.conv2d(x.transpose(1, 2).unflatten(2, (grid, grid)), self.tensors[f"{name}neck.0.weight"])
        x = self.norm(f"{name}neck.1", x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.tensors[f"{name}neck.2.weight"], padding=1)
        return self.norm(f"{name}neck.3", x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)

    def place(self, unit: Tensor) -> Tensor:
        """x, y in [0, 1] to sines and cosines."""
        matrix = self.tensors["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
        angles = 2 * torch.pi * ((2 * unit - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def prompts(self, points: Tensor, labels: list[int]) -> Tensor:
        """Points in input pixels, [prompts, points, 2], the same labels for each prompt."""
        names = {-1: "invalid_points", 1: "point_embeddings", 2: "bbox_top_left_embeddings"}
        names[3] = "bbox_bottom_right_embeddings"
        missing = 6 - points.shape[1]
        points = torch.cat([points, torch.full((len(points), missing, 2), -1.0)], 1)
        kinds = [self.tensors[f"prompt_encoder.{names[label]}.weight"] for label in [*labels, *[-1] * missing]]
        return self.place((points + 0.5) / self.side) + torch.cat(kinds)

    def cross(self, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self.linear(f"{name}.{p}_proj", x) for p, x in zip("qkv", (q, k, v), strict=True))
        return self.linear(f"{name}.out_proj", self.attend(q, k, v, 8))

    def mlp(self, name: str, x: Tensor, layers: int) -> Tensor:
        for layer in range(layers):
            x = F.gelu(self.linear(f"{name}.layers.{layer}.0", x))
        return self.linear(f"{name}.fc", x)

    def decode(self, image: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at four times the grid and quality of all four outputs."""
        name, grid = "mask_decoder.", image.shape[-1]
        learned = torch.cat([self.tensors[f"{name}iou_token.weight"], self.tensors[f"{name}mask_tokens.weight"]])
        prompts = torch.cat([learned.expand(len(sparse), -1, -1), sparse], 1)
        centres = (torch.arange(grid) + 0.5) / grid
        where = self.place(torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)).flatten(0, 1)
        tokens, keys = prompts, image.flatten(2).transpose(1, 2).repeat(len(sparse), 1, 1)
        for layer in range(2):
            block = f"{name}transformer.layers.{layer}."
            tokens = tokens if layer == 0 else tokens + prompts
            tokens = self.norm(f"{block}norm1", tokens + self.cross(f"{block}self_attn", tokens, tokens, tokens), 1e-5)
            read = self.cross(f"{block}cross_attn_token_to_image", tokens + prompts, keys + where, keys)
            tokens = self.norm(f"{block}norm2", tokens + read, 1e-5)
            tokens = self.norm(f"{block}norm3", tokens + self.mlp(f"{block}mlp", tokens, 1), 1e-5)
            read = self.cross(f"{block}cross_attn_image_to_token", keys + where, tokens + prompts, tokens)
            keys = self.norm(f"{block}norm4", keys + read, 1e-5)
        final = f"{name}transformer."
        read = self.cross(f"{final}final_attn_token_to_image", tokens + prompts, keys + where, keys)
        tokens = self.norm(f"{final}norm_final_attn", tokens + read, 1e-5)
        maps = keys.transpose(1, 2).unflatten(2, (grid, grid))
        for step in range(2):
            up = f"{name}final_output_upscaling_layers.{step}."
            maps = F.conv_transpose2d(maps, self.tensors[f"{up}0.weight"], self.tensors[f"{up}0.bias"], stride=2)
            if step == 0:
                maps = F.group_norm(maps, 1, self.tensors[f"{up}1.weight"], self.tensors[f"{up}1.bias"])
            maps = F.gelu(maps)
        kernels = [self.mlp(f"{name}output_hypernetworks_mlps.{i}", tokens[:, 1 + i], 2) for i in range(4)]
        logits = (torch.stack(kernels, 1) @ maps.flatten(2)).unflatten(2, maps.shape[-2:])
        return logits, self.mlp(f"{name}iou_prediction_head", tokens[:, 0], 2)
