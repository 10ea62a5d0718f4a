"""Files that come back from labelling tools, and the tables that they are about."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.fuzz.kinds import Found, Kind
from benchmarks.fuzz.readers import write_labels
from commands.export import export
from commands.take_decisions import Format, take_decisions

FILES: dict[Format, str] = {
    "coco": "annotations.json", "label-studio": "tasks.json", "cvat": "annotations.xml", "fiftyone": "samples.json",
    "yolo": "boxes/rows.json", "parquet": "labels.parquet",
}  # fmt: skip


def returned() -> Iterator[Kind]:
    """Every format, and each table."""
    for form, file in FILES.items():
        make, read = partial(_write, form=form), partial(_take, form=form)
        yield Kind(f"returned: {form}", make, f"out/{file}", read)
    yield Kind(
        "returned: yolo, rows", partial(_write, form="yolo"), "out/boxes/labels/*.txt", partial(_take, form="yolo")
    )
    for table in ("labels.parquet", "images.parquet"):
        yield Kind(f"returned: {table}", partial(_write, form="coco"), table, partial(_take, form="coco"))


def _write(folder: Path, *, form: Format) -> None:
    write_labels(folder)
    table = pd.read_parquet(folder / "labels.parquet")
    table.assign(schema_version=1, runner_up=table["box"]).to_parquet(folder / "labels.parquet")
    export(folder / "labels.parquet", to=form, images=folder / "images.parquet", out=folder / "out")
    if form == "label-studio":
        tasks = json.loads((folder / "out/tasks.json").read_text())
        for task in tasks:
            result = task["predictions"][0]["result"]
            task["annotations"] = [{"id": 1, "result": result, "updated_at": "2026-11-30T12:00:00Z"}]
        (folder / "out/tasks.json").write_text(json.dumps(tasks))


def _take(folder: Path, *, form: Format) -> Found:
    labels, images = folder / "labels.parquet", folder / "images.parquet"
    take_decisions(folder / "out", from_=form, labels=labels, images=images, decisions=folder / "log.sqlite", who="ann")
    return set()
