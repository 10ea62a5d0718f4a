"""Scores of one split, every one derived from the per-sample table, with intervals over images."""

from typing import Any

import numpy as np
import pandas as pd

THRESHOLD = 0.5  # a box hits strictly above; P@X of masks, as nearly everywhere, counts equality too
# Beside the mask that is the answer: the segmenter's at the answer's box or point; a response map above zero; the mask
# proposal with a map's highest response inside.
OTHER_MASKS = ("prompted", "map", "proposal")
SPLITS = ("val", "testA", "testB", "test")  # of evaluation, in the order in which they are shown
COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MASK_PERCENTS = (50, 60, 70, 80, 90)
DRAWS_AT_ONCE = 1 << 22  # numbers of the bootstrap in memory together

CARD_FACTS = {  # what belongs beside the numbers of those whose card has it
    "epoch": "what an epoch of training went through, where it was not every phrase",
    "candidates": "whose boxes the student chose among; numbers over annotations compare with no others",
    "labels_dropped": "labels that no candidate overlapped, so that nothing was learnt from them",
    "labels_without_mask": "labels that taught no mask",
    "masks_refused": "of those, the ones whose mask was empty or unlike the box that prompted it",
    "labels_missing": "training pairs for which there was no label, so that nothing was learnt from them",
    "human_decisions": "decisions of people that the labels hold: supervision beyond pairs",
    "labels_refused": "labels of training pairs that were refused, so that nothing was learnt from them",
    "cue_fallbacks": "phrases whose cues are the rule's, because the named source failed",
    "images_without_proposals": "training images without a mask proposal, which taught by classification alone",
}


