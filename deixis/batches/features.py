"""The feature store: what a frozen encoder says about every image, computed once, read memory-mapped.

A folder holds fp16 shards (`shard-00000.<array>.npy`), `index.parquet` (image_id -> shard, row) and `meta.json`.
Shards are computed one by one in a scratch folder, so a killed extraction goes on where it stopped; the finished
set then moves into place.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter
from torch import Tensor

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.core.pieces import do_pieces
from deixis.core.progress import track
from deixis.core.records import file_sha256, read_json, read_table, write_atomically, write_json, write_table
from deixis.imaging.letterbox import Framing, Letterbox
from deixis.types import CLIP_CROPS

SHARD_BYTES = 256 << 20
LARGE_ROW = 16 << 10  # bytes, from which copying it takes longer than asking for it
CPU = torch.device("cpu")
BOXES = {"coarse": "boxes", "middle": "boxes_middle", "fine": "boxes_fine"}  # a detector's arrays, by scale
SURVIVORS = ("survivor_cells", "survivor_boxes", "survivor_colours")  # instead, where suppression chose
Encode = Callable[[Sequence[int]], dict[str, np.ndarray]]


@runtime_checkable
class ArrayStore(Protocol):
    """What a frozen encoder says about images, by name of the array."""

    def read(self, array: str, image_ids: Sequence[int], device: torch.device = CPU) -> Tensor: ...
    def holds(self, array: str) -> bool: ...


def has_survivors(detector: ArrayStore) -> bool:
    """Whether a detector's store holds what suppression left, instead of boxes of every cell."""
    return detector.holds(SURVIVORS[0])


