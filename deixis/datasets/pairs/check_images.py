"""Every image once: found inside the corpus, decoded whole, hashed; turned upright in a copy where it must be."""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from deixis.core.progress import track
from deixis.core.records import file_sha256
from deixis.datasets.pairs.ledger import Ledger
from deixis.datasets.pairs.rows import Remark
from deixis.imaging.decoding import DecodedImage, ImageError, open_upright

AT_A_TIME = 64
THREADS = min(8, os.cpu_count() or 1)  # decoding and hashing let go of Python's lock
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2"}
COMPRESSION = 1  # of PNG: half the time of the usual 6 for a photograph, and no more room
COPIES = "images"  # folder of images that had to be written, beside the tables


@dataclass(frozen=True)
class Places:
    """Folders of an ingest.

    Attributes:
        raw: The corpus, never written to.
        root: Where later stages look for images: `raw`/images.
        blobs: Images that lay in rows, by checksum.
        copies: Where images that must be written go.
        copies_seen: How `copies` is reached from `root` once the ingest is done.
    """

    raw: Path
    root: Path
    blobs: Path
    copies: Path
    copies_seen: str


def check_images(ledger: Ledger, places: Places) -> None:
    """Decode every image of the ledger; refuse the rows of those that cannot be used."""
    total = ledger.one("SELECT COUNT(*) FROM images")
    stream = track(_jobs(ledger), "checking images", total=total)
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata and sizes: what matters is decided below
        while jobs := list(islice(stream, AT_A_TIME)):
            updates, remarks = [], []
            for update, problems in pool.map(lambda job: _check(job, places), jobs):
                remarks += problems
                updates += update
            ledger.run(
                "UPDATE images SET path=?, sha256=?, stored_sha256=?, width=?, height=?, mode=? WHERE key=?", updates
            )
            ledger.add_remarks(remarks)
    ledger.run("UPDATE rows SET refused = 1 WHERE image IN (SELECT key FROM images WHERE sha256 IS NULL)")
    _merge_equal(ledger)


def _jobs(ledger: Ledger) -> Iterator[tuple[Any, ...]]:
    """Images in pages, since the table is written to meanwhile."""
    last = -1
    columns = "key, name, inline, file, line, stated_width, stated_height"
    while page := list(
        ledger.select(f"SELECT {columns} FROM images WHERE key > ? ORDER BY key LIMIT {AT_A_TIME}", last)
    ):
        yield from page
        last = page[-1][0]


def _check(job: tuple[Any, ...], places: Places) -> tuple[list[tuple[Any, ...]], list[Remark]]:
    """What to write into the ledger about one image, and what to remark."""
    key, name, inline, file, line, *stated = job
    try:
        path = places.blobs / name if inline else locate(name, places)
        image = open_upright(path)
    except ImageError as error:
        return [], [Remark(file, line, error.code, f"{name}: {error.problem}")]
    except DataError as error:
        return [], [Remark(file, line, "E_IMG_PATH", f"{name}: {error}")]
    except OSError as error:  # as a name that is too long
        return [], [Remark(file, line, "E_IMG_PATH", f"{name}: {error.strerror}")]
    width, height = image.pixels.size
    if None not in stated and (width, height) != tuple(stated):
        problem = f"{width} x {height}, EXIF orientation {image.orientation}, for {stated[0]} x {stated[1]}: {name}"
        return [], [Remark(file, line, "E_IMG_SIZE", problem)]
    remarks = []
    if image.orientation != 1:
        remarks.append(Remark(file, line, "W_EXIF", f"turned, orientation {image.orientation}: {name}"))
    if image.animated:
        remarks.append(Remark(file, line, "W_IMG_FRAMES", f"its first frame only: {name}"))
    if image.change:
        remarks.append(Remark(file, line, "W_IMG_MODE", f"{image.change}: {name}"))
    sha256 = file_sha256(path)
    listed, stored = _store(path, sha256, image, bool(inline), places)
    return [(listed, sha256, stored, width, height, image.mode, key)], remarks


def locate(name: str, places: Places) -> Path:
    """The file that a row names: below the image folder or the corpus, never outside, whatever links say.

    Backslashes may separate folders, accents may be composed or not, and spaces may stand around the name.

    Raises:
        ImageError: E_IMG_MISSING if there is none.
        DataError: If it leaves the corpus.
    """
    spelled = [form for text in (name, name.strip()) for form in (text, text.replace("\\", "/"))]
    names = dict.fromkeys(unicodedata.normalize(form, text) for text in spelled for form in ("NFC", "NFD"))
    inside = (places.root.resolve(), places.raw.resolve())
    escapes = False
    for text in dict.fromkeys([name, *names]):
        for base in (places.root, places.raw):
            try:
                path = (base / text).resolve()
            except RuntimeError:  # a loop of links leads to no file
                continue
            if not any(path.is_relative_to(folder) for folder in inside):
                escapes = escapes or base == places.root
            elif path.is_file():
                return path
    if escapes:
        raise DataError("it leads out of the corpus")
    raise ImageError("E_IMG_MISSING", places.root / name, "no such image", "Restore it")


def _store(path: Path, sha256: str, image: DecodedImage, inline: bool, places: Places) -> tuple[str, str]:
    """Path for images.parquet and checksum of what lies there; writes a copy where the file itself will not do."""
    if not inline and image.orientation == 1:
        root = places.root.resolve()
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix(), sha256
        return (Path("..") / path.relative_to(places.raw.resolve())).as_posix(), sha256
    suffix = SUFFIXES.get(image.format, f".{image.format.lower()}") if image.orientation == 1 else ".upright.png"
    copy = places.copies / sha256[:2] / f"{sha256}{suffix}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        _write(path, image, copy)
    return f"{places.copies_seen}/{sha256[:2]}/{copy.name}", file_sha256(copy)


def _write(path: Path, image: DecodedImage, copy: Path) -> None:
    if image.orientation == 1:
        os.replace(path, copy)
        return
    # A name of its own: two threads may turn equal images at once.
    temporary = copy.with_name(f"{copy.name}.{os.urandom(4).hex()}")
    image.pixels.save(temporary, "PNG", compress_level=COMPRESSION)  # what models see must not depend on the copy
    os.replace(temporary, copy)


def _merge_equal(ledger: Ledger) -> None:
    """Let images of equal bytes be one: the first by name."""
    ledger.run("CREATE INDEX by_content ON images(sha256, name)")
    ledger.run(
        "UPDATE images SET same = (SELECT other.key FROM images AS other WHERE other.sha256 = images.sha256 "
        "ORDER BY other.name, other.key LIMIT 1) WHERE sha256 IS NOT NULL"
    )
    ledger.run(
        "INSERT INTO remarks SELECT one.file, one.line, 'W_IMG_DUP', SUBSTR(one.name || ' equals ' || other.name, 1, "
        "200) FROM images AS one JOIN images AS other ON one.same = other.key WHERE one.same <> one.key"
    )
