"""`deixis export-model`: a trained student for other runtimes and for model hubs."""

import shutil
from pathlib import Path
from typing import Any, Literal

from answering.cards import read_card
from commands.export import write_folder
from deixis.core.progress import say
from deixis.core.records import described_file, write_json


def export_model(
    model: Path, *, to: Literal["onnx", "safetensors"], out: Path, reports: Path = Path("reports")
) -> None:
    """Write a trained student as an ONNX graph or as safetensors, with a model card.

    Args:
        model: Folder of a trained student: data/students/<dataset>/<name>.
        to: onnx: model.onnx and model.json, which says what a runtime must do round it; safetensors: the checkpoint.
        out: A new folder; it appears whole or not at all.
        reports: Where the card finds the student's figures.
    """
    card = read_card(model, roles=("student",))
    described_file(model, made_by="train_student")
    write_folder(out, lambda folder: _write(model, card, to, folder, reports))
    say(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write(model: Path, card: dict[str, Any], to: str, folder: Path, reports: Path) -> None:
    import torch  # seconds, which `--help` need not wait for

    from models.exporting.model_card import image_licences, model_card
    from models.exporting.onnx_graph import export_onnx
    from models.loading.students import load_student

    student = load_student(model, torch.device("cpu"))  # strictly: an export of what cannot be loaded helps nobody
    where = model.resolve()
    dataset, predictor = where.parent.name, where.name
    if to == "onnx":
        write_json(export_onnx(student, card["student"], folder / "model.onnx"), folder / "model.json")
    else:
        for name in ("model.safetensors", "config.json"):
            shutil.copyfile(model / name, folder / name)
    licences = image_licences(where.parents[2] / "prepared" / dataset / "images.parquet")
    text = model_card(reports, card=card, dataset=dataset, predictor=predictor, licences=licences)
    (folder / "README.md").write_text(text, encoding="utf-8")
