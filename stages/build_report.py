"""One self-contained page from the metrics and the per-expression files; tables and the README's figure beside it.

reads   reports/metrics, reports/samples, reports/speed, reports/plots, leakage.json, published.csv (what the papers
        report), images; params: run
writes  report.html, tables/, example.png
run     dvc repro build_report
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.records import read_json, read_table, write_atomically
from deixis.core.run_lists import RunParams
from deixis.imaging.decoding import open_image
from deixis.imaging.draw import STUDENT, TEACHER, TRUTH, data_uri, overlay, panel
from deixis.imaging.masks import decode_mask
from deixis.measuring.charts import coverage_chart, curves_chart, usage_chart
from deixis.measuring.metrics import THRESHOLD
from deixis.measuring.page import render_page
from deixis.measuring.report_tables import (
    NOTES,
    facts_table,
    group_table,
    markdown,
    published_scores,
    results_table,
    speed_table,
    split_tables,
)

GALLERY = 8  # images per row of the gallery: hits, then misses
TEMPLATE = Path(__file__).with_name("report.html.jinja")


def build_report(
    *,
    metrics: Path,
    samples: Path,
    speed: Path,
    curves: Path,
    leakage: Path,
    prepared: Path,
    raw: Path,
    published: Path,
    out: Path,
    params: Path = Path("params.yaml"),
) -> None:
    """Build the report from what the evaluation stages wrote."""
    run = read_section(params, "run", RunParams)
    exposures = read_json(leakage, made_by="check_leakage")
    sections, tables = [], []
    for dataset in run.datasets:
        scores = {
            name: read_json(metrics / dataset / f"{name}.json", made_by="evaluate_teacher")
            for name in run.predictors(dataset)
        }
        results = results_table(scores, published_scores(published, dataset), exposures[dataset])
        tables.append(f"## {dataset}\n\n{markdown(results)}\n")
        sections.append(
            {"dataset": dataset}
            | numbers(scores, results)
            | reference(dataset, run, metrics=metrics, speed=speed)
            | {
                "curves": curves_chart({name: curves / dataset / f"{name}.csv" for name in trained(dataset, run)}),
                "gallery": gallery(dataset, run, samples, prepared, raw),
                "quarantined": len(pd.read_parquet(prepared / dataset / "quarantine.parquet")),
            }
        )
    html = render_page(TEMPLATE, sections=sections, leakage=leakage_rows(exposures))
    write_atomically(out / "report.html", lambda path: path.write_text(html, encoding="utf-8"))
    text = "# Results\n\n" + "\n".join(tables)
    write_atomically(out / "tables" / "results.md", lambda path: path.write_text(text, encoding="utf-8"))
    figure = example(run, samples, prepared, raw)
    write_atomically(out / "example.png", lambda path: figure.save(path, "PNG", optimize=True))


def trained(dataset: str, run: RunParams) -> list[str]:
    """Predictors that have curves of their own: labels that were made of another's have none."""
    return [name for name in run.predictors(dataset) if name not in run.relabelled]


def numbers(scores: dict[str, Any], results: pd.DataFrame) -> dict[str, Any]:
    """What a section of the page shows of the metrics."""
    facts = facts_table(scores)
    return {
        "splits": split_tables(results),
        "groups": group_table(scores).to_html(index=False, border=0),
        "usage": usage_chart({name: score["meta"].get("expert_usage") for name, score in scores.items()}),
        "coverage": coverage_chart(coverage_curves(scores)),
        "facts": facts.to_html(index=False, border=0),
        "notes": {title: note for title, note in NOTES.items() if title in {*results, *facts}},
    }


def reference(dataset: str, run: RunParams, *, metrics: Path, speed: Path) -> dict[str, Any]:
    """What is measured on reference datasets alone: how good the segmenter's masks are, and how long answers take."""
    if dataset not in run.reference_datasets:
        return {"segmenter": {}, "speed": ""}
    return {
        "segmenter": read_json(metrics / dataset / "segmenter.json", made_by="evaluate_segmenter"),
        "speed": speed_table(speed / dataset, run.timed(dataset)),
    }


