"""Small sound files of every kind but annotations, and their readers."""

import json
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

from answering.cards import read_card
from answering.user_images import stored_image, upright
from benchmarks.fuzz.kinds import Found, Kind
from commands.chunks import chunks, rows_about
from commands.export import Target, export
from deixis.batches.features import FeatureStore, extract
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.checkpoints import save_checkpoint
from deixis.core.config import read_section
from deixis.core.progress import quietly
from deixis.core.published import read_tensors
from deixis.core.records import read_table
from deixis.core.run_lists import RunParams
from deixis.cues.cache import CacheConfig, CachedCues
from deixis.cues.reading import read_cues
from deixis.datasets.pairs.settings import PairsConfig
from deixis.imaging.decoding import open_image, open_upright
from deixis.imaging.masks import encode_mask
from deixis.labelling.labels import iterate_labels
from deixis.weights.cards import CARDS, read_cards
from models.loading.teachers import load_teacher
from models.teachers.refclip import RefCLIP, RefCLIPConfig
from models.text.gru_attention import TextConfig

ROOT = Path(__file__).parents[2]
SIZE = 12, 9
TEXT = TextConfig(length=4, word_width=4, width=8, heads=2, feedforward=8, layers=1, pool_hidden=4)
TEACHER = {"detector_channels": (8, 4, 4), "fused_width": 8, "joint_width": 4, "keep_fraction": 0.3, "text": TEXT}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "ball", "red"]
FORMS: dict[str, tuple[str, dict[str, Any]]] = {  # mode and options of an image, by the ending of its name
    "grey.png": ("L", {}), "clear.png": ("RGBA", {}), "deep.png": ("I;16", {}), "few.png": ("P", {"transparency": 1}),
    "a.jpg": ("RGB", {}), "print.jpg": ("CMYK", {}), "a.webp": ("RGBA", {}), "a.tif": ("RGB", {}),
    "packed.tif": ("RGBA", {"compression": "tiff_lzw"}), "a.gif": ("P", {}), "a.bmp": ("RGB", {}), "a.ppm": ("RGB", {}),
    "a.jp2": ("RGB", {}),
}  # fmt: skip


def others() -> Iterator[Kind]:
    """Every kind but annotations."""
    for name in FORMS:
        yield Kind(f"images: {name}", partial(_write_image, name=name), name, _read_images)
    yield Kind("params: run", _write_params, "params.yaml", _section("run", RunParams))
    yield Kind("params: dataset", _write_params, "params.yaml", _section("datasets.own", PairsConfig))
    yield Kind("tables: pairs", _write_pairs, "pairs.parquet", _read_pairs)
    yield Kind("tables: images", _write_images_table, "images.parquet", _read_images_table)
    yield Kind("tables: features", _write_features, "store/*", _read_features)
    yield Kind("checkpoints: weights", _write_teacher, "model.safetensors", _read_teacher)
    yield Kind("checkpoints: card", _write_teacher, "config.json", _read_teacher)
    yield Kind("cards: published", _write_cards, "*.yaml", _read_cards)
    for name, write in WEIGHTS.items():
        yield Kind(f"weights: {name}", partial(_write_weights, name=name, write=write), name, _read_weights)
    yield Kind("cues: lines", _write_cues, "cues.jsonl", _read_cues)
    yield Kind("cues: folder", _write_cue_folder, "*.json", _read_cue_folder)
    for target in get_args(Target):
        for table in ("labels.parquet", "images.parquet"):
            yield Kind(f"export: {target}, {table}", write_labels, table, partial(_export, target=target))


def _write_image(folder: Path, *, name: str) -> None:
    mode, options = FORMS[name][0], dict(FORMS[name][1])
    levels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    image = Image.fromarray(levels, "RGBA")
    image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert("RGB")
    image = image if mode == "I;16" else image.convert(mode)
    if not name.endswith((".bmp", ".ppm", ".jp2", ".gif")):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    image.save(folder / name, **options)


def _read_images(folder: Path) -> Found:
    for path in sorted(folder.glob("*.*")):
        open_image(path)
        open_upright(path)
        stored_image(path, folder)
        with path.open("rb") as stream:
            try:
                opened = Image.open(stream)
            except Exception:  # Pillow's own words to a user who opens an image: not ours to mend
                return set()
            upright(opened)
    return set()


