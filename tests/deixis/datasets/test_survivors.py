"""However many bad rows lie among the good ones, and wherever: each has its code, and every valid phrase survives."""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deixis.datasets.quarantine import Quarantine
from deixis.datasets.refer import ReferConfig, read_source
from deixis.datasets.referring import read_tables
from tests.factories import write_refer

ROWS = 24
CORNERS = [2, 2, 12, 2, 12, 10, 2, 10]


def row(number: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """An image, its annotation and a ref of two phrases, all with this number."""
    image = {"id": number, "file_name": f"{number:06d}.png", "width": 16, "height": 12}
    annotation = {"id": number, "image_id": number, "category_id": 1, "bbox": [2, 2, 10, 8], "segmentation": [CORNERS]}
    sentences = [{"sent_id": 2 * number + k, "raw": f"Thing {k}", "sent": f"thing {k}"} for k in range(2)]
    split = ("train", "val", "testA")[number % 3]
    ids = {"ref_id": number, "ann_id": number, "image_id": number, "category_id": 1}
    return image, annotation, ids | {"split": split, "sentences": sentences}


Harm = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Any]


def first(table: int, **changes: Any) -> Harm:
    """Change the image (0), the annotation (1), the ref (2) or its first sentence (3)."""

    def harm(*rows: dict[str, Any]) -> None:
        (rows[2]["sentences"][0] if table == 3 else rows[table]).update(changes)

    return harm


# what is done to a row -> the code that it gets, and the phrases of it that survive as evaluation and as training data
HARMS: dict[str, tuple[Harm, str, int, int]] = {
    "no image": (first(0, file_name="none.png"), "E_IMG_MISSING", 0, 0),
    "escape": (first(0, file_name="../000000.png"), "E_IMG_PATH", 0, 0),
    "another size": (first(0, width=17), "E_IMG_SIZE", 0, 0),
    "cut image": (first(0, file_name="cut.png"), "E_IMG_TRUNC", 0, 0),
    "NaN box": (first(1, bbox=[2, 2, float("nan"), 8]), "E_BOX_DEGENERATE", 0, 2),
    "infinite box": (first(1, bbox=[2, 2, float("inf"), 8]), "E_BOX_DEGENERATE", 0, 2),
    "flat box": (first(1, bbox=[2, 2, 10, 0]), "E_BOX_DEGENERATE", 0, 2),
    "box outside": (first(1, bbox=[90, 90, 10, 8]), "E_BOX_DEGENERATE", 0, 2),
    "no box": (first(1, bbox="none"), "E_BOX_BROKEN", 0, 2),
    "empty mask": (first(1, segmentation=[]), "E_MASK_EMPTY", 0, 2),
    "cut mask": (first(1, segmentation={"size": [12, 16], "counts": [3]}), "E_MASK_BROKEN", 0, 2),
    "loose box": (first(1, bbox=[2, 2, 14, 8]), "W_BOX_LOOSE", 2, 2),
    "leaning box": (first(1, bbox=[2, 2, 15, 8], segmentation=[[2, 2, 16, 2, 16, 10, 2, 10]]), "W_BOX_OUTSIDE", 2, 2),
    "short part": (first(1, segmentation=[CORNERS, [1, 2]]), "W_MASK_PART", 2, 2),
    "unknown image": (first(2, image_id=999), "E_REF_BROKEN", 0, 0),
    "unknown annotation": (first(2, ann_id=999), "E_REF_BROKEN", 0, 0),
    "annotation of another": (first(2, ann_id=0), "E_REF_BROKEN", 0, 0),
    "no ref_id": (first(2, ref_id=None), "E_REF_BROKEN", 0, 0),
    "no sentences": (first(2, sentences=None), "E_REF_BROKEN", 0, 0),
    "empty sentences": (first(2, sentences=[]), "E_TEXT_EMPTY", 0, 0),
    "unknown split": (first(2, split="somewhere"), "E_SPLIT_BAD", 0, 0),
    "empty text": (first(3, raw=" ?!"), "E_TEXT_EMPTY", 1, 1),
    "text is a number": (first(3, raw=1), "E_TEXT_TYPE", 1, 1),
    "sent_id is a list": (first(3, sent_id=[]), "E_ID_BAD", 1, 1),
    "text twice": (first(3, raw="thing: 1"), "W_DUP_TEXT", 2, 2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "images").mkdir()
    for number in range(ROWS):
        Image.new("RGB", (16, 12), (number, 0, 0)).save(folder / "images" / f"{number:06d}.png")
    whole = (folder / "images" / "000000.png").read_bytes()
    (folder / "images" / "cut.png").write_bytes(whole[:50])
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    harms=st.lists(st.sampled_from([None, *sorted(HARMS)]), min_size=ROWS - 1, max_size=ROWS - 1),
    order=st.randoms(use_true_random=False),
)
def test_each_bad_row_has_its_code_and_every_valid_phrase_survives(folder, harms, order):
    images, annotations, refs, expected, codes = [], [], [], set(), Counter()
    for number, name in enumerate([None, *harms]):
        rows = copy.deepcopy(row(number))
        surviving = 2
        if name is not None:
            harm, code, as_evaluation, as_training = HARMS[name]
            harm(*rows)
            codes[code] += 1
            surviving = as_training if rows[2]["split"] == "train" else as_evaluation
        for table, edited in zip((images, annotations, refs), rows, strict=True):
            table.append(edited)
        expected |= {f"toy/{number}/{2 * number + 1 - k}" for k in range(surviving)}  # the first is the one harmed
    for table in (images, annotations, refs):
        order.shuffle(table)
    write_refer(folder, {"images": images, "annotations": annotations, "categories": []}, refs)
    quarantine, config = Quarantine(), ReferConfig(adapter="refer")
    tables = read_tables(read_source(folder, config), config, raw=folder, dataset="toy", quarantine=quarantine)
    assert {pair[0] for pair in tables.pairs} == expected and len(tables.pairs) == len(expected)
    assert Counter(quarantine.table()["code"]) == codes
    scored = {truth[0] for truth in tables.truth}
    assert {pair[0] for pair in tables.pairs if pair[6] != "train"} <= scored <= expected
