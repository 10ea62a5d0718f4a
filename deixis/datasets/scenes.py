"""The embedded world: crowded little images whose every object is known exactly.

A scene holds six to eight shapes on a noisy, cluttered ground. Most scenes repeat a category, so naming
the category is not enough to find the object; what tells the repeated ones apart is appearance (colour,
texture, size) or place. Each scene is a pure function of (seed, world, index), so scenes can be drawn in any
order and on any number of processes, and another seed gives another world of the same difficulty.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

ROUND = ("ball", "ring", "heart", "moon")
ANGULAR = ("box", "triangle", "star", "cross")
CATEGORIES = ROUND + ANGULAR

COLOURS = {
    "red": (214, 48, 42),
    "green": (58, 158, 62),
    "blue": (48, 92, 208),
    "yellow": (236, 208, 52),
    "purple": (140, 62, 172),
    "orange": (240, 138, 36),
    "pink": (240, 150, 190),
    "brown": (122, 78, 44),
}
TEXTURES = ("plain", "striped", "dotted")
SIZES = {"small": (9.0, 11.0), "big": (15.0, 19.0)}  # half side, pixels
CANVASES = ((128, 128), (128, 128), (128, 112), (112, 128))  # width, height

MIN_VISIBLE = 0.6  # share of an object that later objects must leave uncovered
OVERSAMPLE = 4  # each shape is drawn this much larger, then averaged down: smooth edges, exact masks


@dataclass(frozen=True)
class SceneObject:
    """One object: what it looks like, where it lies, and which pixels of it are seen."""

    category: str
    colour: str
    texture: str
    size: str
    centre_xy: tuple[float, float]  # pixels
    mask: np.ndarray  # bool [height, width], visible pixels only

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Tight box of the visible pixels; right and bottom exclusive."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Scene:
    """An image, uint8 [height, width, 3], and its objects."""

    pixels: np.ndarray
    objects: tuple[SceneObject, ...]


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw one scene; the same generator state gives the same scene."""
    width, height = CANVASES[rng.integers(len(CANVASES))]
    while True:  # a crowded placement may bury an object; such a try is thrown away whole
        scene = _try_scene(rng, width, height)
        if scene is not None:
            return scene


def _try_scene(rng: np.random.Generator, width: int, height: int) -> Scene | None:
    looks = _choose_looks(rng)
    halves = [rng.uniform(*SIZES[size]) for _, _, _, size in looks]
    centres = _place(rng, halves, width, height)
    if centres is None:
        return None
    canvas = _background(rng, width, height)
    alphas = []
    for (category, colour, texture, _), half, centre in zip(looks, halves, centres, strict=True):
        alpha = _shape_alpha(rng, category, half, centre, (width, height))
        canvas += alpha[..., None] * (_paint(rng, colour, texture, (width, height)) - canvas)
        alphas.append(alpha)
    masks = _visible_masks(alphas)
    if masks is None:
        return None
    noisy = canvas + rng.normal(0, 6, canvas.shape)
    objects = tuple(
        SceneObject(*look, centre_xy=centre, mask=mask)
        for look, centre, mask in zip(looks, centres, masks, strict=True)
    )
    return Scene(pixels=np.clip(noisy, 0, 255).astype(np.uint8), objects=objects)


def _choose_looks(rng: np.random.Generator) -> list[tuple[str, str, str, str]]:
    """Categories first, two of them repeated; then looks, such that no two objects look the same."""
    total = int(rng.integers(6, 9))
    kinds = list(rng.permutation(CATEGORIES))
    repeated = [kinds[0]] * int(rng.integers(2, 4)) + [kinds[1]] * 2
    categories = (repeated + kinds[2:])[:total]
    rng.shuffle(categories)
    looks: list[tuple[str, str, str, str]] = []
    while len(looks) < total:
        category = str(categories[len(looks)])
        look = (
            category,
            str(rng.choice(list(COLOURS))),
            str(rng.choice(TEXTURES, p=(0.5, 0.25, 0.25))),
            str(rng.choice(list(SIZES))),
        )
        if look not in looks:
            looks.append(look)
    return looks


def _place(rng: np.random.Generator, halves: list[float], width: int, height: int) -> list[tuple[float, float]] | None:
    """Centres such that objects may overlap a little but never share a centre region."""
    centres: list[tuple[float, float]] = []
    for index, half in enumerate(halves):
        for _ in range(60):
            x, y = rng.uniform(half, width - half), rng.uniform(half, height - half)
            if all(
                np.hypot(x - other_x, y - other_y) > 0.8 * (half + halves[other])
                for other, (other_x, other_y) in enumerate(centres[:index])
            ):
                centres.append((float(x), float(y)))
                break
        else:
            return None
    return centres


