"""Corpora whose images do not all lie in the folder of images, prepared as users' are, and a label of each image."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from deixis.datasets.pairs.adapter import PairsAdapter
from deixis.datasets.pairs.settings import PairsConfig
from tests.deixis.exports.labelled import row

WIDTH, HEIGHT = 60, 80
BOX = [10.123, 50.0, 34.877, 74.5]
KINDS = ("turned", "inline", "beside")  # photographs that EXIF turns, images out of Parquet, images beside `images/`


def prepare_corpus(folder: Path, kind: str) -> tuple[Path, Path, Path]:
    """labels.parquet, images.parquet and the folder of images; one odd image, and one plain one where there can be."""
    raw, tables = folder / "data/raw/own", folder / "data/prepared/own"
    (raw / "images").mkdir(parents=True)
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    if kind == "inline":
        stream = io.BytesIO()
        upright.save(stream, "PNG")
        pq.write_table(pa.table({"image": [stream.getvalue()], "text": ["a ball"]}), raw / "pairs.parquet")
    else:
        upright.rotate(180).save(raw / "images/plain.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        if kind == "turned":
            upright.transpose(Image.Transpose.ROTATE_90).save(raw / "images/odd.png", exif=exif)
        else:
            upright.save(raw / "odd.png")
        (raw / "pairs.csv").write_text("image,text\nodd.png,a ball\nplain.png,a star\n")
    PairsAdapter(PairsConfig(boxes="none")).ingest(raw=raw, out=tables, dataset="own")
    ids = pd.read_parquet(tables / "images.parquet")["image_id"].tolist()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[50:74, 10:34] = True
    pd.DataFrame([row(f"s/{n}", n, BOX, mask) for n in ids]).to_parquet(folder / "labels.parquet", index=False)
    return folder / "labels.parquet", tables / "images.parquet", raw / "images"
