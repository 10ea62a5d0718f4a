"""A data folder as the graph writes it, of six images and untrained models, labelled by the real stages."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from deixis.core.checkpoints import save_checkpoint
from deixis.core.records import file_sha256, write_table
from deixis.language.text import build_vocabulary
from models.blocks.build_sam import SmallSAMConfig
from models.blocks.csp_darknet import CSPConfig
from models.detectors.yolov3 import YOLOv3, YOLOv3Config
from models.experts.contrastive_convnet import ContrastiveConvNet, ContrastiveConvNetConfig
from models.experts.contrastive_vit import ContrastiveViT, ContrastiveViTConfig
from models.map_blocks.towers import TowersConfig
from models.map_teachers.pcnet import PCNet, PCNetConfig
from models.map_teachers.tris import TRIS, TRISConfig
from models.segmenters.small_sam import SmallSAM
from models.students.mattnet import MAttNet, MAttNetConfig
from models.students.simrec import SimREC, SimRECConfig
from models.teachers.dvin import DViN, DViNConfig
from models.teachers.refclip import RefCLIP, RefCLIPConfig
from models.text.gru_attention import TextConfig
from models.text.modular_attention import ModularTextConfig
from stages.extract_features import extract_features
from stages.list_candidates import list_candidates
from stages.predict_student import predict_student
from stages.segment_boxes import segment_boxes
from stages.write_cues import write_cues
from stages.write_map_labels import write_map_labels
from stages.write_pseudo_labels import write_pseudo_labels

SIDE = 128
PHRASES = (
    "red ball", "left red ball", "the star on the right", "big star", "ball left of the star", "second ball from left",
    "red star at the bottom",
)  # fmt: skip
EXPERTS = ("contrastive_vit", "contrastive_convnet")
BACKBONE = CSPConfig(stem=4, widths=(8, 8, 16), blocks=(1, 1, 1))
TEXT = TextConfig(length=8, word_width=8, width=16, heads=2, feedforward=16, layers=1, pool_hidden=8)
PARAMS = """
seed: 0
detector: {model: {input_size: 128}}
extraction: {batch_size: 4}
labels: {batch_size: 16}
map_labels: {}
candidates: {}
cues: {source: rule, settings: {}}
datasets: {toy: {adapter: refer}}
"""


def build_world(root: Path) -> None:
    """Write everything under `root`, which must be the working directory: stages keep their scratch there."""
    write_inputs(root)
    _run_stages(root / "data")


def write_inputs(root: Path) -> None:
    """Write what the stages read: settings, images with phrases, and untrained models."""
    torch.manual_seed(0)
    (root / "params.yaml").write_text(PARAMS)
    _write_pairs(root)
    vocabulary = build_vocabulary(PHRASES)
    _save_frozen(root / "data/weights/embedded")
    for kind, name, model in _trained(vocabulary):
        role = kind.removesuffix("s")
        card = {role: name.rsplit("-")[-1], "model": asdict(model.config), "vocabulary": vocabulary}
        card |= {"candidates": "detections"} if name == "dvin-mattnet" else {}
        save_checkpoint(model, root / f"data/{kind}/toy/{name}", config=card)


def _write_pairs(root: Path) -> None:
    rng = np.random.default_rng(0)
    folder = root / "data/raw/toy/images"
    folder.mkdir(parents=True)
    images, pairs = [], []
    for number in range(6):
        width, height = [(96, 64), (64, 100), (128, 128)][number % 3]
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(folder / f"{number}.png")
        images.append((number, f"{number}.png", file_sha256(folder / f"{number}.png"), width, height, "CC0-1.0"))
        split = "train" if number < 4 else "val"
        for place, phrase in enumerate(PHRASES):
            pairs.append((f"toy/{number}/{place}", number, 10 * number + place, place, phrase, phrase, split))
    columns = ["sample_id", "image_id", "ref_id", "sent_id", "expression", "text", "split"]
    write_table(pd.DataFrame(pairs, columns=columns), root / "data/prepared/toy/pairs.parquet")
    columns = ["image_id", "path", "sha256", "width", "height", "licence"]
    write_table(pd.DataFrame(images, columns=columns), root / "data/prepared/toy/images.parquet")


def _save_frozen(weights: Path) -> None:
    detector = YOLOv3Config(
        input_size=SIDE, num_classes=4, stem=4, widths=(8, 8, 16, 24), blocks=(0, 1, 1, 1),
        anchors=(((40, 40), (56, 56), (70, 70)), ((20, 20), (24, 24), (30, 30)), ((6, 6), (8, 8), (10, 10))),
    )  # fmt: skip
    vit = ContrastiveViTConfig(input_size=SIDE, patch=16, width=16, depth=1, heads=2)
    convnet = ContrastiveConvNetConfig(depths=(1, 1, 1), widths=(8, 8, 16))
    sam = SmallSAMConfig(
        input_size=SIDE, patch=16, width=16, depth=1, heads=2, global_blocks=(0,), window=4, prompt_width=16,
        decoder_depth=1, decoder_heads=2, decoder_feedforward=16,
    )  # fmt: skip
    models: dict[str, tuple[Any, Any]] = {
        "detector": (YOLOv3(detector), detector),
        "contrastive_vit": (ContrastiveViT(vit), vit),
        "contrastive_convnet": (ContrastiveConvNet(convnet), convnet),
        "segmenter": (SmallSAM(sam), sam),
    }
    for name, (model, config) in models.items():
        save_checkpoint(model, weights / name, config={"model": asdict(config), "labels": "box"})


def _trained(vocabulary: list[str]) -> list[tuple[str, str, Any]]:
    anchors = {
        "detector_channels": (24, 16, 8),
        "fused_width": 16,
        "joint_width": 8,
        "keep_fraction": 0.2,
        "text": TEXT,
    }
    experts = {"contrastive_vit": 16, "contrastive_convnet": 16}
    towers = TowersConfig(backbone=BACKBONE, levels=2, text=TEXT)
    words = ModularTextConfig(length=6, word_width=8, width=8, state_width=8)
    mattnet = MAttNet(MAttNetConfig(input_size=SIDE, backbone=BACKBONE, width=16, attributes=3, text=words), vocabulary)
    mattnet.choose_attributes(list(PHRASES))
    simrec = SimRECConfig(
        input_size=SIDE, resize_sides=(SIDE,), backbone=BACKBONE, text=TEXT, fused_width=16, head_width=8
    )
    return [
        ("teachers", "refclip", RefCLIP(RefCLIPConfig(**anchors), vocabulary)),
        ("teachers", "dvin", DViN(DViNConfig(**anchors, experts=experts, code_width=8, top_experts=1), vocabulary)),
        ("map_teachers", "tris", TRIS(TRISConfig(input_size=SIDE, towers=towers, width=8), vocabulary)),
        ("map_teachers", "pcnet", PCNet(PCNetConfig(input_size=SIDE, towers=towers, width=8), vocabulary)),
        ("students", "dvin-simrec", SimREC(simrec, vocabulary)),
        ("students", "dvin-mattnet", mattnet),
    ]


def _run_stages(data: Path) -> None:
    """Labels and predictions as the graph would write them."""
    prepared, weights, features = data / "prepared/toy", data / "weights/embedded", data / "features/toy"
    pairs, images = prepared / "pairs.parquet", {"images": prepared / "images.parquet"}
    where = images | {"image_root": data / "raw/toy/images"}
    for encoder in ("detector", *EXPERTS):
        extract_features(encoder=encoder, **where, weights=weights / encoder, out=features / encoder)
    for name in ("refclip", "dvin"):
        teacher, out = data / f"teachers/toy/{name}", data / f"labels/toy/{name}"
        write_pseudo_labels(pairs=pairs, **images, features=features, teacher=teacher, out=out)
        segment_boxes(
            boxes=out / "boxes.parquet", **where, segmenter=weights / "segmenter", teacher=teacher,
            out=out / "labels.parquet",
        )  # fmt: skip
    write_cues(dataset="toy", pairs=pairs, out=data / "cues/toy")
    for name, cues in (("tris", None), ("pcnet", data / "cues/toy/cues.jsonl")):
        write_map_labels(
            pairs=pairs, **where, weights=weights, teacher=data / f"map_teachers/toy/{name}", cues=cues,
            out=data / f"labels/toy/{name}/labels.parquet",
        )  # fmt: skip
    candidates = data / "candidates/toy/detections.parquet"
    list_candidates(**images, features=features / "detector", out=candidates)
    for name in ("dvin-simrec", "dvin-mattnet"):
        predict_student(
            student=data / f"students/toy/{name}", pairs=pairs, **where, segmenter=weights / "segmenter",
            candidates=candidates, out=data / f"predictions/toy/{name}.parquet",
        )  # fmt: skip
