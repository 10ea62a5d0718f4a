"""A released PCNet, imported, responds as its authors' network does, asked one phrase and its cues at a time."""

import math

import pytest
import torch
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.types import MapBatch
from models.loading.map_teachers import load_map_teacher
from models.map_teachers.pcnet import PCNetConfig
from tests.models.releases import clip, layouts, reference
from tests.models.releases.files import import_state

WIDTH, SIDE, CUES = 16, 96, 2  # 1024 and 320 in the release; the third stage reads the phrase itself


def released(seed: int = 0) -> dict[str, torch.Tensor]:
    shapes = clip.clip() | layouts.conv("c4_vis_project", 32 * clip.VISUAL, WIDTH, 1)
    shapes |= layouts.linear("global_lan_project", clip.SHARED, WIDTH)
    for stage in range(4):
        shapes |= clip.prompt(f"attn_fusion_vl.{stage}", WIDTH)
    return layouts.draw(shapes, seed=seed) | {"logit_scale": torch.tensor(math.log(1 / 0.07))}


def answer(state, square: torch.Tensor, tokens: torch.Tensor, cues: torch.Tensor) -> torch.Tensor:
    """The response map of one phrase about one image after its last stage, before it is enlarged: [h, w]."""
    pixels = F.normalize(reference.convolve(state, "c4_vis_project", clip.look(state, square[None])[3]), dim=1)
    read = F.normalize(
        reference.affine(state, "global_lan_project", clip.read(state, torch.cat([tokens[None], cues]))[1])
    )
    phrase, shown = read[:1, None], read[:1, None]
    for stage, cue in enumerate([*read[1:, None, None], phrase]):
        pixels, phrase = F.normalize(pixels, dim=1), F.normalize(phrase, dim=2)

        def part(name: str, x: torch.Tensor, stage: int = stage, **options) -> torch.Tensor:
            return clip.layer(state, f"attn_fusion_vl.{stage}.{name}", x, **options)

        def look(text: torch.Tensor, pixels: torch.Tensor = pixels, part=part) -> torch.Tensor:
            looks = (part("t_proj1", text) @ part("v_proj2", pixels).flatten(2) / WIDTH**0.5).softmax(2)
            return part("t_output", looks @ part("v_proj3", pixels).flatten(2).transpose(1, 2), relu=False)

        context = look(cue)  # of one cue there is nothing to choose: its weight is one
        phrase = phrase + 0.1 * part("t_output", part("t_proj3", context), relu=False)
        unit = F.normalize(phrase, dim=2)
        shown = unit + 0.1 * look(unit)
        told = part("t_proj3", unit).transpose(1, 2)[..., None].expand_as(pixels)
        pixels = pixels + 0.1 * part("v_output", told, relu=False)
    return torch.einsum("bchw,btc->bthw", pixels, shown)[0, 0] / 0.07


def asked() -> MapBatch:
    generator = torch.Generator().manual_seed(1)
    squares = torch.randint(256, (2, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    tokens = torch.zeros(3, 1 + CUES, clip.LENGTH, dtype=torch.long)
    tokens[:, :, 1:4] = torch.randint(1, clip.TOKENS - 2, (3, 1 + CUES, 3), generator=generator)
    tokens[:, :, 0], tokens[:, :, 4] = clip.TOKENS - 2, clip.TOKENS - 1
    return MapBatch(squares, tokens[:, 0], torch.tensor([0, 0, 1]), torch.arange(3), cues=tokens[:, 1:])


@torch.no_grad()
def test_it_responds_as_released(tmp_path):
    state, batch = released(), asked()
    folder, report = import_state("pcnet", state, tmp_path, tokens=clip.write_merges(tmp_path), inside="model")
    spare = [name for name in state if name.startswith("attn_fusion_vl.3.")]
    assert set(spare) < set(report.unread)
    assert all(name in spare or "attnpool" in name or name == "backbone.logit_scale" for name in report.unread)
    found = load_map_teacher(folder, torch.device("cpu")).respond(batch).scores
    rows = zip(batch.image_of, batch.tokens, batch.cues, strict=True)
    expected = torch.stack([answer(state, batch.squares[image], tokens, cues) for image, tokens, cues in rows])
    assert expected.std((1, 2)).min() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_a_model_of_one_stage_reads_no_cue(tmp_path):
    tokens = clip.write_merges(tmp_path)
    folder, report = import_state("pcnet", released(), tmp_path, tokens=tokens, inside="model", settings=["stages=1"])
    teacher = load_map_teacher(folder, torch.device("cpu"))
    assert teacher.cue_reading is None and len(teacher.stages) == 1
    assert sum(name.startswith("attn_fusion_vl.") for name in report.unread) == 3 * 24


def test_a_temperature_that_was_trained_is_refused(tmp_path):
    state = released() | {"logit_scale": torch.tensor(3.0)}
    with pytest.raises(DataError, match=r"logit_scale is 3\.0000"):
        import_state("pcnet", state, tmp_path, tokens=clip.write_merges(tmp_path), inside="model")


def test_shared_weights_come_with_both_attentions():
    with pytest.raises(ValueError, match="shares_weights"):
        PCNetConfig(shares_weights=True, modulation="tta")
