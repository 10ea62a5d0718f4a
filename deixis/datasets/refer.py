"""RefCOCO, RefCOCO+, RefCOCOg and ReferItGame in their published folders.

`instances.json` and `refs(<split by>).p` lie in the folder. The `file_name` of a ref is no file (it carries the
annotation's number); the image's name is in `instances.json`. An annotation that is referred to twice keeps all its
phrases. Sources: lichengunc/refer (refer.py and its README).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT
from deixis.datasets.ref_rows import NO_TARGET, RefRow, TextField
from deixis.datasets.refer_files import fix_text, read_refer_folder
from deixis.datasets.referring import ReferringConfig, ReferringSource, ingest_referring
from deixis.datasets.tables import known_split, names_by_id, whole_ids


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
    """The two files of a folder, with the text of Python 2 fixed and ids made whole."""
    folder = read_refer_folder(raw, split_by=config.split_by)
    annotations = folder.instances["annotations"]
    return ReferringSource(
        file=raw / "instances.json",
        images=[whole_ids(row, "id") for row in folder.instances["images"]],
        annotations=[whole_ids(row, "id", "image_id", "category_id") for row in annotations],
        categories=names_by_id(folder.instances["categories"])[0],
        licences=names_by_id(folder.instances.get("licenses"))[0],
        refs=[RefRow(folder.refs_path, line, _fixed(ref)) for line, ref in enumerate(folder.refs)],
        text_field=config.text,
    )


def _fixed(ref: Any) -> Any:
    if not isinstance(ref, dict) or not isinstance(ref.get("sentences"), list):
        return ref
    ref = ref | {name: _only(ref[name]) for name in ("ann_id", "category_id") if isinstance(ref.get(name), list)}
    ref = whole_ids(ref, "ref_id", "ann_id", "image_id", "category_id")
    ref["split"] = known_split(ref.get("split"))
    return ref | {"sentences": [_fixed_sentence(sentence) for sentence in ref["sentences"]]}


def _only(targets: list[Any]) -> Any:
    """The target of a list of one, as gRefCOCO writes it; -1 is its sign for none."""
    return targets[0] if len(targets) == 1 and targets != [NO_TARGET] else targets


def _fixed_sentence(sentence: Any) -> Any:
    if not isinstance(sentence, dict):
        return sentence
    texts = {name: sentence[name] for name in ("raw", "sent") if isinstance(sentence.get(name), str)}
    return sentence | {name: fix_text(text) for name, text in texts.items()}
