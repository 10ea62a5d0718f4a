"""A file, its opened image and what labelling makes of it show the same pixels, whatever their kind and orientation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from answering.user_images import stored_image, upright
from deixis.core.errors import DataError
from deixis.datasets.pairs.adapter import PairsAdapter
from deixis.datasets.pairs.settings import PairsConfig
from deixis.imaging.decoding import UPRIGHT, open_image

KINDS = [("RGB", ".png"), ("RGBA", ".png"), ("LA", ".png"), ("P", ".png"), ("I;16", ".png"), ("L", ".png"),
         ("RGBA", ".webp"), ("RGBA", ".tif"), ("I;16", ".tif"), ("CMYK", ".tif")]  # fmt: skip


def turned_file(folder: Path, mode: str, suffix: str, orientation: int) -> tuple[Path, np.ndarray]:
    """A file whose EXIF says that it lies, and how it looks: white where it is transparent."""
    levels = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    levels[2:4, 2:4, 3] = 0
    image = Image.fromarray(levels, "RGBA")
    image = image.convert("RGB").convert("P") if mode == "P" else image.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    image.save(folder / f"turned{suffix}", exif=exif, **options)
    shown = image if mode != "I;16" else Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        shown = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return folder / f"turned{suffix}", np.asarray(shown.convert("RGB").transpose(UPRIGHT[orientation]))


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize(("mode", "suffix"), KINDS)
def test_every_way_to_hand_an_image_over_shows_the_same(tmp_path, mode, suffix, orientation):
    path, expected = turned_file(tmp_path, mode, suffix, orientation)
    np.testing.assert_array_equal(np.asarray(upright(path)), expected)
    with path.open("rb") as stream, Image.open(stream) as opened:  # by name, Pillow 13 maps some TIFF files wrongly
        opened.load()
        for image in (str(path), opened):
            np.testing.assert_array_equal(np.asarray(upright(image)), expected)
            (tmp_path / "scratch").mkdir(exist_ok=True)
            np.testing.assert_array_equal(np.asarray(open_image(stored_image(image, tmp_path / "scratch"))), expected)


@pytest.mark.parametrize(("mode", "suffix"), KINDS)
def test_labelling_sees_what_is_answered_about(tmp_path, mode, suffix):
    images = tmp_path / "own" / "images"
    images.mkdir(parents=True)
    path, expected = turned_file(images, mode, suffix, 6)
    (tmp_path / "own" / "pairs.csv").write_text(f"image,text\n{path.name},a ball\n")
    PairsAdapter(PairsConfig(boxes="none")).ingest(raw=tmp_path / "own", out=tmp_path / "out", dataset="own")
    copies = [*(tmp_path / "out").rglob("*.upright.png")]
    np.testing.assert_array_equal(np.asarray(open_image(copies[0] if copies else path)), expected)


def test_a_colour_under_transparency_stays_hidden(tmp_path):
    image = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    assert np.asarray(upright(image)).min() == 255
    deep = Image.fromarray(np.full((3, 4), 40_000, np.uint16))
    assert np.unique(np.asarray(upright(deep))).tolist() == [155]
    deep.save(tmp_path / "a.png", transparency=40_000)
    assert np.asarray(upright(tmp_path / "a.png")).min() == 255


def test_an_opened_image_that_cannot_be_read_is_refused(tmp_path):
    Image.effect_noise((40, 40), 90).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with (
        Image.open(tmp_path / "a.png") as opened,
        pytest.raises(DataError, match=r"cut short.* or name another image$"),
    ):
        upright(opened)
    with pytest.raises(DataError, match="the image: levels of mode F"):
        upright(Image.new("F", (4, 3)))


def test_levels_of_twelve_bits_in_sixteen_are_told(tmp_path, capsys):
    for top, told in ((4095, True), (65535, False)):
        path = tmp_path / f"{top}.png"
        Image.fromarray(np.linspace(0, top, 12).astype(np.uint16).reshape(3, 4)).save(path)
        stored_image(path, tmp_path)
        assert (f"{path}: I;16 made 8-bit RGB; its levels end at {top} of 65535" in capsys.readouterr().err) == told
