"""Images of every kind become the same 8-bit RGB for every reader, or are refused by name."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from deixis.core.errors import DataError
from deixis.imaging.decoding import MAX_PIXELS, ImageError, open_image, open_upright


def pixels(path) -> np.ndarray:
    return np.asarray(open_image(path))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixel."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", ".jpg"), ("L", ".jpg"), ("YCbCr", ".jpg"), ("RGB", ".png"), ("L", ".png"), ("1", ".png"), ("P", ".png"),
        ("RGB", ".bmp"), ("P", ".bmp"), ("YCbCr", ".tif"),
    ],
)  # fmt: skip
def test_opaque_images_are_what_pillow_makes_of_them(tmp_path, mode, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(8, 9, 3)).convert(mode).save(path)
    with Image.open(path) as plain:
        assert np.array_equal(pixels(path), np.asarray(plain.convert("RGB")))


def test_transparent_parts_show_white(tmp_path):
    layers = np.dstack([noise(2, 3, 3), np.array([[0, 255, 0], [255, 0, 255]], np.uint8)])
    Image.fromarray(layers, "RGBA").save(tmp_path / "a.png")
    levels = pixels(tmp_path / "a.png")
    assert np.array_equal(levels[layers[..., 3] == 255], layers[..., :3][layers[..., 3] == 255])
    assert (levels[layers[..., 3] == 0] == 255).all()


def test_a_transparent_colour_of_a_palette_shows_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    assert pixels(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_keep_their_range(tmp_path, suffix):
    levels = np.array([[0, 257, 256 * 128, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a{suffix}")
    assert pixels(tmp_path / f"a{suffix}")[0, :, 0].tolist() == [0, 1, 127, 255]


def deep_png(path, levels):
    """An RGB image with levels of 16 bits, which Pillow reads and does not write."""
    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize(("highest", "is_dark"), [(65535, False), (4095, True)])
def test_colours_of_sixteen_bits_are_told(tmp_path, highest, is_dark):
    deep_png(tmp_path / "a.png", np.full((2, 3, 3), highest, np.uint16))
    decoded = open_upright(tmp_path / "a.png")
    assert decoded.change.startswith("RGB of 16 bits made 8-bit RGB") and decoded.is_dark == is_dark
    assert np.asarray(decoded.pixels).max() == highest >> 8
    assert ("below 4096 of 65536, so it is almost black" in decoded.change) == is_dark


def test_stored_pixels_stay_as_they_are_unless_asked(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg").size == (6, 4)
    turned = open_upright(tmp_path / "a.jpg")
    assert (turned.pixels.size, turned.orientation, turned.format) == ((4, 6), 6, "JPEG")
    assert np.array_equal(np.asarray(turned.pixels), np.rot90(pixels(tmp_path / "a.jpg"), -1))


@pytest.mark.parametrize("orientation", [0, 1, 9, 77])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert open_upright(tmp_path / "a.jpg").pixels.size == (6, 4)


def test_damaged_metadata_takes_no_sound_image_with_it(tmp_path):
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert open_upright(tmp_path / "a.jpg").pixels.size == (6, 4)


@pytest.mark.parametrize("length", [50, 200, 400, 600])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"])
def test_an_image_cut_anywhere_is_refused(tmp_path, suffix, length):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(40, 40, 3)).save(path)
    whole = path.read_bytes()
    assert len(whole) > length + 2
    path.write_bytes(whole[:length])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError, match=r"cut short|not an image") as caught:
            open_image(path)
    assert caught.value.code in ("E_IMG_TRUNC", "E_IMG_KIND")


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (12_000, 12_000), (60_000, 60_000), (1, MAX_PIXELS + 1)])
def test_a_bomb_is_refused_from_its_header(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageError, match=r"allowed: 64000000 pixels.*dvc repro") as caught:
        open_image(tmp_path / "a.png")
    assert caught.value.code == "E_IMG_HUGE"


def test_formats_that_start_other_programs_are_not_opened(tmp_path):
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.eps")
    with pytest.raises(ImageError, match="not an image of an allowed format") as caught:
        open_image(tmp_path / "a.eps")
    assert caught.value.code == "E_IMG_KIND"


def test_levels_without_a_scale_are_refused(tmp_path):
    Image.fromarray(noise(4, 6).astype(np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(noise(4, 6).astype(np.int32) - 70_000).save(tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        with pytest.raises(ImageError, match=rf"{name}: levels of mode"):
            open_image(tmp_path / name)


def test_missing_and_empty_files_are_told_apart(tmp_path):
    (tmp_path / "empty.png").touch()
    for name, code in (("empty.png", "E_IMG_EMPTY"), ("nowhere.png", "E_IMG_MISSING")):
        with pytest.raises(DataError, match=f"{name}.*Restore it or .*dvc repro -f prepare$") as caught:
            open_image(tmp_path / name)
        assert caught.value.code == code


def test_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert open_upright(tmp_path / "a.webp").animated
    assert pixels(tmp_path / "a.webp")[0, 0].tolist() == [255, 0, 0]


def test_a_phones_jpeg_with_a_second_image_is_read(tmp_path):
    first, second = (Image.fromarray(noise(16, 16, 3)) for _ in range(2))
    stream = io.BytesIO()
    first.save(stream, "MPO", save_all=True, append_images=[second])
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    assert open_upright(tmp_path / "a.jpg").animated
