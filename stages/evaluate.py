"""Score one predictor against the withheld truth: the only reader of truth beside the upper bound.

reads   the predictor's answers and card, detections.parquet, pairs.parquet, truth.parquet, images.parquet,
        objects.parquet (of predictors that chose among annotated boxes), leakage.json; params: seed, evaluation
writes  the metrics of every split, the few of them that a reviewer reads first, and one row per expression
run     dvc repro evaluate_teacher@scenes-dvin
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.errors import DataError
from deixis.core.long_tables import rows_where
from deixis.core.records import read_json, read_table, write_json, write_table
from deixis.imaging.masks import decode_mask, mask_overlap
from deixis.measuring.difficulty import difficulty
from deixis.measuring.headlines import headlines
from deixis.measuring.metrics import CARD_FACTS, OTHER_MASKS, THRESHOLD, box_array, box_iou, summarise
from deixis.weights.exposure import worst

MASK_COLUMNS = tuple(f"{name}_mask" for name in OTHER_MASKS)
BOX_COLUMNS = ("box", "match_box", "map_box")
PREDICTED_BY = "segment_boxes or predict_student"
NOWHERE = (-1, -1)  # a point outside of every image


@dataclass(frozen=True, config=STRICT)
class EvaluationParams:
    """The `evaluation` section."""

    resamples: int = 1000  # of the bootstrap over images


def evaluate(
    *,
    predictions: Path,
    candidates: Path,
    card: Path,
    prepared: Path,
    leakage: Path,
    out: Path,
    samples_out: Path,
    headlines_out: Path | None = None,
    params: Path = Path("params.yaml"),
) -> None:
    """Score one predictor against the withheld truth.

    Args:
        candidates: The detector's boxes, which give the floors and the ceiling; a predictor that chose among annotated
            boxes is compared with those instead.
        prepared: The dataset's tables.
        headlines_out: Where DVC's metrics go; by default they are not written.
    """
    config = read_section(params, "evaluation", EvaluationParams)
    seed = read_section(params, "seed", int)
    facts = read_json(card, made_by="the predictor's training stage")
    if facts.get("candidates") == "annotations":
        candidates = prepared / "objects.parquet"
    samples = join_truth(predictions, prepared / "pairs.parquet", prepared / "truth.parquet")
    samples = with_scores(samples, candidates, prepared / "images.parquet")
    exposure = read_json(leakage, made_by="check_leakage")[prepared.name]
    report: dict[str, Any] = {
        split: summarise(group, resamples=config.resamples, seed=seed)
        | {"exposure": worst(exposure[split].values())["level"]}
        for split, group in samples.groupby("split")
    }
    report["meta"] = describe(facts, predictions, seed)
    write_json(report, out)
    if headlines_out is not None:
        write_json(headlines(report), headlines_out)
    write_table(samples.drop(columns=["text"]), samples_out)


def join_truth(predictions: Path, pairs: Path, truth: Path) -> pd.DataFrame:
    """Evaluation pairs with truth and prediction.

    An expression without a prediction has no mask, no boxes, and a box and a point that never hit; `answered` says so.
    """
    columns = ("sample_id", "image_id", "expression", "text", "split")
    table = rows_where(pairs, columns, lambda rows: rows["split"] != "train", made_by="prepare")
    asked = set(table["sample_id"])

    def is_asked(rows: pd.DataFrame) -> pd.Series:
        return rows["sample_id"].isin(asked)

    known = rows_where(truth, ("sample_id", "box", "mask"), is_asked, made_by="prepare")
    known = known.rename(columns={"box": "true_box", "mask": "true_mask"})
    predicted = rows_where(
        predictions,
        ("sample_id", "box", "mask", "score"),
        is_asked,
        optional=("margin", "confidence", *BOX_COLUMNS[1:], "boxes", "point", *MASK_COLUMNS),
        made_by=PREDICTED_BY,
    )
    samples = table.merge(known, on="sample_id", how="left", validate="one_to_one")
    if samples["true_box"].isna().any():
        missing = samples.loc[samples["true_box"].isna(), "sample_id"].iloc[0]
        raise DataError(f"{truth}: no truth for {missing}. Run: dvc repro -f prepare")
    samples = samples.merge(predicted, on="sample_id", how="left", validate="one_to_one")
    samples["answered"] = samples["sample_id"].isin(predicted["sample_id"])
    return with_nothing_where_unanswered(samples)


def with_nothing_where_unanswered(samples: pd.DataFrame) -> pd.DataFrame:
    """What stands for the answer where there is none: boxes and points that never hit, no mask."""
    nothing: dict[str, Any] = dict.fromkeys(BOX_COLUMNS, np.full(4, np.nan))
    nothing |= {"boxes": [], "point": NOWHERE} | dict.fromkeys(("mask", *MASK_COLUMNS))
    for column in nothing.keys() & set(samples):
        absent = samples[column].isna()
        filled = [nothing[column] if lacks else value for value, lacks in zip(samples[column], absent, strict=True)]
        samples[column] = pd.Series(filled, index=samples.index, dtype=object)
    return samples


def with_scores(samples: pd.DataFrame, candidates: Path, images: Path) -> pd.DataFrame:
    """The rows of `join_truth` with every score that the metrics are derived from."""
    samples = samples.join(reference_scores(samples, candidates, images))
    true_boxes = box_array(samples["true_box"])
    samples["iou"] = box_iou(box_array(samples["box"]), true_boxes)
    for name, column in (("match", "match_box"), ("map_box", "map_box")):
        if column in samples:
            samples[f"iou_{name}"] = box_iou(box_array(samples[column]), true_boxes)
    if "boxes" in samples:
        samples["iou_any"] = [
            best_iou(boxes, true_box) for boxes, true_box in zip(samples["boxes"], samples["true_box"], strict=True)
        ]
    samples["group"] = samples["text"].map(difficulty)
    if samples["mask"].notna().any() or "point" in samples:  # whoever answers with masks or points
        samples = samples.join(mask_scores(samples))
    return samples


def reference_scores(samples: pd.DataFrame, candidates: Path, images: Path) -> pd.DataFrame:
    """What answering without reading scores, and what the oracle candidate does: per expression, in [0, 1]."""
    boxes_of = read_table(candidates, columns=("image_id", "boxes"), made_by="list_candidates").set_index("image_id")[
        "boxes"
    ]
    sizes = read_table(images, columns=("image_id", "width", "height"), made_by="prepare").set_index("image_id")
    rows = []
    for image_id, true_box in zip(samples["image_id"], samples["true_box"], strict=True):
        boxes = np.asarray(boxes_of[image_id]).reshape(-1, 4)
        hits = box_iou(boxes, np.broadcast_to(np.asarray(true_box), boxes.shape)) > THRESHOLD
        whole = np.array([[0, 0, sizes.at[image_id, "width"], sizes.at[image_id, "height"]]], float)
        whole_hit = box_iou(whole, np.asarray(true_box)[None])[0] > THRESHOLD
        rows.append((hits.mean(), float(hits[0]), float(whole_hit), float(hits.any())))
    return pd.DataFrame(
        rows, columns=["floor_random", "floor_confident", "floor_whole", "ceiling"], index=samples.index
    )


def mask_scores(samples: pd.DataFrame) -> pd.DataFrame:
    """Overlap in pixels, and whether the predictor's point lies in the true mask (PointM) and box (PointIt).

    Some truth is a box alone: there, only PointIt has a value.
    """
    drawn = samples[samples["true_mask"].notna()]
    points = samples["point"] if "point" in samples else samples["box"].map(middle)
    overlaps = [
        mask_overlap(predicted, true) for predicted, true in zip(drawn["mask"], drawn["true_mask"], strict=True)
    ]
    scores = pd.DataFrame(overlaps, columns=["intersection", "union"], index=drawn.index)
    for name in OTHER_MASKS:
        if f"{name}_mask" in drawn:
            predicted = [mask_overlap(*pair) for pair in zip(drawn[f"{name}_mask"], drawn["true_mask"], strict=True)]
            scores[f"mask_iou_{name}"] = [shared / max(union, 1) for shared, union in predicted]
    pairs = zip(points[drawn.index], drawn["true_mask"], strict=True)
    scores["point_in_mask"] = [point_in_mask(point, decode_mask(mask)) for point, mask in pairs]
    in_box = [point_in_box(point, box) for point, box in zip(points, samples["true_box"], strict=True)]
    return scores.reindex(samples.index).assign(point_in_box=in_box)


def middle(box: np.ndarray) -> tuple[int, int]:
    """Pixel in the middle of a box, for predictors that name no point; outside of every image where there is no box."""
    corners = np.asarray(box, float)
    if not np.isfinite(corners).all():
        return NOWHERE
    x, y = np.floor((corners[:2] + corners[2:]) / 2).astype(int)
    return int(x), int(y)


def point_in_mask(point: Sequence[int] | np.ndarray, mask: np.ndarray) -> bool:
    """Whether a pixel (x, y) lies in the mask."""
    x, y = int(point[0]), int(point[1])
    return bool(0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x])


def point_in_box(point: Sequence[int] | np.ndarray, box: Sequence[float] | np.ndarray) -> bool:
    """Whether a pixel (x, y) lies in the box cut to whole pixels, all four sides included."""
    x, y = int(point[0]), int(point[1])
    left, top = int(box[0]), int(box[1])
    right, bottom = left + int(box[2] - box[0]), top + int(box[3] - box[1])
    return x >= 0 and y >= 0 and left <= x <= right and top <= y <= bottom


def best_iou(boxes: Any, true_box: np.ndarray) -> float:
    """IoU of the best of several boxes, given as flat corners; 0 where there is none."""
    predicted = np.asarray(boxes, float).reshape(-1, 4)
    return float(box_iou(predicted, np.broadcast_to(np.asarray(true_box), predicted.shape)).max(initial=0.0))


def describe(card: dict[str, Any], predictions: Path, seed: int) -> dict[str, Any]:
    """Facts that belong beside every number."""
    meta = {
        "threshold": "IoU > 0.5, per expression, stored pixels",
        "interval": "95 %, percentile bootstrap over images",
        "selection": card.get("selection", "none: nothing is trained on this set"),
        "supervision": card.get("supervision", "image-phrase pairs"),
        "num_parameters": card["num_parameters"],
        "checkpoint_sha256": card["sha256"],
        "effective_ema_decay": round(card["training"]["last_ema_decay"], 6) if "training" in card else None,
        "seed": seed,
    }
    meta |= {"training_seed": card["seed"]} if card.get("seed") not in (None, seed) else {}
    meta |= {name: card[name] for name in CARD_FACTS if name in card}
    optional = ("accept", "reason", "supervision", "experts", "split")
    table = read_table(predictions, columns=(), optional=optional, made_by=PREDICTED_BY)
    if "reason" in table:
        refused = table.loc[~table["accept"].astype(bool), "reason"].value_counts().sort_index()
        meta |= {"refused": {str(reason): int(count) for reason, count in refused.items()}} if len(refused) else {}
    if "supervision" in table:  # labels may use more than their teacher did
        meta["supervision"] = str(table["supervision"].iloc[0])
    if "experts" in table and table["experts"].str.len().any():
        usage = table.loc[table["split"] != "train", "experts"].explode().value_counts(normalize=True).sort_index()
        meta["expert_usage"] = {str(name): round(float(share), 6) for name, share in usage.items()}
    return meta


if __name__ == "__main__":
    run_stage(evaluate)
