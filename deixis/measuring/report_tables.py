"""Tables of the report: our rows, the papers' beside them, groups, times, and the facts beside every number."""

from pathlib import Path
from typing import Any

import pandas as pd

from deixis.core.records import read_json
from deixis.measuring.metrics import CARD_FACTS, SPLITS
from deixis.weights.exposure import worst

METRICS = {  # and their titles
    "acc50": "Acc@0.5",
    "acc50_match": "match alone",
    "acc50_any": "any box",
    "acc50_map_box": "box at the peak",
    "miou_box": "box mIoU",
    "miou": "mask mIoU",
    "point_in_mask": "PointM",
    "point_in_box": "PointIt",
    "miou_map": "mIoU of maps",
    "miou_proposal": "mIoU of proposals",
    "miou_prompted": "mIoU of prompts",
    "oiou": "mask oIoU",
    "inconsistency": "inconsistency",
}
NOTES = {  # on columns that not every dataset has
    "any box": "Acc@0.5 of the best of several boxes, as response maps are scored",
    "box at the peak": "Acc@0.5 of the box of that part of a response map which holds its peak",
    "PointIt": "how often the point lies in the true box",
    "inconsistency": "how often one of box and mask reaches 0.5 and the other does not",
    "refused": "labels that the teacher's rules refuse, of all splits, by reason",
    "unanswered": "phrases without a prediction, which count as misses",
} | CARD_FACTS
FACTS = ("supervision", "num_parameters", "selection", "effective_ema_decay", "seed")


def published_scores(path: Path, dataset: str) -> pd.DataFrame:
    """What papers and releases report on one dataset, in percent: split, predictor, metric, value."""
    table = pd.read_csv(path).query("dataset == @dataset")
    table = table.assign(predictor=table["predictor"] + ": " + table["source"])
    return table.melt(["predictor", "metric"], SPLITS, var_name="split").dropna(subset="value")


def results_table(scores: dict[str, Any], published: pd.DataFrame, exposures: dict[str, Any]) -> pd.DataFrame:
    """One row per split and predictor, ours with intervals and then the papers', percent.

    `exposures` is what check_leakage says of each split of the dataset.
    """
    rows, titles = [], metric_titles(scores)
    for split in SPLITS:
        for name, score in scores.items():
            if split in score:
                part = score[split]
                shown = {"split": split, "predictor": name, "n": part["n"]}
                for metric, title in titles.items():
                    if metric in part:
                        low, high = part[f"{metric}_lo"], part[f"{metric}_hi"]
                        shown[title] = f"{100 * part[metric]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
                shown |= {
                    "random cell": f"{100 * part['floor_random']:.1f}",
                    "most confident cell": f"{100 * part['floor_confident']:.1f}",
                    "whole image": f"{100 * part['floor_whole']:.1f}",
                    "oracle candidate": f"{100 * part['ceiling']:.1f}",
                    "exposure": f"{part['exposure']} ({worst(exposures[split].values())['basis']})",
                }
                if "candidates" in score.get("meta", {}):
                    shown["candidates"] = score["meta"]["candidates"]
                rows.append(shown)
        for source, group in published[published["split"] == split].groupby("predictor", sort=False):
            values = {METRICS[row.metric]: f"{row.value:.1f}" for row in group.itertuples()}
            rows.append({"split": split, "predictor": source} | values)
    return pd.DataFrame(rows).fillna("")  # not every predictor has every score


def metric_titles(scores: dict[str, Any]) -> dict[str, str]:
    """Titles of the metrics to show of a dataset.

    Whoever answers with a mask has PointIt and inconsistency. The papers report the one of response maps and the other
    of students that learn both boxes and masks; so they are shown where there are such.
    """
    has_maps = any("acc50_any" in part for score in scores.values() for part in score.values())
    learns_masks = any("labels_without_mask" in score.get("meta", {}) for score in scores.values())
    shown = {"point_in_box": has_maps, "inconsistency": learns_masks}
    return {metric: title for metric, title in METRICS.items() if shown.get(metric, True)}


def split_tables(results: pd.DataFrame) -> dict[str, str]:
    """HTML per split."""
    return {
        str(split): group.drop(columns="split").to_html(index=False, border=0)
        for split, group in results.groupby("split", sort=False)
    }


def group_table(scores: dict[str, Any]) -> pd.DataFrame:
    """Acc@0.5 on val by difficulty group."""
    rows = []
    for name, score in scores.items():
        groups = score["val"]["groups"]
        rows.append({"predictor": name} | {f"{g} (n = {v['n']})": f"{100 * v['acc50']:.1f}" for g, v in groups.items()})
    return pd.DataFrame(rows)


def speed_table(folder: Path, names: list[str]) -> str:
    """Milliseconds per phrase, median, by part of the work."""
    rows = []
    for name in names:
        timing = read_json(folder / f"{name}.json", made_by="measure_speed")
        parts = {part: f"{value['median']:.1f}" for part, value in timing["milliseconds"].items()}
        rows.append({"predictor": name} | parts | {"device": timing["device"], "threads": timing["threads"]})
    return pd.DataFrame(rows).fillna("").to_html(index=False, border=0)


def facts_table(scores: dict[str, Any]) -> pd.DataFrame:
    """What belongs beside every number, and what was counted, where there is a predictor that has some of it."""
    counted = {name: counted_facts(score) for name, score in scores.items()}
    titles = [title for title in ("refused", "unanswered", *CARD_FACTS) if any(title in c for c in counted.values())]
    return pd.DataFrame(
        [
            {"predictor": name}
            | {fact: score["meta"][fact] for fact in FACTS}
            | {title: counted[name].get(title, "") for title in titles}
            for name, score in scores.items()
        ]
    )


def counted_facts(score: dict[str, Any]) -> dict[str, Any]:
    """What a predictor's card and its answers have counted."""
    facts = {name: score["meta"][name] for name in CARD_FACTS if name in score["meta"]}
    if refused := score["meta"].get("refused"):
        facts["refused"] = ", ".join(f"{count} {reason}" for reason, count in refused.items())
    if unanswered := sum(score[split]["unanswered"] for split in SPLITS if split in score):
        facts["unanswered"] = unanswered
    return facts


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [
        "| " + " | ".join(map(str, row)) + " |" for row in [table.columns, *table.fillna("").itertuples(index=False)]
    ]
    return "\n".join([lines[0], "|" + " --- |" * len(table.columns), *lines[1:]])
