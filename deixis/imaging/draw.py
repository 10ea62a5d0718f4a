"""Images with boxes and masks on them."""

import base64
import io
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
TRUTH, TEACHER, STUDENT, MASK = (255, 255, 255), (255, 176, 0), (0, 200, 255), (0, 200, 255)


def overlay(
    pixels: np.ndarray,
    *,
    boxes: Sequence[tuple[Sequence[float], tuple[int, int, int]]],
    mask: np.ndarray | None = None,
    scale: int = 2,
) -> Image.Image:
    """Draw boxes (corners in stored pixels, with a colour) and a translucent mask on an enlarged image."""
    canvas = pixels.astype(np.float32)
    if mask is not None:
        canvas = np.where(mask[..., None], 0.45 * canvas + 0.55 * np.array(MASK, np.float32), canvas)
    height, width = pixels.shape[:2]
    image = Image.fromarray(canvas.astype(np.uint8)).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for box, colour in boxes:
        left, top, right, bottom = (float(value) * scale for value in box)
        if np.isfinite([left, top, right, bottom]).all() and right > left and bottom > top:
            pen.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
            pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)
    return image


def panel(columns: Sequence[tuple[str, Image.Image]], *, title: str) -> Image.Image:
    """Captioned images side by side under one line of text."""
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    gap, head, foot = 12, 40, 28
    width = sum(image.width for _, image in columns) + gap * (len(columns) + 1)
    height = max(image.height for _, image in columns) + head + foot
    canvas = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    pen.text((gap, 10), title, fill=(20, 20, 20), font=font)
    left = gap
    for caption, image in columns:
        canvas.paste(image, (left, head))
        pen.text((left, head + image.height + 6), fitted(caption, small, image.width), fill=(70, 70, 70), font=small)
        left += image.width + gap
    return canvas


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