def box_iou(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of paired corner boxes [n, 4]; 0 where a box has no area or is not finite."""
    with np.errstate(invalid="ignore"):
        low, high = np.maximum(predicted[:, :2], truth[:, :2]), np.minimum(predicted[:, 2:], truth[:, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        areas = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(1) for box in (predicted, truth)]
        union = areas[0] + areas[1] - shared
        sound = np.isfinite(predicted).all(1) & (areas[0] > 0) & (areas[1] > 0)
    return np.where(sound, shared / np.where(sound, union, 1), 0.0)


def box_array(boxes: pd.Series) -> np.ndarray:
    """Boxes of a table's column as one array, [rows, 4]."""
    return np.stack([np.asarray(box, dtype=float) for box in boxes])


def summarise(samples: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """Metrics of one split.

    Args:
        samples: One row per expression: image_id, answered, iou (box), group, floors and ceiling as hit shares; where
            masks were predicted, point_in_box and, with gaps where the truth has no mask, intersection and union in
            pixels and point_in_mask; iou_match of the
            box that matches best, before location words count; iou_any of the best of several boxes (TRIS's any-box
            rule) and iou_map_box of the one box of the map's part that holds its peak, whatever mask the answer is;
            mask_iou_<name> of the masks that stand beside the answer, see `OTHER_MASKS`; confidence in [0, 1], by which
            answers are then ordered instead of by margin.
        resamples: Bootstrap resamples; images, not expressions, are drawn.

    Returns:
        Fractions with 95 % percentile intervals (`_lo`, `_hi`), counts as integers: of expressions (`n`), those without
        a prediction, which count as misses (`unanswered`), and those whose true mask is known, over which metrics of
        masks are taken (`n_masks`).
    """
    columns, masks = _box_columns(samples), _mask_columns(samples)
    ratios = {"oiou": ("intersection", "union")} if masks else {}
    result: dict[str, Any] = {"n": len(samples), "unanswered": int((~samples["answered"]).sum())}
    result |= {"n_masks": int(samples["union"].notna().sum())} if masks else {}
    result |= {"hits": int(columns["acc50"].sum()), "images": int(samples["image_id"].nunique())}
    columns |= masks
    result |= _with_intervals(samples, columns, ratios, resamples=resamples, seed=seed)
    for name in ("floor_random", "floor_confident", "floor_whole", "ceiling"):
        result[name] = _round(samples[name].mean())
    if sureness := next((name for name in ("confidence", "margin") if name in samples), None):
        result["coverage"] = coverage_curve(columns["acc50"], samples[sureness])
    if "confidence" in samples:
        result["calibration_error"] = calibration_error(columns["acc50"], samples["confidence"])
    result["groups"] = {
        str(name): {"n": len(group), "acc50": _round((group["iou"] > THRESHOLD).mean())}
        for name, group in samples.groupby("group")
    }
    return result


def _box_columns(samples: pd.DataFrame) -> dict[str, pd.Series]:
    """What is averaged over the expressions wherever boxes were predicted."""
    columns = {"acc50": samples["iou"] > THRESHOLD, "miou_box": samples["iou"]}
    for name in ("match", "any", "map_box"):
        if f"iou_{name}" in samples:
            columns[f"acc50_{name}"] = samples[f"iou_{name}"] > THRESHOLD
    if "point_in_box" in samples:
        columns["point_in_box"] = samples["point_in_box"]
    return columns


def _mask_columns(samples: pd.DataFrame) -> dict[str, pd.Series]:
    """What is averaged over the expressions whose true mask is known; empty where there is no such mask."""
    if "union" not in samples or not (drawn := samples["union"].notna()).any():
        return {}
    overlap = mask_iou(samples)
    columns = {"miou": overlap}
    columns |= {f"p{percent}": (overlap >= percent / 100).where(drawn) for percent in MASK_PERCENTS}
    columns["inconsistency"] = ((samples["iou"] > THRESHOLD) != (overlap >= THRESHOLD)).where(drawn)
    columns["point_in_mask"] = samples["point_in_mask"]
    for name in OTHER_MASKS:
        if f"mask_iou_{name}" in samples:
            columns[f"miou_{name}"] = samples[f"mask_iou_{name}"]
    return columns


def mask_iou(samples: pd.DataFrame) -> pd.Series:
    """IoU of answered and true mask, in [0, 1]; nothing where the true mask is unknown.

    Raises:
        KeyError: If the samples have no `intersection` and `union`, in pixels.
    """
    return samples["intersection"] / samples["union"].clip(lower=1)


def coverage_curve(hits: pd.Series, sureness: pd.Series) -> dict[str, float]:
    """Acc@0.5 of the most confident part of the answers, by its share; equally sure ones keep their order."""
    ordered = hits.to_numpy()[np.argsort(-sureness.to_numpy(), kind="stable")].astype(float)
    counts = {share: max(1, round(share * len(ordered))) for share in COVERAGES}
    return {f"{share:.1f}": _round(ordered[:count].mean()) for share, count in counts.items()}


def calibration_error(hits: pd.Series, confidence: pd.Series) -> float:
    """Gap between confidence and share of hits in ten equal bins of confidence, meaned over the answers.

    Source: expected calibration error, Naeini et al., AAAI 2015. An answer without confidence has none: 0.
    """
    stated = confidence.fillna(0.0).astype(float)
    gaps = (stated - hits.astype(float)).groupby((10 * stated).astype(int).clip(upper=9)).sum().abs()
    return _round(gaps.sum() / len(stated))


def _with_intervals(
    samples: pd.DataFrame,
    columns: dict[str, pd.Series],
    ratios: dict[str, tuple[str, str]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, float]:
    """Means and ratios of sums, and the same over resampled images; gaps count for nothing."""
    per_image = _sums_per_image(samples, columns, {part for pair in ratios.values() for part in pair})
    totals = pd.DataFrame(_resampled(per_image.to_numpy(), resamples, seed=seed), columns=per_image.columns)
    whole = per_image.sum()

    result = {}
    quotients = {name: (name, f"count:{name}") for name in columns}
    quotients |= {name: (f"sum:{top}", f"sum:{bottom}") for name, (top, bottom) in ratios.items()}
    for name, (top, bottom) in quotients.items():
        drawn = totals[bottom] > 0  # a resample may hold no mask at all
        low, high = np.percentile(totals.loc[drawn, top] / totals.loc[drawn, bottom], (2.5, 97.5))
        result |= {name: _round(whole[top] / whole[bottom]), f"{name}_lo": _round(low), f"{name}_hi": _round(high)}
    return result


def _resampled(per_image: np.ndarray, resamples: int, *, seed: int) -> np.ndarray:
    """Sums over the images of each resample, [resamples, columns]; some resamples at a time, else 8 GB per million."""
    images, rng = len(per_image), np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // images)
    counts = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    shares = np.full(images, 1 / images)
    return np.concatenate([rng.multinomial(images, shares, size=count) @ per_image for count in counts])


def _sums_per_image(samples: pd.DataFrame, columns: dict[str, pd.Series], added: set[str]) -> pd.DataFrame:
    """Sums of the columns as `name`, of what is there as `count:name`, and of pixels as `sum:name`; a row per image."""
    values = pd.DataFrame({name: column.astype(float) for name, column in columns.items()})
    for name in columns:
        values[f"count:{name}"] = values[name].notna().astype(float)
    for name in added:
        values[f"sum:{name}"] = samples[name].astype(float)
    return values.groupby(samples["image_id"].to_numpy()).sum()


def _round(value: float) -> float:
    """Six digits: far below one sample, and stable across the last bits of a sum."""
    return round(float(value), 6)
