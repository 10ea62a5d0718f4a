"""What a response map's label is made of, and the stage on a small world with each setting of its own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from answering.response_maps import MapLabelParams, finish_map_labels, read_map
from deixis.batches.features import extract
from deixis.batches.samples import pack_bits
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError
from deixis.imaging.letterbox import Letterbox
from deixis.imaging.masks import decode_mask, encode_mask
from deixis.language.text import build_vocabulary
from models.experts.contrastive_objective import CaptionMatcher
from stages.write_map_labels import write_map_labels
from tests.small_world import PHRASES, write_inputs

SIDE = 32
FRAME = Letterbox(SIDE, SIDE, SIDE)
CARD = {"map_teacher": "toy", "sha256": "0", "model": {}}


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[top:bottom, left:right] = True
    return pixels


NEAR, FAR = rectangle(2, 4, 10, 12), rectangle(20, 4, 30, 20)


def test_the_box_of_the_map_stands_beside_that_of_the_chosen_mask(tmp_path):
    scores = np.where(rectangle(2, 4, 10, 12), 2.0, -1.0) + rectangle(20, 4, 30, 20) * 2.0
    answer = read_map(scores.astype(np.float32), FRAME, tmp_path / "unread.png", walks=False)
    table = pd.DataFrame([answer]).assign(prompted_mask=[encode_mask(rectangle(1, 1, 12, 15))])
    label = finish_map_labels(table, MapLabelParams(mask="segmenter"), CARD).iloc[0]
    assert (label["map_box"], label["box"]) == ([2, 4, 10, 12], [1, 1, 12, 15])


def test_a_map_that_responds_nowhere_has_no_box(tmp_path):
    assert read_map(np.full((SIDE, SIDE), -1.0), FRAME, tmp_path / "unread.png", walks=False)["map_box"] is None


@pytest.mark.parametrize(
    ("proposals", "expected"),
    [([FAR, NEAR], NEAR), ([FAR], FAR), ([], None)],
    ids=["the one at the peak", "none is there", "no proposal"],
)
def test_a_proposal_is_missing_only_where_the_image_has_none(tmp_path, proposals, expected):
    scores = np.where(NEAR, 2.0, -1.0).astype(np.float32)
    answer = read_map(scores, FRAME, tmp_path / "unread.png", walks=False, proposals=proposals)
    table = pd.DataFrame([answer])
    label = finish_map_labels(table, MapLabelParams(mask="proposal"), CARD).iloc[0]
    assert label["mask"] == (None if expected is None else encode_mask(expected))
    assert (label["accept"], label["reason"]) == ((False, "no mask") if expected is None else (True, ""))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Six images with seven phrases about two objects each; the proposals are the left and the right half of each."""
    root = tmp_path_factory.mktemp("world")
    write_inputs(root)
    judge = CaptionMatcher(16, build_vocabulary(PHRASES))
    save_checkpoint(judge, root / "data/weights/embedded/contrastive_vit/matcher", config={"width": 16})
    pairs = pd.read_parquet(root / "data/prepared/toy/pairs.parquet")
    pairs["ref_id"] = 2 * pairs["image_id"] + pairs["sent_id"] % 2
    pairs.to_parquet(root / "data/prepared/toy/pairs.parquet")
    halves = np.zeros((2, 8, 8), bool)
    halves[0, :, :4] = halves[1, :, 4:] = True
    extract(
        sorted(set(pairs["image_id"])), lambda ids: {"masks": pack_bits(np.stack([halves] * len(ids)))},
        scratch=root / "scratch", out=root / "proposals", meta={}, batch_size=4,
    )  # fmt: skip
    return root


def labels(root: Path, out: Path, settings: str) -> pd.DataFrame:
    """Labels of an untrained teacher, with the object of each phrase."""
    data, params = root / "data", out / "params.yaml"
    params.write_text(f"map_labels: {settings}\n")
    write_map_labels(
        pairs=data / "prepared/toy/pairs.parquet", images=data / "prepared/toy/images.parquet",
        image_root=data / "raw/toy/images", weights=data / "weights/embedded", teacher=data / "map_teachers/toy/tris",
        proposals=root / "proposals", out=out / "labels.parquet", params=params, device="cpu",
    )  # fmt: skip
    pairs = pd.read_parquet(data / "prepared/toy/pairs.parquet", columns=["sample_id", "ref_id"])
    return pd.read_parquet(out / "labels.parquet").merge(pairs, on="sample_id", validate="one_to_one")


@pytest.mark.filterwarnings("ignore:The probability range")  # skimage's, in noise; the walk asks which is larger
@pytest.mark.parametrize("kind", ["map", "walk", "segmenter", "proposal"])
def test_the_mask_is_of_the_kind_that_was_asked_for(world, tmp_path, kind):
    table = labels(world, tmp_path, f"{{mask: {kind}}}")
    masks, maps = ([decode_mask(mask) for mask in table[column]] for column in ("mask", "map_mask"))
    points = [mask[y, x] for mask, (x, y) in zip(masks, table["point"], strict=True)]
    assert set(table["mask_source"]) == {kind} and len(table) == 42
    responds = [mask.any() for mask in maps]
    assert any(responds) and not all(responds)
    shares = [mask.mean() for mask in masks]
    inside = [(mask <= whole).all() for mask, whole in zip(masks, maps, strict=True)]
    smaller = [(mask.sum() < whole.sum()) for mask, whole in zip(masks, maps, strict=True)]
    if kind in ("map", "walk"):  # nothing where nothing responds; a walk ends within the map
        assert points == responds and all(inside) and any(smaller) == (kind == "walk")
    if kind == "segmenter":
        prompted = [decode_mask(mask) for mask in table["prompted_mask"]]
        assert all(map(np.array_equal, masks, prompted)) and not all(inside)
    if kind == "proposal":
        assert all(points) and shares == pytest.approx([0.5] * len(shares), abs=0.05)


@pytest.mark.parametrize(("select", "sharing"), [("none", set()), ("train", {"train"}), ("all", {"train", "val"})])
def test_phrases_of_one_object_share_a_map_where_they_are_to(world, tmp_path, select, sharing):
    table = labels(world, tmp_path, f"{{select: {select}}}")
    maps = table.groupby(["split", "image_id", "ref_id"])["score"].nunique().groupby("split").agg(["min", "max"])
    assert {split for split, counts in maps.iterrows() if counts["max"] == 1} == sharing
    assert all(counts["min"] > 1 for split, counts in maps.iterrows() if split not in sharing)


def test_the_segmenter_is_not_asked_where_nobody_wants_its_masks(world, tmp_path):
    whole, bare = (labels(world, tmp_path, f"{{mask: map, prompted: {wanted}}}") for wanted in ("true", "false"))
    assert "prompted_mask" in whole and "prompted_mask" not in bare
    assert bare["mask_quality"].isna().all()
    both = zip(bare["mask"], whole["mask"], strict=True)
    assert all(np.array_equal(decode_mask(one), decode_mask(other)) for one, other in both)
    with pytest.raises(ConfigError, match=r"map_labels\.prompted is false, and map_labels\.mask is segmenter"):
        labels(world, tmp_path, "{mask: segmenter, prompted: false}")
