"""The judge sees objects alone, under soft masks, with words that are true of them; and it judges."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from claims.pretrain_judge import CaptionedScene, draw_scenes, make_batch, name_look, pretrain_judge
from deixis.core.config import load_params
from deixis.datasets.phrases import ADJECTIVES
from deixis.datasets.scenes import COLOURS
from deixis.datasets.write_scenes import PretrainingConfig
from deixis.language.tokens import encode
from models.experts.contrastive_vit import CLIP_MEAN
from models.image_text.judges import load_image_text

ROOT = Path(__file__).parents[2]
SIDE = 128


@pytest.fixture(scope="module")
def scenes() -> list[CaptionedScene]:
    return draw_scenes(PretrainingConfig(images=3), seed=0, side=SIDE)


def test_a_lone_object_is_left_as_it_is_and_the_rest_has_the_mean_colour(scenes):
    mean = 255 * torch.tensor(CLIP_MEAN)[:, None, None]
    for one in scenes:
        for seed in range(8):
            left, text = one.alone(np.random.default_rng(seed))
            is_mean = torch.isclose(left, mean, atol=1e-3).all(0)
            names = re.findall("|".join(sorted({thing.category for thing in one.scene.objects})), text)
            fitting = [thing for thing in one.scene.objects if thing.category in names]
            assert 1 <= len(names) <= 2 and text.startswith("a ")
            assert 0.3 < is_mean.float().mean() < 1
            assert any(not is_mean[torch.from_numpy(one.frame.mask_to_input(t.mask) == 1)].all() for t in fitting)


def test_words_are_true_of_the_object(scenes):
    rng = np.random.default_rng(0)
    for thing in scenes[0].scene.objects:
        for _ in range(20):
            *traits, category = name_look(thing, rng).split()
            assert category == thing.category
            true = {thing.colour, *ADJECTIVES[thing.size], *ADJECTIVES[thing.texture]}
            assert set(traits) <= true and len(set(traits) & set(COLOURS)) <= 1


@pytest.mark.parametrize(("share", "whole"), [(0.0, 3), (1.0, 0)])
def test_the_share_says_how_many_images_are_whole(scenes, share, whole):
    vocabulary = ["<pad>", "<unk>", "a", "ball"]
    squares, tokens = make_batch(scenes, vocabulary, share, np.random.default_rng(0), torch.device("cpu"))
    assert squares.shape == (3, 3, SIDE, SIDE) and len(tokens) == 3
    assert sum(torch.equal(square, one.square) for square, one in zip(squares, scenes, strict=True)) == whole


def test_it_can_be_loaded_as_a_judge_and_comes_out_the_same_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml") | {"pretraining": {"images": 8}}
    params["experts"]["contrastive_vit"]["recipe"] = dict(params["experts"]["contrastive_vit"]["recipe"], batch_size=4)
    YAML(typ="safe").dump(params, tmp_path / "params.yaml")
    (tmp_path / "plan.yaml").write_text("map_judge: {epochs: 1, alone_share: 0.5}\n")
    vectors = []
    for name in ("one", "other"):
        out = tmp_path / name / "judge"
        pretrain_judge(out=out, plan=tmp_path / "plan.yaml", params=tmp_path / "params.yaml", device="cpu")
        vocabulary = ["<pad>", "<unk>", "red", "ball"]
        judge = load_image_text("judge", tmp_path / name, vocabulary, torch.device("cpu"))
        vectors.append(
            (judge.images(torch.full((1, 3, SIDE, SIDE), 90.0)), judge.texts(encode(["red ball"], vocabulary, 32)))
        )
    assert all(torch.equal(one, other) for one, other in zip(*vectors, strict=True))
    assert vectors[0][0].norm().item() == pytest.approx(1, abs=1e-5)