def extract(
    image_ids: Sequence[int],
    encode: Encode,
    *,
    scratch: Path,
    out: Path,
    meta: dict[str, Any],
    batch_size: int,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Encode all images into a store at `out`, by shards that several processes may share (deixis/core/pieces.py).

    Args:
        encode: Image ids -> named arrays, one row per image; the same names and row shapes every time.
        scratch: Folder of this very extraction (its name is the hash of all inputs).
        meta: Facts about the encoder: model, weights sha256, layer, input size, letterbox.
    """
    ids = sorted(image_ids)
    first = encode(ids[:1])
    row_bytes = sum(array.nbytes for array in first.values())
    per_shard = max(batch_size, shard_bytes // row_bytes // batch_size * batch_size)
    shards = [ids[start : start + per_shard] for start in range(0, len(ids), per_shard)]
    scratch.mkdir(parents=True, exist_ok=True)
    do_pieces(
        len(shards),
        lambda number: (scratch / f"shard-{number:05d}.json").exists(),
        lambda number: _extract_shard(number, shards, encode, scratch, batch_size),
    )
    rows = [(image_id, number, row) for number, shard in enumerate(shards) for row, image_id in enumerate(shard)]
    write_table(pd.DataFrame(rows, columns=["image_id", "shard", "row"]), scratch / "index.parquet")
    arrays = {name: {"dtype": str(array.dtype), "shape": list(array.shape[1:])} for name, array in first.items()}
    write_json(meta | {"arrays": arrays, "shards": _finish_shards(scratch, shards)}, scratch / "meta.json")
    for marker in scratch.glob("shard-*.json"):
        marker.unlink()
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(scratch, out)


def _finish_shards(scratch: Path, shards: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Size and checksums of every shard, from the files that say it is whole."""
    markers = [scratch / f"shard-{number:05d}.json" for number in range(len(shards))]
    checksums = [read_json(marker, made_by="extract_features") for marker in markers]
    return [{"rows": len(shard), "sha256": sums} for shard, sums in zip(shards, checksums, strict=True)]


def _extract_shard(
    number: int, shards: Sequence[Sequence[int]], encode: Encode, scratch: Path, batch_size: int
) -> None:
    """Compute a shard; its marker, written last, says that it is whole."""
    ids, parts = shards[number], dict[str, list[np.ndarray]]()
    starts = range(0, len(ids), batch_size)
    for start in track(starts, f"shard {number + 1}/{len(shards)}", total=len(starts)):
        for name, array in encode(ids[start : start + batch_size]).items():
            parts.setdefault(name, []).append(array)
    checksums = {}
    for name, arrays in parts.items():
        path = scratch / f"shard-{number:05d}.{name}.npy"
        whole = np.concatenate(arrays)

        def save(temporary: Path, whole: np.ndarray = whole) -> None:
            with temporary.open("wb") as stream:
                np.save(stream, whole, allow_pickle=False)

        write_atomically(path, save)
        checksums[name] = file_sha256(path)
    write_json(checksums, scratch / f"shard-{number:05d}.json")


class FeatureStore:
    """A finished store, opened for reading.

    Raises:
        DataError: If the set is missing, mixed (index, meta and shards disagree) or a shard is cut short.
    """

    def __init__(self, folder: Path, *, made_by: str = "extract_features") -> None:
        self.folder = folder
        self._remedy = f"Run: dvc repro -f {made_by}"
        self.meta = read_json(folder / "meta.json", made_by=made_by)
        index = read_table(folder / "index.parquet", columns=("image_id", "shard", "row"), made_by=made_by)
        counts = index.groupby("shard").size().tolist()
        with foreign_bytes(folder / "meta.json", "the description of a feature store", self._remedy):
            stated = [int(shard["rows"]) for shard in self.meta["shards"]]
            self._checksums = [dict(shard["sha256"]) for shard in self.meta["shards"]]
            self._arrays = {
                str(name): (str(facts["dtype"]), tuple(map(int, facts["shape"])))
                for name, facts in self.meta["arrays"].items()
            }
        if counts != stated:
            raise DataError(
                f"{folder}: a mixed set: index.parquet counts {counts} rows per shard, meta.json {stated}. "
                f"{self._remedy}"
            )
        rows = pd.Series(stated).reindex(index["shard"]).to_numpy()
        if not ((index["row"] >= 0) & (index["row"] < rows)).all():
            raise DataError(f"{folder}: a mixed set: index.parquet names rows that no shard has. {self._remedy}")
        self._where = {image_id: (shard, row) for image_id, shard, row in index.itertuples(index=False)}
        self._rows = stated
        self._shards = {
            name: [self._open(number, name, rows) for number, rows in enumerate(stated)] for name in self._arrays
        }
        self._touched: set[int] = set()  # shards

    def __len__(self) -> int:
        """Number of images."""
        return len(self._where)

    def holds(self, array: str) -> bool:
        """Whether there is an array of that name."""
        return array in self._shards

    def read(self, array: str, image_ids: Sequence[int], device: torch.device = CPU) -> Tensor:
        """One row per image id, float32, on a device, to which it travels in the store's precision: [images, ...]."""
        return self.gather(array, image_ids).to(device, non_blocking=True).float()

    def gather(self, array: str, image_ids: Sequence[int]) -> Tensor:
        """One row per image id, as stored: [images, ...]."""
        if array not in self._shards:
            raise DataError(
                f'{self.folder}: holds no "{array}". It holds: {", ".join(sorted(self._shards))}. Boxes of the finer '
                "scales come with extraction.box_scales: [coarse, middle, fine], what suppression leaves of them with "
                f"extraction.survivors: {{}}, both in params.yaml. {self._remedy}"
            )
        try:
            places = torch.tensor([self._where[image_id] for image_id in image_ids], dtype=torch.long).view(-1, 2)
        except KeyError as missing:
            raise DataError(
                f"{self.folder}: holds no image {missing}. It holds {len(self)} images. {self._remedy}"
            ) from None
        shards, (number_of, row_of) = self._shards[array], places.unbind(1)
        numbers = number_of.unique().tolist()
        self._touched.update(numbers)
        if len(numbers) == 1:
            return shards[numbers[0]].index_select(0, row_of)
        out = shards[0].new_empty(len(places), *shards[0].shape[1:])
        # Row by row where rows are large or each is of another shard: nothing is copied twice
        if len(numbers) == len(places) or shards[0][0].nbytes >= LARGE_ROW:
            for place, (number, row) in enumerate(places.tolist()):
                out[place] = shards[number][row]
            return out
        for number in numbers:
            here = (number_of == number).nonzero()[:, 0]
            out[here] = shards[number].index_select(0, row_of[here])
        return out

    def release(self) -> None:
        """Map anew what was read: pages of a map count as memory of this process until it is let go."""
        for shards in self._shards.values():
            for number in self._touched:
                shards[number] = torch.empty(0)  # the old map goes before the new one comes
        for name, shards in self._shards.items():
            for number in self._touched:
                shards[number] = self._open(number, name, self._rows[number])
        self._touched.clear()

    def verify(self) -> None:
        """Read every shard and compare its checksum."""
        for number, checksums in enumerate(self._checksums):
            for name in self._arrays:
                path, checksum = self.folder / f"shard-{number:05d}.{name}.npy", checksums.get(name)
                if file_sha256(path) != checksum:
                    raise DataError(f"{path}: its checksum is not the one in meta.json. {self._remedy}")

    def _open(self, number: int, name: str, rows: int) -> Tensor:
        """Map a shard. Torch then closes the file, so that any number of shards fits every limit of open files."""
        path = self.folder / f"shard-{number:05d}.{name}.npy"
        dtype, shape = self._arrays[name]
        stated = (rows, *shape)
        with foreign_bytes(path, f"a whole array of shape {stated}", self._remedy):
            (found, stored), start = _header(path)
            kind, size = torch.from_numpy(np.empty(0, stored)).dtype, path.stat().st_size
            whole = start + math.prod(found) * stored.itemsize
            if size < whole:
                raise ValueError(f"{size} bytes instead of {whole}")
            shard = (
                torch.from_file(str(path), shared=False, size=whole, dtype=torch.uint8)[start:].view(kind).view(found)
            )
        if tuple(found) != stated or str(stored) != dtype:
            raise DataError(f"{path}: holds {stored} {found}, meta.json says {dtype} {stated}. {self._remedy}")
        return shard


def _header(path: Path) -> tuple[tuple[tuple[int, ...], np.dtype], int]:
    """Shape and kind of numbers of an .npy file, and where they begin; one that is not stored row by row is refused."""
    with path.open("rb") as stream:
        major, _ = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, is_by_column, dtype = read(stream)
        if is_by_column or dtype.hasobject or not dtype.isnative:
            raise ValueError(f"{dtype} by column" if is_by_column else str(dtype))
        return (shape, dtype), stream.tell()


class StoredFrames(Mapping[Any, Letterbox]):
    """How each image lay in the square that a store's encoder saw; of a million images it holds three numbers each."""

    def __init__(self, sizes: pd.DataFrame, side: int, framing: Framing) -> None:
        self._ids = pd.Index(sizes["image_id"])
        self._sizes = sizes[["width", "height"]].to_numpy()
        self._side, self._framing = side, framing

    def __getitem__(self, image_id: Any) -> Letterbox:
        """Of one image."""
        width, height = self._sizes[self._ids.get_loc(image_id)].tolist()
        return Letterbox(width, height, self._side, framing=self._framing)

    def __iter__(self) -> Iterator[Any]:
        """Image ids, in the table's order."""
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ids)


def stored_frames(folder: Path, images: pd.DataFrame) -> StoredFrames:
    """Read from a store's meta.json how its images were framed.

    Args:
        folder: Of the store.
        images: Columns image_id, width, height.
    """
    meta = read_json(folder / "meta.json", made_by="extract_features")
    return StoredFrames(images, meta["input_size"], TypeAdapter(Framing).validate_python(meta.get("framing", {})))


def open_stores(folder: Path, names: Sequence[str]) -> dict[str, FeatureStore]:
    """Stores of one dataset by the name of their encoder; some have a stage of their own."""
    stages = {"box_masks": "segment_candidates", CLIP_CROPS: "extract_crops"}
    return {name: FeatureStore(folder / name, made_by=stages.get(name, "extract_features")) for name in names}


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
