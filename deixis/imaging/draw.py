"""Images with boxes and masks on them."""

import base64
import io
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from textwrap import shorten

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deixis.core.progress import say

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
TRUTH, TEACHER, STUDENT, MASK = (255, 255, 255), (255, 176, 0), (0, 200, 255), (0, 200, 255)
# Of Linux, macOS and Windows, for what the usual one lacks: all letters with an accent, and all but the Latin ones
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf", "msyh.ttc", "malgun.ttf")
ACROSS = 4  # images in a row of a panel
NO_CHARACTER = "\uffff"  # Unicode gives it to none


def overlay(
    pixels: np.ndarray,
    *,
    boxes: Sequence[tuple[Sequence[float] | np.ndarray, tuple[int, int, int]]],
    mask: np.ndarray | None = None,
    scale: int = 2,
) -> Image.Image:
    """Draw boxes (corners in stored pixels, with a colour) and a translucent mask on an enlarged image.

    Of a box that reaches beyond the image, the part within is drawn.
    """
    canvas = pixels.astype(np.float32)
    if mask is not None:
        canvas = np.where(mask[..., None], 0.45 * canvas + 0.55 * np.array(MASK, np.float32), canvas)
    height, width = pixels.shape[:2]
    image = Image.fromarray(canvas.astype(np.uint8)).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for box, colour in boxes:
        left, top, right, bottom = (float(value) * scale for value in box)
        if not np.isfinite([left, top, right, bottom]).all():
            continue
        left, top = max(left, 0.0), max(top, 0.0)
        right, bottom = min(right, image.width - 1), min(bottom, image.height - 1)
        if right > left and bottom > top:
            pen.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
            pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)
    return image


def panel(columns: Sequence[tuple[str, Image.Image]], *, title: str) -> Image.Image:
    """Captioned images in rows under one line of text; says so where no font here has the letters of a text."""
    gap, head, foot = 12, 40, 28
    rows = [columns[start : start + ACROSS] for start in range(0, len(columns), ACROSS)]
    heights = [max(image.height for _, image in row) + foot for row in rows]
    width = max(sum(image.width for _, image in row) + gap * (len(row) + 1) for row in rows)
    canvas = Image.new("RGB", (width, head + sum(heights)), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    pen.text((gap, 10), title, fill=(20, 20, 20), font=font_of(title, 18))
    top = head
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for caption, image in row:
            canvas.paste(image, (left, top))
            small = font_of(caption, 14)
            line = fitted(caption, small, image.width)
            pen.text((left, top + image.height + 6), line, fill=(70, 70, 70), font=small)
            left += image.width + gap
        top += height
    say_illegible([title, *(caption for caption, _ in columns)])
    return canvas


def say_illegible(texts: Sequence[str]) -> None:
    """Say which characters of drawn texts no font here has."""
    missing = sorted({character for text in texts for character in lacking(font_of(text, 14), text)})
    if missing:
        say(
            f"the drawing shows squares for characters that no font here has: {shorten(' '.join(missing), 60)}. "
            f"Install one that has them (on Debian: fonts-noto-cjk); these are looked for: {', '.join(FONTS)}"
        )


def font_of(text: str, size: int) -> Font:
    """The usual font, or one of `FONTS` where that has more of the text's characters."""
    fonts: list[Font] = [ImageFont.load_default(size)]
    for name in FONTS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return min(fonts, key=lambda font: len(lacking(font, text)))


def lacking(font: Font, text: str) -> set[str]:
    """Characters of a text for which a font has no sign, and draws the one that stands for all of those."""
    stand_in = _drawn(font, NO_CHARACTER)
    seen = {character for character in text if unicodedata.category(character)[0] not in "CMZ"}
    return {character for character in seen if _drawn(font, character) == stand_in}


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)  # pyright: ignore[reportArgumentType] # it has them, and its stub does not say so


def fitted(caption: str, font: Font, width: int) -> str:
    """A caption on one line that is no wider than `width` pixels: what is too long is cut, and ends in dots."""
    line = " ".join(caption.split())
    if font.getlength(line) <= width:
        return line
    fits = bisect_right(range(len(line)), width, key=lambda end: font.getlength(f"{line[: end + 1]}..."))
    return f"{line[:fits].rstrip()}..."


def data_uri(image: Image.Image) -> str:
    """The image as text that an HTML page can hold."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
