"""What a teacher of response maps is refused, and what its card says of its cues."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deixis.batches.features import extract
from deixis.batches.samples import pack_bits
from deixis.core.errors import ConfigError, DataError
from models.map_teachers.pcnet import PCNet
from stages import train_map_teacher as stage
from tests.factories import training_files, write_pairs, write_params


@pytest.mark.parametrize(
    ("teacher", "changes", "remedy"),
    [
        ("tris", {"same_image_negatives": 3}, "same_image_negatives: 0 in params.yaml"),
        ("pcnet", {}, "has_disambiguation: false in params.yaml"),
    ],
)
def test_a_teacher_that_parts_objects_refuses_phrases_that_nobody_grouped(tmp_path, teacher, changes, remedy):
    pairs, nowhere = write_pairs(tmp_path, [None] * 48), tmp_path / "nowhere"
    params = write_params(tmp_path, **{f"map_teachers.{teacher}.model.{name}": v for name, v in changes.items()})
    with pytest.raises(DataError, match=rf"48 of 48 phrases.*Allowed: map_teachers\.{teacher}\.model\.{remedy}"):
        stage.train_map_teacher(
            teacher=teacher,
            pairs=pairs,
            device="cpu",
            files=training_files(tmp_path, params=params, images=nowhere, image_root=nowhere, weights=nowhere),
        )


@pytest.mark.parametrize(
    ("teacher", "setting"), [("tris", {"same_image_negatives": 3}), ("pcnet", {"has_disambiguation": True})]
)
def test_a_comparison_within_images_is_refused_where_batches_have_one_object_of_each(tmp_path, teacher, setting):
    changes = {"objects_per_image": 1, **setting}
    params = write_params(
        tmp_path,
        **{f"map_teachers.{teacher}.model.{name}": v for name, v in changes.items()},
        **{f"map_teachers.{teacher}.recipe.batch_size": 24},
    )
    with pytest.raises(ConfigError, match=rf"objects_per_image is 1.*Allowed: 2 or more, or .*{next(iter(setting))}: "):
        stage.train_map_teacher(
            teacher=teacher,
            pairs=write_pairs(tmp_path, [1] * 48),
            device="cpu",
            files=training_files(tmp_path, params=params),
        )


@pytest.mark.parametrize("failed", [0, 1])
def test_the_card_counts_phrases_whose_cues_are_the_rules(tmp_path, monkeypatch, failed):
    card: dict[str, Any] = {}
    monkeypatch.setattr(stage, "fit", lambda *_, **__: {})
    monkeypatch.setattr(stage, "save_checkpoint", lambda _model, _out, config: card.update(config))
    monkeypatch.setattr(stage, "run_key", lambda *_: "key")
    monkeypatch.setattr(PCNet, "start_from", lambda *_: None)
    off = {f"map_teachers.pcnet.model.{name}": False for name in ("has_shrinking", "has_disambiguation")}
    records = [{"text": "red star", "cues": ["star"], "fallback": bool(failed)}, {"text": "ball", "cues": ["ball"]}]
    (tmp_path / "cues.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    images = pd.DataFrame({"image_id": range(24), "path": "none.png", "width": 32, "height": 16})
    images.to_parquet(tmp_path / "images.parquet")
    stage.train_map_teacher(
        teacher="pcnet",
        pairs=write_pairs(tmp_path, [None] * 48),
        cues=tmp_path / "cues.jsonl",
        device="cpu",
        files=training_files(tmp_path, params=write_params(tmp_path, **off)),
    )
    assert card["cue_fallbacks"] == failed


def test_the_card_counts_images_without_a_proposal(tmp_path, monkeypatch):
    card: dict[str, Any] = {}
    monkeypatch.setattr(stage, "fit", lambda *_, **__: {})
    monkeypatch.setattr(stage, "save_checkpoint", lambda _model, _out, config: card.update(config))
    monkeypatch.setattr(PCNet, "start_from", lambda *_: None)
    images = pd.DataFrame({"image_id": range(24), "path": "none.png", "width": 32, "height": 16})
    images.to_parquet(tmp_path / "images.parquet")
    (tmp_path / "cues.jsonl").write_text('{"text": "red star", "cues": ["star"]}\n{"text": "ball", "cues": ["ball"]}\n')
    masks = np.zeros((24, 2, 32, 32), bool)
    masks[5:, 0, :4] = True
    extract(
        list(range(24)),
        lambda ids: {"masks": pack_bits(masks[list(ids)])},
        scratch=tmp_path / "scratch",
        out=tmp_path / "proposals",
        meta={},
        batch_size=8,
    )
    monkeypatch.setattr(stage, "run_key", lambda *_: "key")
    stage.train_map_teacher(
        teacher="pcnet",
        pairs=write_pairs(tmp_path, [1] * 48),
        cues=tmp_path / "cues.jsonl",
        proposals=tmp_path / "proposals",
        device="cpu",
        files=training_files(tmp_path, params=write_params(tmp_path)),
    )
    assert card["images_without_proposals"] == 5
