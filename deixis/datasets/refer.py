"""RefCOCO, RefCOCO+, RefCOCOg and ReferItGame in their published folders.

`instances.json` and `refs(<split by>).p` lie in the folder. The `file_name` of a ref is no file (it carries the
annotation's number); the image's name is in `instances.json`. An annotation that is referred to twice keeps all its
phrases. Sources: lichengunc/refer (refer.py and its README).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.datasets.refer_files import fix_text, read_refer_folder
from deixis.datasets.referring import ReferringConfig, ReferringSource, RefRow, TextField, ingest_referring
from deixis.datasets.tables import id_key, is_storable


@dataclass(frozen=True, config=STRICT)
class ReferConfig(ReferringConfig):
    """One published folder.

    RefCOCO, RefCOCO+ and RefCOCOg have COCO's boxes (`box: xywh`). ReferItGame's began as first and last pixels of its
    masks; where a copy keeps them so, `box` is `xywh_inclusive` or `xyxy_inclusive`. Its masks are exact to the pixel,
    so a setting that they contradict is refused.
    """

    split_by: Literal["unc", "google", "umd", "berkeley"] = "unc"
    text: TextField = "raw"  # what models read: as typed, or as the authors cleaned it; `expression` stays as typed


class ReferAdapter:
    """Reads one published folder."""

    Config = ReferConfig

    def __init__(self, config: ReferConfig) -> None:
        self.config = config

    def ingest(self, *, raw: Path, out: Path, dataset: str) -> None:
        """Write the tables of one folder."""
        source = read_source(raw, self.config)
        ingest_referring(source, self.config, raw=raw, out=out, dataset=dataset)


def read_source(raw: Path, config: ReferConfig) -> ReferringSource:
    """The two files of a folder, with the text of Python 2 fixed."""
    folder = read_refer_folder(raw, split_by=config.split_by)
    return ReferringSource(
        file=raw / "instances.json",
        images=folder.instances["images"],
        annotations=folder.instances["annotations"],
        categories=names_by_id(folder.instances["categories"]),
        licences=names_by_id(folder.instances.get("licenses")),
        refs=[RefRow(folder.refs_path, line, _fixed(ref)) for line, ref in enumerate(folder.refs)],
        text_field=config.text,
    )


def names_by_id(rows: Any) -> dict[Any, str]:
    """Names of COCO's categories or licences; rows that name nothing are left out."""
    entries = rows if isinstance(rows, list) else []
    named = [row for row in entries if isinstance(row, dict) and isinstance(row.get("name"), str)]
    return {row["id"]: row["name"] for row in named if id_key(row.get("id")) and is_storable(row["name"])}


def _fixed(ref: Any) -> Any:
    if not isinstance(ref, dict) or not isinstance(ref.get("sentences"), list):
        return ref
    return ref | {"sentences": [_fixed_sentence(sentence) for sentence in ref["sentences"]]}


def _fixed_sentence(sentence: Any) -> Any:
    if not isinstance(sentence, dict):
        return sentence
    texts = {name: sentence[name] for name in ("raw", "sent") if isinstance(sentence.get(name), str)}
    return sentence | {name: fix_text(text) for name, text in texts.items()}