def _write_params(folder: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    run = text[text.index("run:") : text.index("\n\n", text.index("run:"))]
    (folder / "params.yaml").write_text(
        f"{run}\ndatasets:\n  own:\n    adapter: pairs\n    licence: CC0\n    val_share: 0.5\n"
        "    splits: {dev: val}\n    fields: &fields {text: caption}\n    long_text: 20\n"
    )


def _section(name: str, kind: type) -> Callable[[Path], Found]:
    def read(folder: Path) -> Found:
        json.dumps(repr(read_section(folder / "params.yaml", name, kind)).encode().decode())
        return set()

    return read


def _write_pairs(folder: Path) -> None:
    rows = [(f"s/{n}", n, f"ball {n}", f"ball {n}", "train", n) for n in range(6)]
    pd.DataFrame(rows, columns=[*PAIR_COLUMNS, "ref_id"]).to_parquet(folder / "pairs.parquet", index=False)


def _read_pairs(folder: Path) -> Found:
    read_table(folder / "pairs.parquet", columns=PAIR_COLUMNS, optional=("ref_id",), made_by="prepare")
    list(chunks(folder / "pairs.parquet", PAIR_COLUMNS))
    return set()


def _write_images_table(folder: Path) -> None:
    rows = [(n, f"{n}.png", "0" * 64, *SIZE, "CC0") for n in range(6)]
    columns = ["image_id", "path", "sha256", "width", "height", "licence"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "images.parquet", index=False)


def _read_images_table(folder: Path) -> Found:
    columns = ("image_id", "path", "width", "height")
    read_table(folder / "images.parquet", columns=columns, optional=("licence",), made_by="prepare")
    rows_about(folder / "images.parquet", [0, 1], columns)
    return set()


def _write_features(folder: Path) -> None:
    arrays = {"map": np.ones((1, 4, 2, 2), np.float16), "boxes": np.ones((1, 4, 7), np.float32)}

    def encode(ids: Any) -> dict[str, np.ndarray]:
        return {name: np.repeat(array, len(ids), 0) for name, array in arrays.items()}

    extract([1, 2, 3], encode, scratch=folder / "scratch", out=folder / "store", meta={}, batch_size=2)


def _read_features(folder: Path) -> Found:
    store = FeatureStore(folder / "store")
    store.read("map", [1, 3])
    store.read("boxes", [2])
    store.verify()
    return set()


def _write_teacher(folder: Path) -> None:
    torch.manual_seed(0)
    model = RefCLIP(RefCLIPConfig(**TEACHER), WORDS)
    card = {"teacher": "refclip", "model": TEACHER | {"text": vars(TEXT)}, "vocabulary": WORDS}
    save_checkpoint(model, folder, config=card)


def _read_teacher(folder: Path) -> Found:
    read_card(folder)
    load_teacher(folder, torch.device("cpu"))
    return set()


def _write_cards(folder: Path) -> None:
    for path in sorted(CARDS.glob("*.yaml"))[:2]:
        (folder / path.name).write_bytes(path.read_bytes())


def _read_cards(folder: Path) -> Found:
    read_cards(folder)
    return set()


def _write_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path)


def _write_legacy(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


class RunsCode:
    """Makes a folder where it is unpickled as whatever it says."""

    def __reduce__(self) -> tuple[Any, ...]:
        """What a pickle calls."""
        import os

        return os.mkdir, (CANARY,)


CANARY = "code-was-run"  # in the working directory


def _write_hostile(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": tensors | {"b": RunsCode()}}, 2))


def _write_hostile_zip(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save({"state_dict": tensors, "hook": RunsCode()}, path)


WEIGHTS: dict[str, Callable[[dict[str, torch.Tensor], Path], None]] = {
    "a.safetensors": _write_safetensors,
    "a.pt": torch.save,
    "legacy.pth": _write_legacy,
    "hostile.pkl": _write_hostile,
    "hostile.ckpt": _write_hostile_zip,
}


def _write_weights(folder: Path, *, name: str, write: Callable[[dict[str, torch.Tensor], Path], None]) -> None:
    write({"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3, dtype=torch.float16)}, folder / name)


def _read_weights(folder: Path) -> Found:
    for path in sorted(folder.iterdir()):
        read_tensors(path)
    return set()


def _write_cues(folder: Path) -> None:
    records = [{"text": f"ball {n}", "cues": [f"ball {n}", "ball"], "source": "rule"} for n in range(6)]
    (folder / "cues.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _read_cues(folder: Path) -> Found:
    read_cues(folder / "cues.jsonl")
    CachedCues(CacheConfig(folder / "cues.jsonl"))
    return set()


def _write_cue_folder(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.json").write_text(json.dumps({str(number): ["ball", "red ball"], "9": []}))


def _read_cue_folder(folder: Path) -> Found:
    CachedCues(CacheConfig(folder))
    return set()


def write_labels(folder: Path) -> None:
    """labels.parquet, and images.parquet of its images."""
    _write_images_table(folder)
    pixels = np.zeros((9, 12), bool)
    pixels[2:5, 3:7] = True
    fixed = {"split": "train", "score": 1.5, "margin": 0.5, "accept": True, "reason": "", "mask": encode_mask(pixels)}
    fixed |= {"mask_source": "segmenter", "teacher": "dvin", "checkpoint_sha256": "0" * 64, "config_sha256": "1" * 64}
    rows = [
        {"sample_id": f"s/{n}", "image_id": n, "expression": f"ball {n}", "box": [1.0, 2, 7.5, 8]} for n in range(6)
    ]
    pd.DataFrame([row | fixed for row in rows]).to_parquet(folder / "labels.parquet", index=False)


def _export(folder: Path, *, target: Target) -> Found:
    with quietly():
        export(folder / "labels.parquet", to=target, images=folder / "images.parquet", out=folder / "out")
    for label in iterate_labels(folder / "labels.parquet"):
        assert label.sample_id is not None
    return set()