def _visible_masks(alphas: list[np.ndarray]) -> list[np.ndarray] | None:
    covered = np.zeros_like(alphas[0], dtype=bool)
    masks = []
    for alpha in reversed(alphas):
        whole = alpha > 0.5
        mask = whole & ~covered
        if mask.sum() < MIN_VISIBLE * whole.sum():
            return None
        masks.append(mask)
        covered |= whole
    return masks[::-1]


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A tilted gradient between two greys with faint lines and specks that no annotation mentions."""
    tilt = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(tilt) * np.linspace(-1, 1, width)[None] + np.sin(tilt) * np.linspace(-1, 1, height)[:, None]
    low, high = rng.uniform(60, 140), rng.uniform(120, 220)
    grey = low + (high - low) * (ramp + 1.5) / 3
    canvas = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 9))):
        tone = tuple(int(value) for value in rng.uniform(50, 230, 3))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if rng.random() < 0.5:
            pen.line((x, y, x + rng.normal(0, 40), y + rng.normal(0, 40)), fill=tone, width=1)
        else:
            radius = rng.uniform(0.8, 2.2)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tone)
    return np.asarray(canvas, dtype=np.float32).copy()


def _outline(category: str) -> np.ndarray:
    """Polygon of a category on the square [-1, 1] x [-1, 1], y downwards."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    match category:
        case "ball" | "ring" | "moon":
            return circle
        case "heart":
            x = 16 * np.sin(turn) ** 3
            y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
            return np.stack([x / 16, -(y + 2.5) / 14.5], 1)
        case "box":
            return 0.86 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
        case "triangle":
            return np.array([(0, -1), (1, 0.85), (-1, 0.85)], float)
        case "star":
            angle = -np.pi / 2 + np.pi / 5 * np.arange(10)
            radius = np.where(np.arange(10) % 2 == 0, 1.05, 0.45)
            return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        case "cross":
            arm = 0.34
            quarter = np.array([(-arm, -1), (arm, -1), (arm, -arm)])
            spins = [np.array([[0, -1], [1, 0]])] * 4
            corners, spin = [], np.eye(2)
            for step in spins:
                corners.append(quarter @ spin.T)
                spin = step @ spin
            return np.concatenate(corners)
        case _:
            raise AssertionError(f"no outline for {category!r}")


def _shape_alpha(
    rng: np.random.Generator, category: str, half: float, centre: tuple[float, float], size_wh: tuple[int, int]
) -> np.ndarray:
    """Coverage of each pixel by the shape, float32 [height, width] in [0, 1]."""
    angle = np.deg2rad(rng.uniform(-18, 18))
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corner = np.floor(np.array(centre) - half - 2).astype(int)  # patch around the shape, whole pixels
    side = int(np.ceil(2 * half)) + 6
    middle = np.array(centre) - corner

    def polygon(points: np.ndarray) -> list[tuple[float, float]]:
        return [tuple(xy) for xy in ((points * half) @ spin.T + middle) * OVERSAMPLE]

    patch = Image.new("L", (side * OVERSAMPLE, side * OVERSAMPLE))
    pen = ImageDraw.Draw(patch)
    pen.polygon(polygon(_outline(category)), fill=255)
    if category == "ring":
        pen.polygon(polygon(0.5 * _outline("ball")), fill=0)
    if category == "moon":
        pen.polygon(polygon(0.85 * _outline("ball") + (0.62, -0.1)), fill=0)
    coverage = np.asarray(patch.resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255

    width, height = size_wh
    alpha = np.zeros((height, width), np.float32)
    left, top = int(corner[0]), int(corner[1])
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    alpha[rows, columns] = coverage[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return alpha


def _paint(rng: np.random.Generator, colour: str, texture: str, size_wh: tuple[int, int]) -> np.ndarray:
    """Colour of the object's surface at every pixel, float32 [height, width, 3]."""
    width, height = size_wh
    base = np.array(COLOURS[colour], np.float32) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = rng.uniform(0, 6, 2)
    if texture == "striped":
        dark = ((x + y * rng.choice([-1.0, 1.0]) + phase[0]) % 7.0) < 3.0
    elif texture == "dotted":
        dark = np.hypot((x + phase[0]) % 6.0 - 3.0, (y + phase[1]) % 6.0 - 3.0) < 1.6
    else:
        dark = np.zeros((height, width), bool)
    return np.where(dark[..., None], base * 0.45, base).astype(np.float32)
