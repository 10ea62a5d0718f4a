"""A released TRIS (first step), imported, responds as its authors' network does, asked one phrase at a time."""

import pytest
import torch
from torch.nn import functional as F

from deixis.core.errors import DataError
from deixis.language.tokens import encode
from deixis.types import MapBatch
from models.loading.map_teachers import load_map_teacher
from tests.models.releases import clip, layouts, reference
from tests.models.releases.files import import_state

WIDTH, SIDE = 16, 96  # 1024 and 320 in the release; three cells a side, and not ten


def released() -> dict[str, torch.Tensor]:
    shapes = clip.clip() | layouts.conv("vis_project", 32 * clip.VISUAL, WIDTH, 1)
    shapes |= layouts.linear("lan_project", clip.SHARED, WIDTH) | clip.prompt("attn_fusion", WIDTH)
    return layouts.draw(shapes) | {"logit_scale": torch.tensor(2.5)}


def answer(state, square: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The response map of one phrase about one image, before it is enlarged: [h, w]."""
    pixels = F.normalize(reference.convolve(state, "vis_project", clip.look(state, square[None])[3]), dim=1)
    phrase = F.normalize(reference.affine(state, "lan_project", clip.read(state, tokens[None])[1]), dim=1)[None]
    batch, width, rows, columns = pixels.shape

    def part(name: str, x: torch.Tensor, **options) -> torch.Tensor:
        return clip.layer(state, f"attn_fusion.{name}", x, **options)

    places = part("v_proj1", pixels).flatten(2).transpose(1, 2)
    told = (places @ part("t_proj2", phrase).transpose(1, 2) / width**0.5).softmax(2) @ part("t_proj3", phrase)
    looks = (part("t_proj1", phrase) @ part("v_proj2", pixels).flatten(2) / width**0.5).softmax(2)
    seen = looks @ part("v_proj3", pixels).flatten(2).transpose(1, 2)
    told = part("v_output", told.transpose(1, 2).reshape(batch, width, rows, columns), relu=False)
    pixels, phrase = pixels + 0.1 * told, phrase + 0.1 * part("t_output", seen, relu=False)
    return state["logit_scale"].exp() * torch.einsum("bchw,btc->bthw", pixels, phrase)[0, 0]


@torch.no_grad()
def test_it_responds_as_released(tmp_path):
    state = released()
    folder, report = import_state("tris", state, tmp_path, tokens=clip.write_merges(tmp_path), inside="model")
    assert sorted(report.unread) == sorted(
        name for name in state if "attnpool" in name or name == "backbone.logit_scale"
    )
    teacher = load_map_teacher(folder, torch.device("cpu"))
    long = "ball " * 30  # its last token is cut off: the release then reads the first one
    tokens = encode(["red ball", long, "ball"], teacher.reading.vocabulary, teacher.reading.length, keep_end=False)
    assert teacher.reading.keep_end is False and int(tokens[1].argmax()) == 0
    squares = torch.randint(256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    image_of = torch.tensor([0, 0, 1])
    found = teacher.respond(MapBatch(squares, tokens, image_of, torch.arange(3))).scores
    expected = torch.stack([answer(state, squares[image], row) for image, row in zip(image_of, tokens, strict=True)])
    assert expected.std((1, 2)).min() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_the_merges_must_be_as_many_as_the_word_table_says(tmp_path):
    (tmp_path / "merges.txt").write_text("\n".join([*clip.MERGES, "a b"]) + "\n")
    with pytest.raises(DataError, match=r"vectors of 519 tokens, and the token list has 520"):
        import_state("tris", released(), tmp_path, tokens=tmp_path / "merges.txt", inside="model")
