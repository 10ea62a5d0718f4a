"""The feature store: what goes in comes out, a killed extraction goes on, and a damaged set is refused."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.batches.features import FeatureStore, extract
from deixis.core.errors import DataError
from deixis.core.pieces import PIECE

IDS = list(range(100, 123))  # 23 images
ROW_BYTES = 3 * 2 * 2 * 2 + 5 * 4


def arrays_of(image_ids) -> dict[str, np.ndarray]:
    """A half-precision map and single-precision boxes that depend on the image id alone."""
    rows = [np.random.default_rng(image_id).standard_normal(17) for image_id in image_ids]
    table = np.stack(rows)
    return {
        "map": table[:, :12].reshape(-1, 3, 2, 2).astype(np.float16),
        "boxes": (1000 * table[:, 12:]).astype(np.float32),
    }


class Encoder:
    """Remembers what it was asked for; fails once it was asked for more than `limit` images."""

    def __init__(self, limit: int = 10**6) -> None:
        self.limit = limit
        self.batches: list[list[int]] = []

    def __call__(self, image_ids):
        self.batches.append(list(image_ids))
        if sum(map(len, self.batches)) > self.limit:
            raise RuntimeError("killed")
        return arrays_of(image_ids)

    @property
    def asked(self) -> list[int]:
        return [image_id for batch in self.batches[1:] for image_id in batch]  # the first one only asks for shapes


def build(folder: Path, *, encode=None, ids=IDS, shard_rows: int = 8, name: str = "store") -> Path:
    extract(
        ids, encode or Encoder(), scratch=folder / f"scratch-{name}", out=folder / name, meta={"model": "made up"},
        batch_size=4, shard_bytes=shard_rows * ROW_BYTES,
    )  # fmt: skip
    return folder / name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.map.npy"))


def test_round_trip(tmp_path):
    store = FeatureStore(build(tmp_path))
    image_ids = [110, 101, 122, 110]
    expected = arrays_of(image_ids)
    assert len(store) == len(IDS) and store.meta["model"] == "made up"
    for name in ("map", "boxes"):
        rows = store.read(name, image_ids)
        assert rows.dtype == torch.float32 and np.array_equal(rows.numpy(), expected[name].astype(np.float32))
    store.verify()


def test_layout_on_disk(tmp_path):
    folder = build(tmp_path)
    index = pd.read_parquet(folder / "index.parquet")
    assert list(index.columns) == ["image_id", "shard", "row"] and sorted(index["image_id"]) == IDS
    assert index.groupby("shard").size().tolist() == [8, 8, 7]
    maps = [np.load(path, mmap_mode="r") for path in shards_of(folder)]
    assert [(m.dtype, m.shape) for m in maps] == [(np.float16, (rows, 3, 2, 2)) for rows in (8, 8, 7)]
    assert not list(tmp_path.glob("scratch*")) and not list(folder.glob(".*"))


def test_any_number_of_shards_fits_the_limit_of_open_files(tmp_path):
    folder = build(tmp_path, shard_rows=1)
    assert len(list(folder.glob("*.npy"))) == 12
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "next").open("w") as stream:
        resource.setrlimit(resource.RLIMIT_NOFILE, (stream.fileno() + 6, hard))
    try:
        rows = FeatureStore(folder).read("map", IDS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.array_equal(rows.numpy(), arrays_of(IDS)["map"].astype(np.float32))


@pytest.mark.parametrize("image_ids", [[], [122], [100, 101, 100], [100, 108, 116], [100, 101, 108, 108, 122]])
def test_rows_of_one_shard_of_each_and_of_some(tmp_path, image_ids):
    store = FeatureStore(build(tmp_path))
    gathered = store.gather("map", image_ids)
    expected = arrays_of(image_ids)["map"] if image_ids else np.zeros((0, 3, 2, 2), np.float16)
    assert gathered.dtype == torch.float16 and np.array_equal(gathered.numpy(), expected)


def test_order_of_the_ids_is_irrelevant(tmp_path):
    shuffled = [int(i) for i in np.random.default_rng(0).permutation(IDS)]
    assert contents(build(tmp_path, name="a")) == contents(build(tmp_path, ids=shuffled, name="b"))


def test_content_does_not_depend_on_the_shard_size(tmp_path):
    stores = [FeatureStore(build(tmp_path, shard_rows=rows, name=f"of-{rows}")) for rows in (1, 8, 1000)]
    assert [len(shards_of(store.folder)) for store in stores] == [6, 3, 1]  # never less than one batch
    for name in ("map", "boxes"):
        reference = stores[0].read(name, IDS)
        assert all(torch.equal(store.read(name, IDS), reference) for store in stores[1:])


@pytest.mark.parametrize("limit", [3, 7, 11, 19, 23], ids=lambda limit: f"killed after {limit} images")
def test_a_killed_extraction_goes_on(tmp_path, limit):
    whole = contents(build(tmp_path, name="whole"))
    with pytest.raises(RuntimeError, match="killed"):
        build(tmp_path, encode=Encoder(limit))
    assert not (tmp_path / "store").exists()
    again = Encoder()
    assert contents(build(tmp_path, encode=again)) == whole
    finished = (limit - 1) // 8 * 8  # one image is spent on the shapes
    assert again.asked == IDS[finished:]


def test_a_kill_while_a_shard_is_written_leaves_nothing_half_done(tmp_path, monkeypatch):
    whole = contents(build(tmp_path, name="whole"))

    def half(stream, array, **_):
        stream.write(array.tobytes()[:7])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "save", half)
        build(tmp_path)
    assert contents(build(tmp_path)) == whole


def test_a_new_extraction_replaces_the_old_one(tmp_path):
    build(tmp_path, ids=IDS[:5])
    assert len(FeatureStore(build(tmp_path))) == 23


@pytest.mark.parametrize("keep", [0, 40, -1], ids=["empty file", "cut in the header", "one byte short"])
def test_a_shard_cut_short_is_refused(tmp_path, keep):
    folder = build(tmp_path)
    path = shards_of(folder)[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"shard-00001\.map\.npy: not a whole array.*dvc repro"):
        FeatureStore(folder)


def lose_a_shard(folder: Path, other: Path) -> None:
    shards_of(folder)[2].unlink()


def take_another_index(folder: Path, other: Path) -> None:
    shutil.copy(other / "index.parquet", folder)


def take_another_meta(folder: Path, other: Path) -> None:
    shutil.copy(other / "meta.json", folder)


def take_another_shard(folder: Path, other: Path) -> None:
    shutil.copy(shards_of(other)[-1], shards_of(folder)[0])


def state_another_shape(folder: Path, other: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["arrays"]["map"]["shape"] = [3, 4, 4]
    (folder / "meta.json").write_text(json.dumps(meta))


def state_another_dtype(folder: Path, other: Path) -> None:
    path = shards_of(folder)[0]
    np.save(path, np.load(path).astype(np.float32))


@pytest.mark.parametrize(
    "harm",
    [lose_a_shard, take_another_index, take_another_meta, take_another_shard, state_another_shape, state_another_dtype],
    ids=lambda harm: harm.__name__.replace("_", " "),
)
def test_a_mixed_set_is_refused(tmp_path, harm):
    folder = build(tmp_path)
    harm(folder, build(tmp_path, ids=IDS[:13], name="other"))
    with pytest.raises(DataError, match="dvc repro -f extract_features"):
        FeatureStore(folder)


@pytest.mark.parametrize("lost", ["meta.json", "index.parquet"])
def test_a_set_without_its_index_or_facts_is_refused(tmp_path, lost):
    folder = build(tmp_path)
    (folder / lost).unlink()
    with pytest.raises(DataError, match=f"{lost}: missing.*extract_features"):
        FeatureStore(folder)


def test_an_unknown_image_is_refused(tmp_path):
    store = FeatureStore(build(tmp_path))
    with pytest.raises(DataError, match="no image 999"):
        store.read("map", [100, 999])


def test_boxes_that_were_not_stored_are_refused_with_the_setting_that_stores_them(tmp_path):
    store = FeatureStore(build(tmp_path))
    with pytest.raises(DataError, match=r'no "boxes_fine". It holds: .*map.*extraction\.box_scales: .*dvc repro -f'):
        store.read("boxes_fine", [100])


@pytest.mark.parametrize("place", [-1, 200], ids=["last byte", "a byte in the middle"])
def test_verify_finds_a_flipped_byte(tmp_path, place):
    folder = build(tmp_path)
    path = shards_of(folder)[1]
    harmed = bytearray(path.read_bytes())
    harmed[place] ^= 1
    path.write_bytes(harmed)
    store = FeatureStore(folder)
    with pytest.raises(DataError, match=r"shard-00001\.map\.npy.*checksum"):
        store.verify()


def test_shares_make_the_store_that_one_process_makes(tmp_path, monkeypatch):
    expected = contents(build(tmp_path, shard_rows=4, name="whole"))
    encoders = []
    for share in ("2/3", "0/3", "1/3"):
        monkeypatch.setenv(PIECE, share)
        encoders.append(Encoder())
        with pytest.raises(SystemExit):
            build(tmp_path, encode=encoders[-1], shard_rows=4, name="shared")
        assert not (tmp_path / "shared").exists()
    assert [len(encoder.asked) for encoder in encoders] == [7, 8, 8]
    assert sorted(image_id for encoder in encoders for image_id in encoder.asked) == IDS
    monkeypatch.delenv(PIECE)
    last = Encoder()
    assert contents(build(tmp_path, encode=last, shard_rows=4, name="shared")) == expected
    assert not last.asked


def test_what_was_read_is_let_go_and_read_again(tmp_path):
    def mapped() -> int:
        return sum("store/shard" in line for line in Path("/proc/self/maps").read_text().splitlines())

    store = FeatureStore(build(tmp_path))
    before, first = mapped(), store.read("map", IDS)
    store.release()
    assert mapped() == before  # nothing keeps the old maps
    assert torch.equal(store.read("map", IDS), first)
