"""README.md of a trained student, with the header that model hubs read."""

from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from deixis.core.records import read_json, read_table

METRICS = {
    "acc50": "share of boxes with IoU > 0.5",
    "miou_box": "mean IoU of boxes",
    "miou": "mean IoU of masks, the segmenter's where the student draws none",
}
TASK = "referring-expression-comprehension"


def model_card(reports: Path, *, card: dict[str, Any], dataset: str, predictor: str, licences: list[str]) -> str:
    """The text of the card.

    Args:
        reports: Their folder; figures are told where it has them.
        card: config.json of the checkpoint.
        licences: Of the training images, as their data set names them.
    """
    metrics_file = reports / "metrics" / dataset / f"{predictor}.json"
    metrics = read_json(metrics_file, made_by="evaluate_student") if metrics_file.exists() else {}
    splits = {name: values for name, values in metrics.items() if "acc50" in values}
    header = ModelCardData(
        model_name=predictor,
        license=licences[0].lower() if len(licences) == 1 else "other" if licences else "unknown",
        library_name="deixis",
        tags=[TASK, "pseudo-labels", card["student"]],
        datasets=[dataset],
        eval_results=_results(splits, dataset) or None,
    )
    return f"---\n{header.to_yaml()}\n---\n\n{_body(card, dataset, predictor, licences, splits)}"


def image_licences(images: Path) -> list[str]:
    """The licences of the images of a data set, each once; none where the table is not there."""
    if not images.exists():
        return []
    named = read_table(images, columns=("image_id",), optional=("licence",), made_by="prepare")
    return sorted(named.get("licence", pd.Series(dtype=object)).dropna().unique())


def _results(splits: dict[str, Any], dataset: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=split,
            metric_type=metric,
            metric_name=METRICS[metric],
            metric_value=values[metric],
        )
        for split, values in splits.items()
        for metric in METRICS
        if metric in values
    ]


def _body(card: dict[str, Any], dataset: str, predictor: str, licences: list[str], splits: dict[str, Any]) -> str:
    teacher, *decisions = card["supervision"].split(", and ")
    drawn = f", and {decisions[0]}" if decisions else "; no person drew them"
    taught = "true boxes" if teacher == "truth" else f"pseudo-labels of the teacher `{teacher}`{drawn}"
    facts = {
        "answers": "a box, or a box and a mask, for an image and a phrase that names one thing in it",
        "student": f"`{card['student']}`, {card['num_parameters']:,} parameters",
        "trained on": f"`{dataset}`, with {taught}",
        "licence of its images": ", ".join(licences) or "not recorded",
        "checkpoint chosen": card["selection"],
        "seed": card["seed"],
        "SHA-256 of the weights": f"`{card['sha256']}`",
    }
    lines = [f"# {predictor}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    if not splits:
        return "\n".join([*lines, "Not evaluated: no metrics of it are among the reports.", ""])
    shown = [metric for metric in METRICS if any(metric in values for values in splits.values())]
    lines += [
        f"| split | phrases | {' | '.join(METRICS[metric] for metric in shown)} | exposure |",
        "|---" * (len(shown) + 3) + "|",
    ]
    for split, values in splits.items():
        cells = [_with_interval(values, metric) for metric in shown]
        lines.append(f"| {split} | {values['n']} | {' | '.join(cells)} | {values.get('exposure', 'not checked')} |")
    lines += ["", "Exposure: how much of the split the frozen models may have seen. In brackets: 95 % by images.", ""]
    return "\n".join(lines)


def _with_interval(values: dict[str, Any], metric: str) -> str:
    if metric not in values:
        return "-"
    if f"{metric}_lo" not in values:
        return f"{values[metric]:.3f}"
    return f"{values[metric]:.3f} ({values[f'{metric}_lo']:.3f} to {values[f'{metric}_hi']:.3f})"