def coverage_curves(scores: dict[str, Any]) -> dict[str, dict[str, float] | None]:
    """On val, by predictor; one whose answers have a confidence is ordered by that, and named so."""
    titles = {name: f"{name}, by confidence" if "calibration_error" in s["val"] else name for name, s in scores.items()}
    return {titles[name]: score["val"].get("coverage") for name, score in scores.items()}


def leakage_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per dataset, split and frozen model."""
    return [
        {"dataset": dataset, "split": split, "model": model} | facts
        for dataset, splits in report.items()
        for split, models in splits.items()
        for model, facts in models.items()
    ]


def gallery(dataset: str, run: RunParams, samples: Path, prepared: Path, raw: Path) -> list[dict[str, Any]]:
    """Hits and misses of the first student (or teacher) on val: phrase, both boxes, the mask, and truth."""
    joined = joined_samples(dataset, run, samples)
    if joined.empty:
        return []
    has_student = len(shown_predictors(run)) > 1
    hit = joined["iou"] > THRESHOLD
    cards = []
    for kind, group in (("hit", joined[hit]), ("miss", joined[~hit])):
        spread = np.linspace(0, len(group) - 1, min(GALLERY, len(group))).astype(int)
        for row in group.iloc[spread].itertuples():
            image = overlay(
                load_pixels(dataset, row.image_id, prepared, raw),
                boxes=[
                    (row.true_box, TRUTH),
                    (row.teacher_box, TEACHER),
                    *([(row.box, STUDENT)] if has_student else []),
                ],
                mask=decode_mask(row.mask) if row.mask is not None else None,
            )
            cards.append({"kind": kind, "phrase": row.expression, "iou": f"{row.iou:.2f}", "image": data_uri(image)})
    return cards


def shown_predictors(run: RunParams) -> list[str]:
    """The first teacher and its first student, or a teacher alone where no student learns."""
    if run.student_teachers and run.students:
        return [run.student_teachers[0], f"{run.student_teachers[0]}-{run.students[0]}"]
    return [*run.student_teachers, *run.teachers, *run.map_teachers][:1]


def joined_samples(dataset: str, run: RunParams, samples: Path) -> pd.DataFrame:
    """Val expressions with the shown predictor's answer and the teacher's box."""
    columns = ("sample_id", "image_id", "expression", "split", "box", "true_box", "mask", "iou")
    teacher, *students = shown_predictors(run)
    shown = students[0] if students else teacher
    answered = read_table(samples / dataset / f"{shown}.parquet", columns=columns, made_by="evaluate_student")
    taught = read_table(
        samples / dataset / f"{teacher}.parquet", columns=("sample_id", "box", "iou"), made_by="evaluate_teacher"
    )
    taught = taught.rename(columns={"box": "teacher_box", "iou": "teacher_iou"})
    return answered[answered["split"] == "val"].merge(taught, on="sample_id").sort_values("sample_id")


def example(run: RunParams, samples: Path, prepared: Path, raw: Path) -> Any:
    """The README's figure: image, teacher's box, student's box and mask, for one phrase that both answer well."""
    dataset = run.datasets[-1]
    joined = joined_samples(dataset, run, samples)
    best = joined.assign(both=joined[["iou", "teacher_iou"]].min(axis=1), words=joined["expression"].str.count(" "))
    row = next(best.sort_values(["words", "both"], ascending=False).query("both > 0.8").itertuples(), None)
    row = row or next(best.sort_values("both", ascending=False).itertuples())
    pixels = load_pixels(dataset, row.image_id, prepared, raw)
    mask = decode_mask(row.mask) if row.mask is not None else None
    columns = [
        ("the image", overlay(pixels, boxes=[])),
        ("the teacher's box", overlay(pixels, boxes=[(row.teacher_box, TEACHER)])),
    ]
    if len(shown_predictors(run)) > 1:
        columns.append(("the student's box and mask", overlay(pixels, boxes=[(row.box, STUDENT)], mask=mask)))
    return panel(columns, title=f"“{row.expression}”")


def load_pixels(dataset: str, image_id: int, prepared: Path, raw: Path) -> np.ndarray:
    """The stored image."""
    table = read_table(prepared / dataset / "images.parquet", columns=("image_id", "path"), made_by="prepare")
    path = table.set_index("image_id").at[image_id, "path"]
    return np.asarray(open_image(raw / dataset / "images" / path))


if __name__ == "__main__":
    run_stage(build_report)
