"""A published CLIP beside the teacher without training: what it sees in the detector's boxes, and what that weighs."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from answering.live_matcher import encoder_arrays
from answering.live_store import LiveStore
from deixis.anchors import Survivors, best_boxes
from deixis.batches.features import FeatureStore, open_stores
from deixis.batches.samples import PairReader
from deixis.core.checkpoints import save_checkpoint
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import write_json
from deixis.imaging.images import ImageReader
from deixis.language.tokens import encode
from deixis.language.word_pieces import split_vocabulary
from deixis.roles import prior_of, stored_experts
from deixis.types import CLIP_CROPS, SCALES
from models.detectors.yolox import YOLOX, YOLOXConfig
from models.experts.clip_vit import CLIPViTConfig
from models.frozen.detectors import load_detector
from models.image_text.clip_image_text import CLIPImageText
from models.image_text.crops import embed_crops, load_crop_encoder
from models.loading.teachers import feature_names, load_teacher, teacher_vocabulary
from models.teachers.dvin import DViN
from models.teachers.zero_shot import ZeroShot
from models.text.clip_phrases import CLIPPhrases, CLIPPhrasesConfig
from models.text.clip_text import CLIPTextConfig
from stages.extract_features import extract_features
from stages.list_inputs import teacher_inputs
from stages.train_teacher import train_teacher
from tests.models.published.test_published_text import MERGES
from tests.models.test_prior import CHOICE
from tests.models.test_zero_shot import CATEGORIES, CONFIG, VOCABULARY, WORDS, made_up_encoder

CPU = torch.device("cpu")
SIDE = 64
TEXT = CLIPTextConfig(width=32, inner_width=64, layers=1, heads=1, tokens=600, length=8)
CLIP = CLIPImageText.Config(
    image=CLIPViTConfig(input_size=16, patch=8, width=64, depth=1, heads=1), text=replace(TEXT, length=20)
)
CROPS = CLIPPhrasesConfig(temperature=0.1, text=TEXT)
SETTINGS = replace(CONFIG, crops=CROPS, weight_crops=0.5)
FRAMING = {"place": "top_left", "pad": 114, "resize": "bilinear"}
SURVIVORS = {"most": 5, "iou": 0.5, "looked_at": 40}
PHRASES = ("zebra", "red kite", "the left pizza")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two images, an untrained YOLOX, a CLIP without training, and what both see, by the stages."""
    folder, rng = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(rng.integers(0, 256, (50, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    images = pd.DataFrame({"image_id": [0, 1], "path": ["0.png", "1.png"], "width": 64, "height": 50})
    images.to_parquet(folder / "images.parquet")
    torch.manual_seed(0)
    config = YOLOXConfig(width=0.125, num_classes=len(CATEGORIES), input_size=SIDE)
    card = {"kind": "yolox", "model": asdict(config), "categories": CATEGORIES}
    save_checkpoint(YOLOX(config), folder / "weights/detector", config=card)
    save_checkpoint(made_up_encoder(), folder / "weights/bert", config={"model": asdict(CONFIG.text)})
    card = {"kind": "clip_image_text", "model": asdict(CLIP), "vocabulary": MERGES}
    save_checkpoint(CLIPImageText(CLIP, MERGES), folder / "weights" / CLIP_CROPS, config=card)
    params = {
        "seed": 0,
        "detector": {"model": {"input_size": SIDE}},
        "extraction": {"batch_size": 2, "survivors": SURVIVORS, "framing": FRAMING},
        "teachers": {"zero_shot": {"model": asdict(SETTINGS)}},
    }
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(params | {"teachers": _plain(params["teachers"])}, stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # stages keep their scratch there
        for encoder in ("detector", CLIP_CROPS):
            extract(folder, encoder)
    return folder


def _plain(value):
    """Of tuples lists, as YAML has them."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def extract(folder, encoder: str, *, detector="weights/detector", params="params.yaml") -> None:
    extract_features(
        encoder=encoder, images=folder / "images.parquet", image_root=folder, weights=folder / "weights" / encoder,
        detector=folder / detector if encoder == CLIP_CROPS and detector else None,
        out=folder / "features" / encoder, params=folder / params, device="cpu",
    )  # fmt: skip


def ready(world, settings=SETTINGS) -> ZeroShot:
    model = ZeroShot(settings, teacher_vocabulary(settings, world / "weights", (" ".join(WORDS),)))
    model.start_from(world / "weights", CPU)
    return model.eval()


def batch(world, model, stores=None):
    pairs = pd.DataFrame({"image_id": [0, 1, 1], "text": PHRASES})
    return PairReader(
        pairs, stores=stores or open_stores(world / "features", feature_names(model)), vocabulary=model.vocabulary,
        length=model.text_length, device=CPU, scales=SCALES,
    ).batch([0, 1, 2])  # fmt: skip


@torch.no_grad()
def test_a_box_is_seen_as_the_image_that_it_holds(world):
    model = load_crop_encoder(world / "weights" / CLIP_CROPS, CPU)
    squares = torch.full((2, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    squares[0, :, 8:40, 4:30] = torch.tensor([200, 10, 60], dtype=torch.uint8)[:, None, None]
    squares[1, :, 30:60, 20:64] = torch.tensor([0, 90, 250], dtype=torch.uint8)[:, None, None]
    boxes = torch.tensor([[[6.0, 10, 28, 38], [40, 2, 60, 60]], [[22.0, 32, 62, 58], [1, 1, 60, 20]]])
    seen = embed_crops(model, squares, boxes)
    assert seen.shape == (2, 32, 2, 1)
    plain = torch.tensor([[200.0, 10, 60], [255, 255, 255], [0, 90, 250], [255, 255, 255]])
    expected = model.images(plain[:, :, None, None].expand(-1, -1, 16, 16))
    torch.testing.assert_close(seen[..., 0].transpose(1, 2).flatten(0, 1), expected, rtol=1e-4, atol=1e-4)
    assert (seen[0, :, 0] - seen[0, :, 1]).abs().max() > 0.01  # the two do differ


def test_what_is_stored_is_what_a_live_store_sees(world):
    model, detector = ready(world), load_detector(world / "weights/detector", CPU)
    assert stored_experts(model) == (CLIP_CROPS,) and feature_names(model) == ("detector", CLIP_CROPS)
    arrays = encoder_arrays(model, detector, world / "weights", CPU, survivors=Survivors(**SURVIVORS))
    table = pd.read_parquet(world / "images.parquet")
    reader = ImageReader(table, root=world, side=SIDE, framing=detector.framing)
    live = LiveStore(arrays[CLIP_CROPS], reader, CPU).read("map", [1, 0])
    stored = FeatureStore(world / "features" / CLIP_CROPS).read("map", [1, 0])
    torch.testing.assert_close(live, stored, rtol=0, atol=2e-3)
    boxes = FeatureStore(world / "features/detector").read("survivor_boxes", [1, 0])
    assert stored.shape == (2, 32, boxes.shape[1], 1)
    squares, clip = reader.squares([1, 0]), load_crop_encoder(world / "weights" / CLIP_CROPS, CPU)
    torch.testing.assert_close(embed_crops(clip, squares, best_boxes(boxes).corners), stored, rtol=0, atol=2e-3)


@torch.no_grad()
def test_scores_grow_by_weighed_cosines_with_each_box(world):
    with_clip, without = ready(world), ready(world, CONFIG)
    assert without.expert_names == () and without.starts == ("bert",) and with_clip.starts == ("bert", CLIP_CROPS)
    given = batch(world, with_clip)
    grown = with_clip.match(given).scores - without.match(given).scores
    clip = load_crop_encoder(world / "weights" / CLIP_CROPS, CPU)
    said = clip.texts(encode([f"a photo of a {head}" for head in ("zebra", "red kite", "pizza")], MERGES, 8))
    seen = FeatureStore(world / "features" / CLIP_CROPS).read("map", [0, 1, 1])[..., 0]
    torch.testing.assert_close(grown, 0.5 / 0.1 * torch.einsum("pw,pwc->pc", said, seen), rtol=1e-3, atol=1e-3)
    assert grown.std(1).min() > 1e-3  # boxes are told apart


def test_the_stage_writes_one_that_answers_alike(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = pd.DataFrame({"sample_id": ["0"], "image_id": 0, "expression": "x", "split": "train"})
    pairs.assign(text=" ".join(WORDS)).to_parquet("pairs.parquet")
    train_teacher(
        teacher="zero_shot", pairs=tmp_path / "pairs.parquet", features=world / "features", weights=world / "weights",
        out=tmp_path / "out", curves=tmp_path / "curves.csv", params=world / "params.yaml", device="cpu",
    )  # fmt: skip
    loaded, made = load_teacher(tmp_path / "out", CPU), ready(world)
    given = batch(world, made)
    torch.testing.assert_close(loaded.match(given).scores, made.match(given).scores)
    assert split_vocabulary(loaded.vocabulary)[1] == MERGES
    assert loaded.knows(["zebra", "qwxyz"]) == made.knows(["zebra", "qwxyz"])


def test_it_is_part_of_a_prior(world):
    settings = replace(CHOICE, prior=SETTINGS, detector_channels=(16, 8, 4))
    model = DViN(settings, teacher_vocabulary(settings, world / "weights", VOCABULARY))
    prior = prior_of(model)
    assert prior is not None and stored_experts(model) == (CLIP_CROPS,)
    assert model.expert_names == ("class_words",)  # which it routes to; CLIP's boxes are no expert of its own


def test_a_clip_that_does_not_fit_is_refused_by_name(world, tmp_path):
    narrow = CLIPPhrases(replace(CROPS, text=replace(TEXT, width=16)), MERGES)
    with pytest.raises(DataError, match=r"states differ, the first in project.weight. Write the sizes of"):
        narrow.start_from(world / "weights")
    write_json({"kind": "clip_vit"}, tmp_path / CLIP_CROPS / "config.json")
    with pytest.raises(DataError, match=r"holds no CLIP with both towers. Allowed: an import of a card of the kind"):
        teacher_vocabulary(SETTINGS, tmp_path, VOCABULARY)
    with pytest.raises(DataError, match="missing"):
        teacher_vocabulary(SETTINGS, tmp_path / "elsewhere", VOCABULARY)


def test_boxes_of_cells_are_refused(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"looks at the boxes that suppression leaves. Name the frozen detector"):
        extract(world, CLIP_CROPS, detector=None)


def test_it_is_among_what_the_teacher_reads(world):
    read = teacher_inputs("zero_shot", world / "features", world / "weights", world / "params.yaml")
    assert [line.split()[0] for line in read["weights"].split(", ")] == ["bert", CLIP_CROPS, "detector"]
    assert [line.split()[0] for line in read["features"].split(", ")] == [CLIP_CROPS, "detector"]
    assert "missing" not in f"{read}"
